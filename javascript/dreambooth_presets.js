// Fills in presets and shows what differs from them, and writes the prompts from two words.
// @ts-check
(() => {
  const FILLED_MS = 3000;
  /** @type {string | undefined} */
  let preset; // the one that was filled in last
  let written = ["", ""]; // the prompts as they follow from the words

  const field = (/** @type {string} */ name) => document.getElementById(`dreambooth_${name}`);
  const same = (/** @type {any} */ a, /** @type {any} */ b) => String(a ?? "") === String(b ?? "");

  /** @param {string} name */
  function mark(name) {
    field(name)?.setAttribute("data-filled", "");
    window.setTimeout(() => field(name)?.removeAttribute("data-filled"), FILLED_MS);
  }

  /**
   * Called by gradio when the preset changes: return its description and values.
   * @param {string} chosen
   */
  function fillIn(chosen) {
    const { presets, filled } = dreamboothDom.page();
    if (chosen === preset || !presets[chosen]) return [];
    const before = presets[preset ?? ""]?.values;
    preset = chosen;
    const { about, values } = presets[chosen];
    filled.forEach((/** @type {string} */ name, /** @type {number} */ i) => {
      if (before && !same(before[i], values[i])) mark(name);
    });
    return [about, ...values];
  }

  /**
   * @param {string} word
   * @param {string} noun
   * @param {string} chosen
   */
  function prompts(word, noun, chosen) {
    const one = `${/^[aeiou]/i.test(noun) ? "an" : "a"} ${noun}`;
    if (!noun) return ["", ""];
    if (chosen === "style") return [word && `${one} in ${word} style`, one];
    return [word && `a photo of ${word} ${noun}`, `a photo of ${one}`];
  }

  /**
   * Called by gradio when a word or the preset changes: return both prompts; one that was edited
   * stays.
   * @param {string} word
   * @param {string} noun
   * @param {string} chosen
   * @param {string[]} now
   */
  function write(word, noun, chosen, ...now) {
    const before = written;
    written = prompts(word.trim(), noun.trim(), chosen);
    return written.map((text, i) => (!now[i] || now[i] === before[i] ? text : now[i]));
  }

  document.addEventListener("dreambooth:put", (event) => {
    const { preset: chosen, word = "", noun = "" } = /** @type {CustomEvent} */ (event).detail;
    if (chosen === undefined) return;
    preset = chosen;
    written = prompts(word.trim(), noun.trim(), chosen);
    const goal = document.querySelector("#dreambooth_goal p");
    const about = dreamboothDom.page().presets[chosen]?.about;
    const text = new DOMParser().parseFromString(about ?? "", "text/html").body.textContent;
    if (goal && text) goal.textContent = text;
  });

  document.addEventListener("dreambooth:form", (event) => {
    const { presets, filled, labels } = dreamboothDom.page();
    const values = /** @type {CustomEvent} */ (event).detail;
    const { values: own } = presets[values.preset] ?? {};
    preset ??= values.preset;
    const differs = filled.filter((/** @type {string} */ name, /** @type {number} */ i) => {
      const is = own && !same(own[i], values[name]);
      field(name)?.toggleAttribute("data-differs", Boolean(is));
      return is;
    });
    const listed = differs.map((/** @type {string} */ name) => labels[name]).join(", ");
    const line = field("differs");
    if (line) line.textContent = listed ? `Changed since the preset: ${listed}.` : "";
  });

  Object.assign(dreamboothDom, { fillIn, prompts: write });
})();
