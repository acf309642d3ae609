// The photos of Load Instance Images: an area of their own, and a Run that waits for uploads.
// @ts-check
import { app } from "../../scripts/app.js";
import { fixHeight, resizing } from "./fields.js";
import { PhotoArea } from "./photo_area.js";
import { namesOf, upload, urlOf } from "./uploads.js";

const TYPE = "DREAMBOOTH_PHOTOS";
const WAITING = { severity: "info", summary: "Run waits for photos to upload.", life: 5000 };
const LEFT = "Not run: another workflow was opened while photos were uploading.";
const POLL_MS = 50;
const MARGIN_PX = 5;
const PHOTO = /\.(jpe?g|png|webp|bmp|tiff?|gif|heic|heif|avif)$/i;

let uploads = 0;

/** @returns {boolean} whether photos are uploading that are not in a field yet */
export function isUploading() {
  return uploads > 0;
}

/** @param {string} summary @param {string} detail */
function warn(summary, detail) {
  app.extensionManager.toast.add({ severity: "warn", summary, detail, life: 20000 });
}

/** The photos of one node: its value, and what is shown of it. */
class Photos {
  /** @param {any} node */
  constructor(node) {
    this.node = node;
    /** @type {string[]} */
    this.names = [];
    this.uploading = "";
    this.area = new PhotoArea({
      add: (files) => void this.add(files),
      remove: (name) => this.change(this.names.filter((other) => other !== name)),
      clear: () => this.change([]),
    });
    this.show();
  }

  /** The value as workflows save it: a list of names, or an empty text. */
  get value() {
    return this.names.length ? [...this.names] : "";
  }

  set value(value) {
    this.names = namesOf(value);
    this.show();
  }

  show() {
    const photos = this.names.map((name) => ({ name, url: urlOf(name) }));
    resizing(this.node, () => this.area.show(photos, this.uploading));
  }

  /** @param {string[]} names */
  change(names) {
    this.value = names;
    app.extensionManager.workflow.activeWorkflow?.changeTracker?.checkState(); // for undo and drafts
  }

  /**
   * Upload photos one after the other, so that they keep their order, and append them.
   * @param {File[]} files
   */
  async add(files) {
    const photos = files.filter((file) => PHOTO.test(file.name) || file.type.startsWith("image/"));
    const others = files.filter((file) => !photos.includes(file)).map((file) => file.name);
    if (others.length) warn("Only photos can be added.", `Left out: ${others.join(", ")}`);
    uploads += 1;
    for (const [index, photo] of photos.entries()) {
      this.uploading = `Uploading ${index + 1} of ${photos.length} …`;
      this.show();
      try {
        this.names = [...new Set([...this.names, await upload(photo)])];
      } catch (error) {
        warn(`${photo.name} was not uploaded.`, String(error));
      }
    }
    this.uploading = "";
    this.change(this.names);
    uploads -= 1;
  }
}

/** @param {any} node @param {string} name */
function addPhotos(node, name) {
  const photos = new Photos(node);
  const { element } = photos.area;
  const widget = node.addDOMWidget(name, TYPE, element, {
    getValue: () => photos.value,
    setValue: (/** @type {any} */ value) => (photos.value = value),
    margin: MARGIN_PX,
  });
  fixHeight(widget, () => photos.area.height(node.size[0]) + 2 * MARGIN_PX);
  const take = (/** @type {DragEvent} */ event) => {
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) void photos.add(files);
    return files.length > 0;
  };
  node.onDragOver = (/** @type {DragEvent} */ event) =>
    [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file");
  node.onDragDrop = take;
  node.pasteFiles = (/** @type {File[]} */ files) => files.length > 0 && !!photos.add([...files]);
  // in the classic canvas, the area lies above the node, which does not see what is dropped on it
  element.ondragover = (/** @type {DragEvent} */ event) => event.preventDefault();
  element.ondrop = (/** @type {DragEvent} */ event) => {
    if (LiteGraph.vueNodesMode || !take(event)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  return { widget };
}

app.registerExtension({
  name: "DreamBooth.Photos",

  getCustomWidgets: () => ({ [TYPE]: addPhotos }),

  // The names of photos are in the widget only after their upload. The widget's serializeValue
  // could wait, but it runs too late for the workflow that is saved with the prompt.
  setup() {
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
});
