// Shows the names of all uploaded photos, and makes Run wait for uploads.
// @ts-check
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const WAITING = { severity: "info", summary: "Run waits for photos to upload.", life: 5000 };
const LEFT = "Not run: another workflow was opened while photos were uploading.";
const POLL_MS = 50;

let uploads = 0;

/**
 * Count an upload until ComfyUI has read the response or the upload has failed.
 * @param {Promise<Response>} answer
 */
async function count(answer) {
  uploads += 1;
  await answer.then((response) => response.clone().blob()).catch(() => {}); // ComfyUI reports errors
  setTimeout(() => (uploads -= 1));
}

/** @returns {boolean} whether photos are uploading that are not in a widget yet */
function isUploading() {
  const graphs = [app.graph, ...app.graph.subgraphs.values()];
  // newer front ends mark the node, since they make another request after the last upload
  const nodes = graphs.flatMap((graph) => graph.nodes);
  return uploads > 0 || nodes.some((/** @type {any} */ node) => node.isUploading);
}

app.registerExtension({
  name: "DreamBooth.Photos",

  // ComfyUI puts the names in the widget only after the last upload. The widget's serializeValue
  // could wait, but it runs too late for the workflow that is saved with the prompt.
  setup() {
    const { fetchApi } = api;
    api.fetchApi = (/** @type {string} */ route, /** @type {RequestInit} */ options) => {
      const answer = fetchApi.call(api, route, options);
      if (route === "/upload/image") void count(answer);
      return answer;
    };
    const { graphToPrompt } = app;
    app.graphToPrompt = async (/** @type {any[]} */ ...given) => {
      const { toast, workflow } = app.extensionManager;
      const { activeWorkflow } = workflow;
      if (isUploading()) toast.add(WAITING);
      while (isUploading()) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      if (workflow.activeWorkflow !== activeWorkflow) throw new Error(LEFT);
      return graphToPrompt.apply(app, given);
    };
  },

  /** @param {any} node */
  nodeCreated(node) {
    if (node.comfyClass !== "DreamBoothLoadInstanceImages") return;
    const widget = node.widgets.find((/** @type {any} */ w) => w.name === "photos");
    // the front end's own combo shows only one name
    Object.defineProperty(widget, "_displayValue", { get: () => [widget.value].flat().join(", ") });
  },
});
