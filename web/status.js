// Shows on each node what it is doing, and how it ended.
// @ts-check
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { nodeAt } from "./fields.js";
import { clearMessage, showMessage } from "./message.js";

const PACK = /^DreamBooth/;
const CANCELED = "Canceled.";

/**
 * @typedef {Record<string, string>} Picture as the page asks for it
 * @typedef {{node: string, text?: string, over?: boolean, picture?: Picture}} Status
 * @typedef {{node_id: string, node_type: string, exception_message: string}} Failure
 */

/** @type {Map<string, {text: string, over: boolean, picture: string}>} */
const shown = new Map(); // by the node's id in the run

/** @param {string} id @returns {any} the node, if it is one of ours in the open workflow */
function nodeOf(id) {
  const node = nodeAt(app.graph, id);
  return PACK.test(node?.comfyClass ?? "") ? node : null;
}

/** @param {Status} status */
function show({ node: id, text, over = false, picture }) {
  const node = nodeOf(id);
  if (!node) return;
  const before = shown.get(id) ?? { text: "", over: false, picture: "" };
  const url = picture ? api.apiURL(`/view?${new URLSearchParams(picture)}`) : before.picture;
  const state = { text: text ?? before.text, over, picture: url };
  shown.set(id, state);
  showMessage(node, state);
}

/** @param {string} id */
function clear(id) {
  shown.delete(id);
  const node = nodeOf(id);
  if (node) clearMessage(node);
}

/** Do something with every node that still shows a stage. */
function unfinished(/** @type {(id: string) => void} */ act) {
  for (const [id, { over }] of shown) if (!over) act(id);
}

app.registerExtension({
  name: "DreamBooth.Status",

  setup() {
    const listen = (/** @type {string} */ name, /** @type {(detail: any) => void} */ act) =>
      api.addEventListener(name, (/** @type {CustomEvent} */ event) => act(event.detail));
    listen("dreambooth.status", show);
    listen("execution_start", () => [...shown.keys()].forEach(clear));
    listen("executed", ({ node: id, output }) => {
      const state = shown.get(String(id));
      if (state && output?.report) state.over = true; // web/results.js shows the report
    });
    listen("execution_success", () => unfinished(clear));
    listen("execution_interrupted", () =>
      unfinished((id) => show({ node: id, text: CANCELED, over: true })),
    );
    listen("execution_error", (/** @type {Failure} */ failure) => {
      unfinished(clear);
      const node = PACK.test(failure.node_type) ? nodeOf(failure.node_id) : null;
      if (!node) return;
      const text = failure.exception_message.trim();
      shown.set(failure.node_id, { text, over: true, picture: "" });
      showMessage(node, { text, isProblem: true });
    });
  },
});
