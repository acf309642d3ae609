// A message on a node: what it is doing, or a problem, with a button that fixes it if the page can.
// @ts-check
import { BUTTON, fieldOf, fixHeight, resizing } from "./fields.js";

const WIDGET = "dreambooth_message";
const LINE_PX = 16;
const PADDING_PX = 6;
const BUTTON_PX = 28;
const PICTURE_PX = 256;
const MARGIN_PX = 5;
const MARGINS_PX = 2 * (PADDING_PX + MARGIN_PX) + 2;
const CHARACTER_PX = 6.4;
const STYLE = {
  padding: `${PADDING_PX}px`,
  font: `12px/${LINE_PX}px sans-serif`,
  overflowWrap: "break-word",
  whiteSpace: "pre-wrap",
  color: "var(--input-text)",
  background: "var(--comfy-input-bg)",
  border: "1px solid transparent",
  borderRadius: "6px",
  boxSizing: "border-box",
};
const IMAGE = { display: "block", width: "100%", height: `${PICTURE_PX}px`, objectFit: "contain" };
const FIX = { ...BUTTON, display: "block", marginTop: "4px" };

/**
 * @typedef {object} Fix
 * @property {string} label of the button
 * @property {() => void} act
 * @property {boolean} [stays] whether the message stays afterwards
 */

/**
 * @typedef {object} Message
 * @property {string} text
 * @property {boolean} [isProblem]
 * @property {Fix | null} [fix]
 * @property {string} [picture] its address
 */

/** @type {WeakMap<any, number>} */
const heights = new WeakMap(); // of the messages on nodes, in pixels

/** @type {WeakMap<any, HTMLElement>} */
const elements = new WeakMap(); // of nodes: Nodes 2.0 keeps showing the first one of a name

/** @param {any} node @returns {HTMLElement} */
function elementOf(node) {
  const element = elements.get(node) ?? document.createElement("div");
  elements.set(node, element);
  element.className = "dreambooth-message";
  Object.assign(element.style, STYLE);
  return element;
}

/**
 * Estimate the height of a text with its lines wrapped; before the page has laid it out.
 * @param {string} text
 * @param {number} width in pixels
 * @returns {number} in pixels
 */
export function textHeight(text, width) {
  const perLine = Math.max(20, (width - 40) / CHARACTER_PX);
  const lines = text.split("\n").map((line) => Math.max(1, Math.ceil(line.length / perLine)));
  return lines.reduce((sum, count) => sum + count, 0) * LINE_PX;
}

/**
 * Show a message on a node in place of the former.
 * @param {any} node
 * @param {Message} message
 */
export function showMessage(node, { text, isProblem = false, fix = null, picture = "" }) {
  const element = elementOf(node);
  resizing(node, () => {
    element.textContent = text;
    element.style.borderColor = isProblem ? "var(--error-text)" : "transparent";
    if (picture) element.append(pictureOf(picture));
    if (fix) element.append(buttonOf(node, fix));
    const more = (picture ? PICTURE_PX : 0) + (fix ? BUTTON_PX : 0);
    heights.set(node, textHeight(text, node.size[0]) + more + MARGINS_PX);
    if (!fieldOf(node, WIDGET)) addWidget(node, element);
  });
}

/** @param {any} node @param {HTMLElement} element */
function addWidget(node, element) {
  const options = { serialize: false, margin: MARGIN_PX };
  const widget = node.addDOMWidget(WIDGET, "message", element, options);
  widget.serialize = false;
  fixHeight(widget, () => heights.get(node) ?? 0);
}

/** @param {string} url @returns {HTMLElement} */
function pictureOf(url) {
  const image = document.createElement("img");
  Object.assign(image.style, IMAGE);
  image.src = url;
  return image;
}

/** @param {any} node @param {Fix} fix @returns {HTMLElement} */
function buttonOf(node, fix) {
  const button = document.createElement("button");
  Object.assign(button.style, FIX);
  Object.assign(button, { type: "button", textContent: fix.label });
  button.onclick = () => {
    if (!fix.stays) clearMessage(node);
    fix.act();
  };
  return button;
}

/** @param {any} node */
export function clearMessage(node) {
  const present = fieldOf(node, WIDGET);
  if (present) resizing(node, () => node.removeWidget(present));
}
