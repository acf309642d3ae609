// The area on a node that shows its photos: thumbnails, buttons to add, remove and clear, and drop.
// @ts-check
import { BUTTON } from "./fields.js";

const THUMB_PX = 64;
const GAP_PX = 4;
const PADDING_PX = 6;
const HEAD_PX = 26;
const MAX_ROWS = 4; // more are scrolled
const ACCEPTED = "image/*,.heic,.heif,.avif,.tif,.tiff";
const EMPTY = "or drop 3 to 20 photos here";
const AREA = {
  display: "flex",
  flexDirection: "column",
  gap: `${GAP_PX}px`,
  padding: `${PADDING_PX}px`,
  font: "12px/16px sans-serif",
  color: "var(--input-text)",
  background: "var(--comfy-input-bg)",
  borderRadius: "6px",
  boxSizing: "border-box",
};
const GRID = {
  display: "grid",
  gridTemplateColumns: `repeat(auto-fill, ${THUMB_PX}px)`,
  gridAutoRows: `${THUMB_PX}px`,
  gap: `${GAP_PX}px`,
  maxHeight: `${rowsPx(MAX_ROWS)}px`,
  overflowY: "auto",
};
const TILE = { position: "relative", overflow: "hidden", overflowWrap: "anywhere", fontSize: "10px" };
const IMAGE = { width: "100%", height: "100%", objectFit: "cover", borderRadius: "4px" };
const CROSS = { ...BUTTON, position: "absolute", top: "1px", right: "1px", padding: "0 4px" };

/**
 * @typedef {object} Photo
 * @property {string} name as the node's value has it
 * @property {string} url of its picture
 *
 * @typedef {object} Actions what the area asks its node to do
 * @property {(files: File[]) => void} add
 * @property {(name: string) => void} remove
 * @property {() => void} clear
 */

/** @param {number} count @returns {number} the height of rows of thumbnails in pixels */
function rowsPx(count) {
  return count * (THUMB_PX + GAP_PX) - GAP_PX;
}

/**
 * @param {string} tag
 * @param {Partial<CSSStyleDeclaration>} style
 * @param {string} [text]
 * @returns {any}
 */
function make(tag, style, text = "") {
  const element = document.createElement(tag);
  Object.assign(element.style, style);
  element.textContent = text;
  return element;
}

/**
 * @param {string} text
 * @param {string} title
 * @param {() => void} act
 * @param {Partial<CSSStyleDeclaration>} style
 */
function button(text, title, act, style = BUTTON) {
  const made = make("button", style, text);
  Object.assign(made, { type: "button", title, ariaLabel: title, onclick: act });
  return made;
}

/**
 * @param {Photo} photo
 * @param {Actions} actions
 */
function tile(photo, actions) {
  const { name, url } = photo;
  const made = make("div", TILE);
  const image = make("img", /** @type {any} */ (IMAGE));
  image.onerror = () => image.replaceWith(name); // a format that the browser does not show
  Object.assign(image, { alt: name, title: name, draggable: false, src: url });
  made.append(image, button("×", `Remove ${name}`, () => actions.remove(name), CROSS));
  return made;
}

/** Photos in an element, with the actions on them. */
export class PhotoArea {
  /** @param {Actions} actions */
  constructor(actions) {
    this.actions = actions;
    this.count = 0;
    this.element = make("div", /** @type {any} */ (AREA));
    this.element.className = "dreambooth-photos";
    this.grid = make("div", /** @type {any} */ (GRID));
    this.state = make("span", { flex: "1", alignSelf: "center" });
    const head = make("div", { display: "flex", gap: "6px", height: `${HEAD_PX}px` });
    const pick = make("input", { display: "none" });
    Object.assign(pick, { type: "file", multiple: true, accept: ACCEPTED });
    pick.onchange = () => {
      actions.add([...pick.files]);
      pick.value = ""; // so that the same files can be chosen again
    };
    this.clear = button("Clear all", "Remove all photos from the node", actions.clear);
    const choose = button("Add photos", "Choose photos to add", () => pick.click());
    head.append(choose, this.state, this.clear, pick);
    this.element.append(head, this.grid);
  }

  /**
   * Show photos, and how far an upload is.
   * @param {Photo[]} photos
   * @param {string} uploading
   */
  show(photos, uploading) {
    this.count = photos.length;
    const number = photos.length === 1 ? "1 photo" : `${photos.length} photos`;
    this.state.textContent = uploading || (photos.length ? number : EMPTY);
    this.clear.hidden = !photos.length;
    this.grid.replaceChildren(...photos.map((photo) => tile(photo, this.actions)));
  }

  /**
   * @param {number} width of the node in pixels
   * @returns {number} the area's height in pixels
   */
  height(width) {
    const perRow = Math.max(1, Math.floor((width - 40) / (THUMB_PX + GAP_PX)));
    const rows = Math.min(MAX_ROWS, Math.ceil(this.count / perRow));
    return HEAD_PX + 2 * PADDING_PX + GAP_PX + (rows ? rowsPx(rows) : 0);
  }
}
