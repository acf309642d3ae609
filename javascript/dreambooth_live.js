// Shows the current job: its stage, progress, loss and samples.
// @ts-check
(() => {
  const { element, button, picture, emit } = dreamboothDom;
  const TITLES = {
    train: "Training", class_images: "Generating", compare: "Comparing before/after:",
    identifiers: "Rating",
  };
  /** @type {Record<string, HTMLElement> | undefined} */
  let parts;

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
      samples: element("div", "pictures"),
      use: button("Use in txt2img", () => emit("use", panel.dataset.run)),
      compare: button("Compare before/after", () => {
        emit("ask", `runs/${encodeURIComponent(panel.dataset.run ?? "")}/compare`);
      }),
    };
    parts.chart.id = "dreambooth_chart";
    const buttons = element("div", "buttons", parts.use, parts.compare);
    panel.replaceChildren(
      element("div", "head", parts.title, stop),
      parts.text, parts.bar, parts.problem, parts.ratings, buttons, parts.chart, parts.warnings, parts.samples,
    );
    return parts;
  }

  /** @param {any} job */
  function pictures(job) {
    const { samples } = /** @type {Record<string, HTMLElement>} */ (parts);
    if (samples.dataset.job !== String(job.id)) samples.replaceChildren();
    samples.dataset.job = String(job.id);
    for (const sample of job.kind === "train" ? job.samples.slice(samples.children.length) : []) {
      const image = picture(job.name, "sample", sample.id, job.id);
      image.title = sample.prompt;
      samples.append(element("figure", "picture", image, `step ${sample.step}`));
    }
  }

  /**
   * @param {any} job
   * @returns {string}
   */
  function lineOf(job) {
    if (job.end) return job.end.text;
    const count = job.total && job.text !== "Training" ? ` ${job.done} of ${job.total}` : "";
    return job.progress && job.text === "Training" ? job.progress : `${job.text}${count}`;
  }

  document.addEventListener("dreambooth:state", (event) => {
    const panel = document.getElementById("dreambooth_live");
    const job = /** @type {CustomEvent} */ (event).detail;
    if (!panel) return;
    const shown = parts && panel.contains(parts.title) ? parts : build(panel);
    const state = job ? (job.end?.state ?? "running") : "idle";
    panel.dataset.state = state;
    shown.stop.hidden = state !== "running";
    shown.stop.toggleAttribute("disabled", Boolean(job?.stopping));
    shown.bar.hidden = state !== "running";
    shown.use.hidden = shown.compare.hidden = !job?.end?.lora;
    if (!job) {
      shown.text.textContent = "Add photos, write the prompts and click Train.";
      return;
    }
    panel.dataset.run = job.name;
    /** @type {keyof typeof TITLES} */
    const kind = job.kind;
    shown.title.textContent = `${TITLES[kind]} ${job.name}`;
    shown.text.textContent = lineOf(job);
    shown.fill.style.width = job.total ? `${(100 * job.done) / job.total}%` : "0";
    shown.warnings.replaceChildren(
      ...job.warnings.map((/** @type {string} */ text) => element("li", "warning", text)),
    );
    shown.ratings.replaceChildren(
      ...job.ratings.map((/** @type {string} */ text) => element("li", "rating", text)),
    );
    pictures(job);
    emit("losses", kind === "train" ? job.losses : []);
  });

  for (const name of ["problem", "lost"]) {
    document.addEventListener(`dreambooth:${name}`, (event) => {
      const text = /** @type {CustomEvent} */ (event).detail;
      const panel = document.getElementById("dreambooth_live");
      const shown = parts ?? (panel && build(panel));
      if (shown) shown[name === "lost" ? "text" : "problem"].textContent = text;
    });
  }
})();
