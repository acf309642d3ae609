// Hides the fields whose values come over a wire, so that nothing is asked twice.
// @ts-check
import { app } from "../../scripts/app.js";
import { after, hideFields, isLinked, nodesOf, sourceOf } from "./fields.js";

const PHOTOS = "DreamBoothLoadInstanceImages";
const CLASSES = "DreamBoothGenerateClassImages";
const TRAIN = "DreamBoothTrain";
const OF_PHOTOS = ["class_prompt", "resolution"];
const OF_CLASS_IMAGES = [
  "num_class_images",
  "class_negative_prompt",
  "class_guidance_scale",
  "class_inference_steps",
  "class_sampler",
  "class_seed",
  "class_batch_size",
];
const OF_PAGE = ["preset_filled"]; // web/presets.js sets it

/** @param {any} node @returns {boolean} whether all of a training's class images are connected */
function hasClassImages(node) {
  const photos = sourceOf(node, "instance_set", PHOTOS);
  return isLinked(node, "class_set") && photos !== null && !isLinked(photos, "instance_set");
}

/** @param {any} graph */
function refresh(graph) {
  for (const node of nodesOf(graph, CLASSES)) {
    const wired = isLinked(node, "instance_set");
    hideFields(node, (name) => wired && OF_PHOTOS.includes(name) && !isLinked(node, name));
  }
  for (const node of nodesOf(graph, TRAIN)) {
    const wired = hasClassImages(node);
    const isWired = (/** @type {string} */ name) => wired && OF_CLASS_IMAGES.includes(name);
    hideFields(node, (name) => OF_PAGE.includes(name) || (isWired(name) && !isLinked(node, name)));
  }
}

app.registerExtension({
  name: "DreamBooth.Wired",

  /** @param {any} node */
  nodeCreated(node) {
    if (![PHOTOS, CLASSES, TRAIN].includes(node.comfyClass)) return;
    // later, when all links of a change are there
    const later = () => queueMicrotask(() => refresh(node.graph));
    for (const change of ["onAdded", "onConnectionsChange"]) after(node, change, later);
  },

  afterConfigureGraph() {
    for (const graph of [app.graph, ...app.graph.subgraphs.values()]) refresh(graph);
  },
});
