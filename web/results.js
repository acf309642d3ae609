// Shows the results of a finished node: its images, and the report on photos.
// @ts-check
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { fixHeight, nodeAt, resizing } from "./fields.js";
import { clearMessage, showMessage, textHeight } from "./message.js";
import { openReport } from "./report.js";

const TRAIN = "DreamBoothTrain";
const WIDGET = "dreambooth_report";
const WITH_REPORT = ["DreamBoothLoadInstanceImages", "DreamBoothSuggestIdentifier"];
const LINE_PX = 16;
const PADDING_PX = 12;
const MARGIN_PX = 5;
const MAX_PX = 14 * LINE_PX;
const STYLE = {
  overflow: "auto",
  maxHeight: `${MAX_PX + PADDING_PX}px`,
  padding: `${PADDING_PX / 2}px`,
  font: `12px/${LINE_PX}px sans-serif`,
  whiteSpace: "pre-wrap",
  overflowWrap: "break-word",
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
  const widget = node.addDOMWidget(WIDGET, "report", element, { serialize: false, margin: MARGIN_PX });
  widget.serialize = false;
  fixHeight(widget, () => {
    const height = textHeight(element.textContent ?? "", node.size[0]);
    return Math.min(MAX_PX, height) + PADDING_PX + 2 * MARGIN_PX;
  });
  return widget;
}

/**
 * Show what a node reports: a long one in a field of its own, else as what the node has done.
 * @param {any} node
 * @param {any} output the node's output
 */
function showReport(node, output) {
  const text = output?.report?.join("\n");
  if (!text) return;
  const [page] = output.page ?? [];
  const fix = page ? { label: "Open the report", act: () => void openReport(page), stays: true } : null;
  if (!WITH_REPORT.includes(node.comfyClass)) showMessage(node, { text, fix });
  else {
    clearMessage(node);
    resizing(node, () => (reportWidget(node).element.textContent = text));
  }
}

/**
 * Return the key under which ComfyUI stores a node's preview.
 * @param {any} node
 */
function locator(node) {
  return node.graph.isRootGraph ? node.id : `${node.graph.id}:${node.id}`;
}

/** Let the lists of LoRAs and checkpoints of the open page have what was trained. */
async function refreshLists() {
  // newer front ends do it without two toasts
  await (app.reloadNodeDefs ? app.reloadNodeDefs() : app.refreshComboInNodes());
}

/**
 * Take away the pictures of a node's former run.
 * @param {any} node
 * @param {string} id of the node in the run
 */
function clearPictures(node, id) {
  // as if the node had shown none: Nodes 2.0 keeps its own record of what nodes have shown
  const none = { node: id, display_node: id, output: { images: [] }, prompt_id: "" };
  api.dispatchCustomEvent("executed", none);
  delete app.nodePreviewImages?.[locator(node)];
  delete app.nodeOutputs[locator(node)];
  node.imgs = undefined;
  node.images = undefined;
  node.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "DreamBooth.Results",

  setup() {
    const ended = (/** @type {{detail: {node_type: string}}} */ { detail }) => {
      if (detail.node_type === TRAIN) void refreshLists(); // a stopped run keeps its result so far
    };
    api.addEventListener("execution_interrupted", ended);
    api.addEventListener("dreambooth.status", (/** @type {any} */ { detail }) => {
      const node = nodeAt(app.graph, detail.node);
      if (detail.begins && node?.comfyClass === TRAIN) clearPictures(node, detail.node);
    });
  },

  /** @param {any} node */
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("DreamBooth")) return;
    const before = node.onExecuted;
    node.onExecuted = function (/** @type {any} */ message) {
      before?.call(node, message);
      delete app.nodePreviewImages?.[locator(node)]; // otherwise the last preview hides the results
      showReport(node, message);
      if (node.comfyClass === TRAIN && message?.report) void refreshLists();
    };
  },

  /**
   * Called with the nodes' outputs when a workflow tab is reopened.
   * @param {any} outputs
   */
  onNodeOutputsUpdated(outputs) {
    for (const node of app.graph.nodes) {
      const output = outputs[node.id];
      if (node.comfyClass?.startsWith("DreamBooth")) showReport(node, output);
    }
  },
});
