// Shows the names of several uploaded photos, and lets Run wait until they are uploaded.
// @ts-check
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const WAITING = { severity: "info", summary: "Run waits for the upload of photos.", life: 5000 };
const LEFT = "Not run: another workflow was opened while photos were uploading.";

/** @type {Set<Promise<void>>} */
const uploads = new Set();

/**
 * Keep an upload until ComfyUI has taken its answer, or it has failed.
 * @param {Promise<Response>} answer
 */
async function keep(answer) {
  const taken = answer
    .then((response) => response.clone().blob())
    .catch(() => {}) // ComfyUI says so
    .then(() => new Promise((resolve) => setTimeout(resolve)));
  uploads.add(taken);
  await taken;
  uploads.delete(taken);
}

app.registerExtension({
  name: "DreamBooth.Photos",

  // ComfyUI names the photos in the widget only after the last one is uploaded. A serializeValue of
  // the widget could wait, but comes too late for the workflow that is saved with the prompt.
  setup() {
    const { fetchApi } = api;
    api.fetchApi = (/** @type {string} */ route, /** @type {RequestInit} */ options) => {
      const answer = fetchApi.call(api, route, options);
      if (route === "/upload/image") void keep(answer);
      return answer;
    };
    const { graphToPrompt } = app;
    app.graphToPrompt = async (/** @type {any[]} */ ...given) => {
      const { toast, workflow } = app.extensionManager;
      const { activeWorkflow } = workflow;
      if (uploads.size) toast.add(WAITING);
      while (uploads.size) await Promise.all(uploads);
      if (workflow.activeWorkflow !== activeWorkflow) throw new Error(LEFT);
      return graphToPrompt.apply(app, given);
    };
  },

  /** @param {any} node */
  nodeCreated(node) {
    if (node.comfyClass !== "DreamBoothLoadInstanceImages") return;
    const widget = node.widgets.find((/** @type {any} */ w) => w.name === "photos");
    // the host's own list box can only show one name
    Object.defineProperty(widget, "_displayValue", { get: () => [widget.value].flat().join(", ") });
  },
});
