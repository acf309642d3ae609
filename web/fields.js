// What the modules of this folder need of nodes: their fields, their links, and room for both.
// @ts-check

export const BUTTON = {
  padding: "2px 8px",
  color: "var(--input-text)",
  background: "var(--comfy-menu-bg)",
  border: "1px solid var(--border-color)",
  borderRadius: "4px",
  cursor: "pointer",
  font: "inherit",
};

/**
 * @param {any} node
 * @param {string} name
 * @returns {any} the field of this name, if the node has it
 */
export function fieldOf(node, name) {
  return node?.widgets?.find((/** @type {any} */ widget) => widget.name === name);
}

/**
 * @param {any} node
 * @param {string} name of an input
 * @returns {boolean} whether something is connected to it
 */
export function isLinked(node, name) {
  return node.inputs?.some((/** @type {any} */ i) => i.name === name && i.link != null) ?? false;
}

/**
 * @param {any} node
 * @param {string} name of an input
 * @param {string} kind of node
 * @returns {any} the node of this kind that is connected there; not across a subgraph's border
 */
export function sourceOf(node, name, kind) {
  const slot = node.findInputSlot(name);
  const source = slot < 0 ? null : node.getInputNode(slot);
  return source?.comfyClass === kind ? source : null;
}

/**
 * @param {any} node
 * @param {string} name of a field
 * @returns {unknown} what the field holds at first
 */
export function defaultOf(node, name) {
  const { required = {}, optional = {} } = node.constructor.nodeData.input;
  return (required[name] ?? optional[name])?.[1]?.default;
}

/**
 * Give an element on a node a height of its own, instead of all that the node has left.
 * @param {any} widget
 * @param {() => number} height in pixels
 */
export function fixHeight(widget, height) {
  widget.computeLayoutSize = undefined;
  widget.computeSize = (/** @type {number} */ width) => [width, height()];
}

/**
 * Do something that changes a node's rows, and let its height follow; keep what a user has added.
 * @param {any} node
 * @param {() => void} change
 */
export function resizing(node, change) {
  const before = node.computeSize()[1];
  change();
  const after = node.computeSize()[1];
  const [width, height] = node.size;
  const isTight = height <= before || (LiteGraph.vueNodesMode && after < before);
  const wanted = isTight ? height + after - before : Math.max(height, after);
  if (wanted !== height) node.setSize([width, wanted]);
  node.setDirtyCanvas(true, true);
}

/**
 * Show or hide fields.
 * @param {any} node
 * @param {(name: string) => boolean} isHidden
 */
export function hideFields(node, isHidden) {
  const changed = (node.widgets ?? []).filter(
    (/** @type {any} */ widget) => Boolean(widget.hidden) !== isHidden(widget.name),
  );
  if (!changed.length) return;
  resizing(node, () => {
    for (const widget of changed) {
      widget.hidden = !widget.hidden;
      widget.options.hidden = widget.hidden; // Nodes 2.0 reads this one
    }
    const all = [...node.widgets];
    node.widgets = []; // it looks again when the list changes
    node.widgets = all;
  });
}

/**
 * @param {any} graph
 * @param {string} kind of node
 * @returns {any[]} its nodes of this kind
 */
export function nodesOf(graph, kind) {
  return (graph?.nodes ?? []).filter((/** @type {any} */ node) => node.comfyClass === kind);
}

/**
 * Call a function after a node's own callback.
 * @param {any} owner
 * @param {string} name of the callback
 * @param {() => void} act
 */
export function after(owner, name, act) {
  const before = owner[name];
  owner[name] = function (/** @type {any[]} */ ...given) {
    const result = before?.apply(this, given);
    act();
    return result;
  };
}

/**
 * @param {any} graph the root
 * @param {string} id of a node in a run: "7", or "5:7" for node 7 of the subgraph at node 5
 * @returns {any} the node, if the open workflow has it
 */
export function nodeAt(graph, id) {
  const [first, ...rest] = String(id).split(":");
  const node = graph?.getNodeById(Number(first));
  return rest.length ? node?.subgraph && nodeAt(node.subgraph, rest.join(":")) : node;
}
