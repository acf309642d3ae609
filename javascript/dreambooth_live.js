// Shows the current job: its stage, progress, loss and samples.
// @ts-check
(() => {
  const { element, button, emit } = dreamboothDom;
  const TITLES = {
    train: "Training", class_images: "Generating", compare: "Comparing before/after:",
    identifiers: "Rating",
  };
  /** @type {Record<string, HTMLElement> | undefined} */
  let parts;
  /** @type {any} */
  let job;
  /** @type {any[]} */
  let runs = [];

  /** @param {HTMLElement} panel */
  function build(panel) {
    const fill = element("div", "fill");
    const stop = button("Stop and save", () => emit("ask", "stop"));
    parts = {
      fill,
      stop,
      title: element("b", "title", "Nothing is running"),
      text: element("div", "text"),
      bar: element("div", "bar", fill),
      problem: element("p", "problem"),
      warnings: element("ul", "warnings"),
      ratings: element("ul", "ratings"),
      chart: element("div", "chart"),
      buttons: element("div", "buttons"),
      sheet: element("div", "sheet"),
    };
    parts.chart.id = "dreambooth_chart";
    panel.replaceChildren(
      element("div", "head", parts.title, stop),
      parts.text, parts.bar, parts.problem, parts.ratings, parts.buttons, parts.sheet, parts.chart,
      parts.warnings,
    );
    return parts;
  }

  /** Show what can be done with the result of the job that has ended. */
  function showActions() {
    const isRun = job?.end && ["train", "compare"].includes(job.kind);
    const run = isRun && runs.find(({ name }) => name === job.name);
    const shown = /** @type {Record<string, HTMLElement>} */ (parts);
    shown?.buttons.replaceChildren(...(run ? dreamboothDom.actions(run) : []));
  }

  /** @returns {string} */
  function lineOf() {
    if (job.end) return job.end.text;
    const count = job.total && job.text !== "Training" ? ` ${job.done} of ${job.total}` : "";
    return job.progress && job.text === "Training" ? job.progress : `${job.text}${count}`;
  }

  document.addEventListener("dreambooth:state", (event) => {
    const panel = document.getElementById("dreambooth_live");
    job = /** @type {CustomEvent} */ (event).detail;
    if (!panel) return;
    const shown = parts && panel.contains(parts.title) ? parts : build(panel);
    const state = job ? (job.end?.state ?? "running") : "idle";
    panel.dataset.state = state;
    shown.stop.hidden = state !== "running";
    shown.stop.toggleAttribute("disabled", Boolean(job?.stopping));
    shown.bar.hidden = state !== "running";
    if (state === "running" || state === "idle") shown.buttons.replaceChildren();
    if (!job) {
      shown.text.textContent = "Add photos, write the prompts and click Train.";
      return;
    }
    /** @type {keyof typeof TITLES} */
    const kind = job.kind;
    shown.title.textContent = `${TITLES[kind]} ${job.name}`;
    shown.text.textContent = lineOf();
    shown.fill.style.width = job.total ? `${(100 * job.done) / job.total}%` : "0";
    shown.warnings.replaceChildren(
      ...job.warnings.map((/** @type {string} */ text) => element("li", "warning", text)),
    );
    shown.ratings.replaceChildren(
      ...job.ratings.map((/** @type {string} */ text) => element("li", "rating", text)),
    );
    dreamboothDom.showSheet(shown.sheet, job.name, job.sheet, job.id);
    emit("losses", kind === "train" ? job.losses : []);
  });

  document.addEventListener("dreambooth:runs", (event) => {
    runs = /** @type {CustomEvent} */ (event).detail.runs;
    showActions();
  });

  for (const name of ["problem", "note", "lost"]) {
    document.addEventListener(`dreambooth:${name}`, (event) => {
      const text = /** @type {CustomEvent} */ (event).detail;
      const panel = document.getElementById("dreambooth_live");
      const shown = parts ?? (panel && build(panel));
      const line = shown?.[name === "lost" ? "text" : "problem"];
      if (!line) return;
      line.textContent = text;
      line.classList.toggle("dreambooth-note", name === "note");
    });
  }
})();
