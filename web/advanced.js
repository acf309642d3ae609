// Hides the advanced inputs of the pack's nodes behind a button in the classic canvas.
// Nodes 2.0 has a button of its own, so this one is not shown there.
// @ts-check
import { app } from "../../scripts/app.js";

const ROW_PX = 20;
const TEXT_ROW_PX = 60;
const NO_ROW = -4; // ComfyUI adds 4 pixels to every row
const BUTTON = "dreambooth_advanced";

/**
 * Make an advanced row take up no space while it is hidden.
 * @param {any} node
 * @param {any} widget
 */
function collapse(node, widget) {
  const height = widget.element ? TEXT_ROW_PX : ROW_PX;
  widget.advanced = true;
  widget.computeSize = () => [0, node.showAdvanced ? height : NO_ROW];
}

/**
 * Fit the node's height to its rows; never make the node narrower.
 * @param {any} node
 */
function fit(node) {
  const [width, height] = node.computeSize();
  node.setSize([Math.max(width, node.size[0]), height]);
  node.setDirtyCanvas(true, true);
}

/** @param {any} node */
function addButton(node) {
  const options = { serialize: false, canvasOnly: true }; // not in the prompt, not in Nodes 2.0
  const button = node.addWidget("button", BUTTON, null, () => node.toggleAdvanced(), options);
  button.serialize = false; // not in the saved workflow
  // a getter, since menus, loaded workflows and Nodes 2.0 change showAdvanced too
  Object.defineProperty(button, "label", {
    get: () => (node.showAdvanced ? "Hide advanced inputs" : "Show advanced inputs"),
    set: () => {},
  });
}

app.registerExtension({
  name: "DreamBooth.Advanced",

  /** @param {any} node */
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("DreamBooth")) return;
    const rows = (node.widgets ?? []).filter((/** @type {any} */ w) => w.options?.advanced);
    if (!rows.length) return;
    for (const widget of rows) collapse(node, widget);
    addButton(node);
    node.toggleAdvanced = () => {
      node.showAdvanced = !node.showAdvanced;
      fit(node); // ComfyUI's own toggleAdvanced never makes the node smaller
    };
    fit(node);
  },
});
