// Lists earlier runs with their images, and uses their results in txt2img.
// @ts-check
(() => {
  const { element, button, picture, emit } = dreamboothDom;
  const STATES = {
    running: "running", finished: "finished", stopped: "stopped", failed: "failed",
    unfinished: "interrupted",
  };
  const ROWS = { before: "Before", after: "After", sample: "During training", loss: "Loss" };
  /** @type {Set<string>} */
  const open = new Set();
  /** @type {any[]} */
  let runs = [];
  let listed = 0;

  /** @param {string} path */
  const ask = (path) => emit("ask", path);

  /** @param {any} run */
  function pictures(run) {
    return Object.entries(ROWS).map(([kind, title]) => {
      const images = run.pictures[kind].map((/** @type {string} */ id) => {
        const image = picture(run.name, kind, id, listed);
        image.title = id;
        return element("figure", "picture", image);
      });
      return images.length ? element("div", "pictures", element("h5", "kind", title), ...images) : "";
    });
  }

  /** @param {any} run */
  function row(run) {
    const path = `runs/${encodeURIComponent(run.name)}`;
    const buttons = element("div", "buttons");
    if (run.resumable) buttons.append(button("Resume", () => ask(`${path}/resume`)));
    if (isUsable(run)) buttons.append(button("Use in txt2img", () => use(run)));
    if (run.comparable) {
      buttons.append(button("Compare before/after", () => ask(`${path}/compare`)));
    }
    /** @type {keyof typeof STATES} */
    const state = run.state;
    const steps = state === "running" ? [] : [`step ${run.step} of ${run.steps}`];
    const facts = [STATES[state], ...steps, run.base].join(" · ");
    const summary = element("summary", "run", element("b", "name", run.name), " ", facts);
    const body = element("div", "body", element("p", "text", run.text), buttons);
    const made = /** @type {HTMLDetailsElement} */ (element("details", `state-${state}`, summary, body));
    made.addEventListener("toggle", () => {
      if (!made.open) open.delete(run.name);
      else if (body.childElementCount === 2) body.append(...pictures(run)), open.add(run.name);
    });
    made.open = open.has(run.name);
    return made;
  }

  /** @param {any} run */
  const isUsable = (run) => Boolean(run.prompt || run.checkpoint);

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

  document.addEventListener("dreambooth:use", (event) => {
    const run = runs.find((one) => one.name === /** @type {CustomEvent} */ (event).detail);
    if (run && isUsable(run)) use(run);
  });

  document.addEventListener("dreambooth:runs", (event) => {
    const panel = document.getElementById("dreambooth_runs");
    const { runs: newest, missing } = /** @type {CustomEvent} */ (event).detail;
    [runs, listed] = [newest, Date.now()];
    const head = element("h3", "heading", "Earlier runs");
    const none = element("p", "text", "None yet.");
    const first = element("p", "missing", missing ? `${missing} Train installs it automatically.` : "");
    panel?.replaceChildren(first, head, ...(runs.length ? runs.map(row) : [none]));
  });
})();
