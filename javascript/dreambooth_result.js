// What a run has made, for the live panel and the list of earlier runs: buttons, and its images as
// a table.
// @ts-check
(() => {
  const { element, button, picture, reportLink, emit } = dreamboothDom;

  /** @param {any} run */
  const isUsable = (run) => Boolean(run.prompt || run.checkpoint);

  /**
   * The buttons for what can be done with a run.
   * @param {any} run
   */
  function actions(run) {
    const path = `runs/${encodeURIComponent(run.name)}`;
    const made = [];
    if (run.resumable) made.push(button("Resume", () => emit("ask", `${path}/resume`)));
    if (isUsable(run)) made.push(button("Use in txt2img", () => use(run)));
    if (run.comparable) {
      made.push(button("Compare before/after", () => emit("ask", `${path}/compare`)));
    }
    for (const step of run.kept) {
      made.push(button(`Save LoRA of step ${step}`, () => emit("ask", `${path}/take/${step}`)));
    }
    if (run.report) made.push(reportLink(run.name));
    made.push(button("Load these settings", () => emit("load", run.name)));
    return made;
  }

  /**
   * Append a run's prompt to the current one, and select its checkpoint as the host's cards do.
   * @param {any} run
   */
  function use({ prompt, checkpoint }) {
    if (checkpoint) {
      document.getElementById("forge_refresh_checkpoint")?.click();
      // @ts-ignore - the host's own
      selectCheckpoint(checkpoint);
    }
    const field = /** @type {HTMLTextAreaElement | null} */ (
      document.querySelector("#txt2img_prompt textarea")
    );
    if (!field) return;
    const written = field.value.trim();
    if (!written.includes(prompt)) field.value = written ? `${written}, ${prompt}` : prompt;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    // @ts-ignore - the host's own
    switch_to_txt2img();
  }

  /**
   * Show the rows of a run's images; those that are shown already stay, so that none flickers.
   * @param {HTMLElement} place
   * @param {string} run
   * @param {any[]} rows - each with a prompt and cells
   * @param {number} version - as for `picture`
   */
  function showSheet(place, run, rows, version) {
    const now = JSON.stringify([run, version, rows]);
    if (place.dataset.shown === now) return;
    place.dataset.shown = now;
    const old = new Map(
      [...place.querySelectorAll("img")].map((image) => [image.getAttribute("src"), image]),
    );
    const cell = (/** @type {any} */ { kind, id, label }, /** @type {string} */ prompt) => {
      const made = picture(run, kind, id, version);
      const image = old.get(made.getAttribute("src")) ?? made;
      image.alt = `${label}: ${prompt}`;
      return element("figure", "picture", image, element("figcaption", "label", label));
    };
    const row = (/** @type {any} */ { prompt, cells }) => {
      const images = cells.map((/** @type {any} */ one) => cell(one, prompt));
      return element("div", "row", element("div", "strip", ...images), element("p", "prompt", prompt));
    };
    place.replaceChildren(...rows.map(row));
  }

  Object.assign(dreamboothDom, { actions, showSheet });
})();
