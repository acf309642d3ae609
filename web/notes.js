// Shows the notes of a running node as toasts.
// @ts-check
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const LIFE_MS = { info: 6000, success: 6000, warn: 10000, error: 20000 }; // toasts lie over the panel

/**
 * @typedef {{severity: "info" | "success" | "warn" | "error", summary: string, detail: string}} Note
 */

app.registerExtension({
  name: "DreamBooth.Notes",

  setup() {
    api.addEventListener("dreambooth.note", (/** @type {{detail: Note}} */ { detail: note }) => {
      const life = LIFE_MS[note.severity];
      app.extensionManager.toast.add({ ...note, life });
    });
  },
});
