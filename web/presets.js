// Fills a preset's values into the fields, and marks the fields that differ from it afterwards.
// @ts-check
import { app } from "../../scripts/app.js";
import { after, defaultOf, fieldOf, nodesOf, sourceOf } from "./fields.js";

/** @typedef {Record<string, unknown>} Values by the setting's name */

const PHOTOS = "DreamBoothLoadInstanceImages";
const CLASSES = "DreamBoothGenerateClassImages";
const TRAIN = "DreamBoothTrain";
const FILLED = "preset_filled";
const ON_CLASSES = { num_class_images: "num_class_images", class_inference_steps: "steps" };

/** @type {WeakMap<any, string>} */
const labels = new WeakMap(); // of marked fields, as they were

/**
 * @param {any} node a training node
 * @param {unknown} preset
 * @returns {Values}
 */
function valuesOf(node, preset) {
  const { required } = node.constructor.nodeData.input;
  return required.preset[1].dreambooth_presets[String(preset)] ?? {};
}

/**
 * Find the field of a setting: on the node whose class images or photos are connected, or here.
 * @param {any} node a training node
 * @param {string} name of the setting
 * @returns {{owner: any, field: any} | null}
 */
function find(node, name) {
  const classes = sourceOf(node, "class_set", CLASSES);
  const photos = sourceOf(node, "instance_set", PHOTOS);
  const places = [
    [classes, /** @type {any} */ (ON_CLASSES)[name]],
    [node, name],
    [photos, name],
  ];
  const [owner] = places.filter(([owner, known]) => known && fieldOf(owner, known));
  return owner ? { owner: owner[0], field: fieldOf(owner[0], owner[1]) } : null;
}

/** @param {any} node a training node */
function mark(node) {
  const wanted = valuesOf(node, fieldOf(node, "preset").value);
  const marked = new Set();
  for (const [name, value] of Object.entries(wanted)) {
    const field = find(node, name)?.field;
    if (!field || field.value === value) continue;
    marked.add(field);
    if (!labels.has(field)) labels.set(field, field.label ?? field.name);
    field.label = `${labels.get(field)} (preset: ${value})`;
  }
  const near = [node, sourceOf(node, "class_set", CLASSES), sourceOf(node, "instance_set", PHOTOS)];
  for (const field of near.flatMap((owner) => owner?.widgets ?? [])) {
    if (marked.has(field) || !labels.has(field)) continue;
    field.label = labels.get(field);
    labels.delete(field);
  }
  node.setDirtyCanvas(true, true);
}

/**
 * Fill in a preset, and take back what the former one filled in.
 * @param {any} node a training node
 * @param {unknown} former
 * @param {unknown} preset
 */
function fill(node, former, preset) {
  const values = valuesOf(node, preset);
  for (const [name, value] of Object.entries(valuesOf(node, former))) {
    const found = find(node, name);
    if (!found || name in values || found.field.value !== value) continue;
    found.field.value = defaultOf(found.owner, found.field.name);
  }
  for (const [name, value] of Object.entries(values)) {
    const found = find(node, name);
    if (found) found.field.value = value;
  }
  fieldOf(node, FILLED).value = true;
}

/**
 * Show what a preset filled in only when training, in a workflow of an older version.
 * @param {any} node a training node
 */
function fillDefaults(node) {
  const values = Object.entries(valuesOf(node, fieldOf(node, "preset").value));
  for (const [name, value] of values) {
    const field = fieldOf(node, name);
    if (field && field.value === defaultOf(node, name)) field.value = value;
  }
  if (values.length) fieldOf(node, FILLED).value = true;
}

/** @param {any} node a training node */
function watch(node) {
  const preset = fieldOf(node, "preset");
  let former = preset.value;
  after(preset, "callback", () => {
    if (preset.value !== former) fill(node, former, preset.value);
    former = preset.value;
  });
  // later, when all values of the workflow are there
  const opened = () => {
    if (!fieldOf(node, FILLED).value) fillDefaults(node);
    former = preset.value;
    if (node.graph) mark(node); // else it is marked when it is added
  };
  after(node, "onConfigure", () => queueMicrotask(opened));
}

app.registerExtension({
  name: "DreamBooth.Presets",

  /** @param {any} node */
  nodeCreated(node) {
    if (![PHOTOS, CLASSES, TRAIN].includes(node.comfyClass)) return;
    if (node.comfyClass === TRAIN) watch(node);
    const markAll = () => nodesOf(node.graph, TRAIN).forEach(mark);
    for (const field of node.widgets ?? []) after(field, "callback", markAll);
    for (const change of ["onAdded", "onConnectionsChange"])
      after(node, change, () => queueMicrotask(markAll));
  },
});
