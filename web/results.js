// Shows the results of a finished node: its images, and the report on photos.
// @ts-check
import { app } from "../../scripts/app.js";

const WIDGET = "dreambooth_report";
const WITH_REPORT = ["DreamBoothLoadInstanceImages", "DreamBoothSuggestIdentifier"];
const LINE_PX = 15;
const PADDING_PX = 12;
const MAX_LINES = 14;
const CHARACTER_PX = 6.2;
const STYLE = {
  overflow: "auto",
  padding: `${PADDING_PX / 2}px`,
  font: `12px/${LINE_PX}px sans-serif`,
  whiteSpace: "pre-wrap",
  color: "var(--input-text)",
  background: "var(--comfy-input-bg)",
  borderRadius: "6px",
  boxSizing: "border-box",
};

/**
 * @param {any} node
 * @returns {any} the node's report widget, created on first use
 */
function reportWidget(node) {
  const present = node.widgets?.find((/** @type {any} */ w) => w.name === WIDGET);
  if (present) return present;
  const element = document.createElement("div");
  Object.assign(element.style, STYLE);
  const widget = node.addDOMWidget(WIDGET, "report", element, {
    serialize: false,
    getMinHeight: () => height(element),
    getMaxHeight: () => height(element),
  });
  widget.serialize = false;
  return widget;
}

/**
 * Return the height of a report with its lines wrapped.
 * @param {HTMLElement} element
 */
function height(element) {
  const perLine = Math.max(20, (element.clientWidth || 300) / CHARACTER_PX);
  const lines = (element.textContent ?? "").split("\n");
  const count = lines.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / perLine)), 0);
  return Math.min(MAX_LINES, count) * LINE_PX + PADDING_PX;
}

/**
 * @param {any} node
 * @param {any} output the node's output
 */
function showReport(node, output) {
  const text = output?.report?.join("\n");
  if (text && WITH_REPORT.includes(node.comfyClass)) reportWidget(node).element.textContent = text;
}

/**
 * Return the key under which ComfyUI stores a node's preview.
 * @param {any} node
 */
function locator(node) {
  return node.graph.isRootGraph ? node.id : `${node.graph.id}:${node.id}`;
}

app.registerExtension({
  name: "DreamBooth.Results",

  /** @param {any} node */
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("DreamBooth")) return;
    const before = node.onExecuted;
    node.onExecuted = function (/** @type {any} */ message) {
      before?.call(node, message);
      delete app.nodePreviewImages?.[locator(node)]; // otherwise the last preview hides the results
      showReport(node, message);
    };
  },

  /**
   * Called with the nodes' outputs when a workflow tab is reopened.
   * @param {any} outputs
   */
  onNodeOutputsUpdated(outputs) {
    for (const node of app.graph.nodes) {
      const output = outputs[node.id];
      if (!output?.report || !WITH_REPORT.includes(node.comfyClass)) continue;
      showReport(node, output);
      // in the next frame, since ComfyUI replaces the output with the selected photos
      requestAnimationFrame(() => (outputs[node.id] = output));
    }
  },
});
