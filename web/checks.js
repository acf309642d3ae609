// Looks for what is missing before Run queues a training, and offers to fix it where it can.
// @ts-check
import { app } from "../../scripts/app.js";
import { fieldOf, isLinked, nodesOf, sourceOf } from "./fields.js";
import { clearMessage, showMessage } from "./message.js";
import { isUploading } from "./photos.js";

const PHOTOS = "DreamBoothLoadInstanceImages";
const CLASSES = "DreamBoothGenerateClassImages";
const TRAIN = "DreamBoothTrain";
const ALWAYS = 0; // the mode of nodes that are neither muted nor bypassed
const RARE_WORDS = ["sks", "ohwx", "zwx", "hta", "olis"];

/**
 * @typedef {object} Problem
 * @property {any} node
 * @property {string} text
 * @property {import("./message.js").Fix | null} fix
 */

/** @param {any} node @param {string} name @returns {string} empty too where it comes over a wire */
function textOf(node, name) {
  return isLinked(node, name) ? "" : String(fieldOf(node, name)?.value ?? "").trim();
}

/** @param {string} first @param {string} second @returns {boolean} */
function isSame(first, second) {
  const [one, other] = [first, second].map((text) => text.toLowerCase().split(/\s+/).join(" "));
  return one === other;
}

/** @param {any} node @param {string} name @param {string} value */
function set(node, name, value) {
  const field = fieldOf(node, name);
  field.value = value;
  field.callback?.(value);
}

/**
 * Put a rare word before the last word, which names the class, in place of its article.
 * @param {string} prompt
 * @param {string[]} others prompts whose rare words are taken
 * @returns {string}
 */
function withRareWord(prompt, others) {
  const taken = others.flatMap((text) => text.toLowerCase().split(/\s+/));
  const word = RARE_WORDS.find((rare) => !taken.includes(rare)) ?? RARE_WORDS[0];
  const words = prompt.split(/\s+/);
  const noun = words.pop() ?? "";
  if (/^(an?|the)$/i.test(words.at(-1) ?? "")) words.pop();
  return [...words, word, noun].join(" ");
}

/** @param {any} train @returns {any[]} the nodes with the photos of a training */
function photoNodes(train) {
  const found = [];
  let node = sourceOf(train, "instance_set", PHOTOS);
  for (; node && !found.includes(node); node = sourceOf(node, "instance_set", PHOTOS))
    found.push(node);
  return found;
}

/** @param {any} node with photos @param {any[]} all @returns {Problem | null} */
function photoProblem(node, all) {
  const isWired = isLinked(node, "photos") || isLinked(node, "folder");
  if (!isWired && !fieldOf(node, "photos")?.value?.length && !textOf(node, "folder"))
    if (!isUploading())
      return { node, text: "There are no photos. Add some, or name a folder of photos.", fix: null };
  const prompt = textOf(node, "instance_prompt");
  if (!prompt || !isSame(prompt, textOf(node, "class_prompt"))) return null;
  const better = withRareWord(prompt, all.map((other) => textOf(other, "instance_prompt")));
  return {
    node,
    text: "The instance prompt has no rare word: it is the class prompt.",
    fix: { label: `Use “${better}”`, act: () => set(node, "instance_prompt", better) },
  };
}

/** @param {any} train @param {any[]} photos @returns {Problem | null} */
function classProblem(train, photos) {
  const node = sourceOf(train, "class_set", CLASSES);
  if (!node || isLinked(node, "instance_set") || isLinked(node, "class_prompt")) return null;
  const own = textOf(node, "class_prompt");
  const wanted = photos.map((other) => textOf(other, "class_prompt")).filter(Boolean);
  if (!wanted.length || wanted.some((text) => isSame(text, own))) return null;
  return {
    node,
    text: `The class prompt here is “${own}”, in Load Instance Images “${wanted[0]}”.`,
    fix: {
      label: "Connect the photos: one class prompt for both",
      act: () => photos[0].connect(0, node, node.findInputSlot("instance_set")),
    },
  };
}

/** @param {any} train @returns {Problem[]} */
function problemsOf(train) {
  const photos = photoNodes(train);
  const found = photos.map((node) => photoProblem(node, photos));
  return [...found, classProblem(train, photos)].filter((problem) => problem !== null);
}

/** @param {any} train @throws {Error} the first of its problems, all of which are shown */
function check(train) {
  if (train.mode !== ALWAYS) return;
  const problems = problemsOf(train);
  for (const { node, text, fix } of problems) showMessage(node, { text, isProblem: true, fix });
  if (problems.length) throw new Error(problems[0].text);
}

app.registerExtension({
  name: "DreamBooth.Checks",

  /** @param {any} node */
  nodeCreated(node) {
    if (node.comfyClass !== TRAIN) return;
    const field = fieldOf(node, "output_name");
    field.beforeQueued = (/** @type {any} */ options) => {
      for (const kind of [PHOTOS, CLASSES, TRAIN]) nodesOf(node.graph, kind).forEach(clearMessage);
      if (!options?.isPartialExecution) check(node);
    };
  },
});
