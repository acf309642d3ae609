// Hides the advanced settings of our nodes behind a button.
// @ts-check
import { app } from "../../scripts/app.js";

const PREFIX = "DreamBooth";
const ROW_PX = 20;
const TEXT_ROW_PX = 60;
const NO_ROW = -4; // ComfyUI adds 4 pixels to every row

/**
 * Let an advanced row take no space while it is hidden.
 * @param {any} node
 * @param {any} widget
 */
function collapse(node, widget) {
  const height = widget.element ? TEXT_ROW_PX : ROW_PX;
  widget.advanced = true;
  widget.computeSize = () => [0, node.showAdvanced ? height : NO_ROW];
}

/** @param {any} node */
function label(node) {
  return node.showAdvanced ? "hide advanced settings" : "advanced settings …";
}

/**
 * Fit the node to its rows, but never make it narrower than it is.
 * @param {any} node
 */
function fit(node) {
  const [width, height] = node.computeSize();
  node.setSize([Math.max(width, node.size[0]), height]);
  node.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "DreamBooth.Advanced",

  /** @param {any} node */
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith(PREFIX)) return;
    const rows = (node.widgets ?? []).filter((/** @type {any} */ w) => w.options?.advanced);
    if (!rows.length) return;
    for (const widget of rows) collapse(node, widget);
    const button = node.addWidget("button", "advanced", null, () => node.toggleAdvanced());
    button.label = label(node);
    button.serialize = false; // neither in the saved workflow nor in the prompt
    button.options.serialize = false;
    // ComfyUI's own, which its menu calls too, leaves the button's label and never shrinks the node
    node.toggleAdvanced = () => {
      node.showAdvanced = !node.showAdvanced;
      button.label = label(node);
      fit(node);
    };
    const before = node.onConfigure;
    node.onConfigure = function (/** @type {any} */ saved) {
      before?.call(node, saved);
      button.label = label(node);
    };
    fit(node);
  },
});
