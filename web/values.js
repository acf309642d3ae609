// Saves the values of the pack's nodes by name, so that adding, removing or moving a setting does
// not change others. By default, ComfyUI restores a node's values by position.
// @ts-check
import { app } from "../../scripts/app.js";

/** @typedef {Record<string, unknown>} Values by the widget's name */

/**
 * @param {any} node
 * @returns {any[]} the widgets whose values a workflow saves
 */
function savedWidgets(node) {
  return (node.widgets ?? []).filter((/** @type {any} */ widget) => widget.serialize !== false);
}

/**
 * @param {any} node
 * @returns {Values}
 */
function valuesOf(node) {
  const pairs = savedWidgets(node).map(({ name, value }) => [name, value ?? null]);
  return JSON.parse(JSON.stringify(Object.fromEntries(pairs)));
}

/**
 * Restore values by name; a widget without a saved value keeps its default.
 * @param {any} node
 * @param {Values} defaults
 * @param {Values} saved
 */
function restore(node, defaults, saved) {
  const values = { ...defaults, ...saved };
  for (const widget of savedWidgets(node)) {
    if (widget.name in values) widget.value = values[widget.name];
  }
}

app.registerExtension({
  name: "DreamBooth.Values",

  /** @param {any} node */
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("DreamBooth")) return;
    const defaults = valuesOf(node);
    const { onSerialize, onConfigure } = node;
    // the front end's own field: since 1.49 it writes it, but does not read it yet
    node.onSerialize = function (/** @type {any} */ saved) {
      onSerialize?.call(node, saved);
      saved.widgets_values_named ??= valuesOf(node);
    };
    node.onConfigure = function (/** @type {any} */ saved) {
      onConfigure?.call(node, saved);
      if (saved.widgets_values_named) restore(node, defaults, saved.widgets_values_named);
    };
  },
});
