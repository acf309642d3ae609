// Shows the names of several uploaded photos; the host's own list box can only show one name.
// @ts-check
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "DreamBooth.Photos",

  /** @param {any} node */
  nodeCreated(node) {
    if (node.comfyClass !== "DreamBoothLoadInstanceImages") return;
    const widget = node.widgets.find((/** @type {any} */ w) => w.name === "photos");
    Object.defineProperty(widget, "_displayValue", { get: () => [widget.value].flat().join(", ") });
  },
});
