// Lists earlier runs with their images.
// @ts-check
(() => {
  const { element, picture } = dreamboothDom;
  const STATES = {
    running: "running", finished: "finished", stopped: "stopped", failed: "failed",
    unfinished: "interrupted",
  };
  /** @type {Set<string>} */
  const open = new Set();
  let listed = 0;

  /** @param {any} run */
  function images(run) {
    const sheet = element("div", "sheet");
    dreamboothDom.showSheet(sheet, run.name, run.sheet, listed);
    if (!run.loss) return [sheet];
    const loss = picture(run.name, "loss", "loss", listed);
    loss.alt = "Loss by step";
    return [sheet, element("figure", "loss", loss)];
  }

  /** @param {any} run */
  function row(run) {
    /** @type {keyof typeof STATES} */
    const state = run.state;
    const steps = state === "running" ? [] : [`step ${run.step} of ${run.steps}`];
    const facts = [STATES[state], ...steps, run.base].join(" · ");
    const summary = element("summary", "run", element("b", "name", run.name), " ", facts);
    const buttons = element("div", "buttons", ...dreamboothDom.actions(run));
    const body = element("div", "body", element("p", "text", run.text), buttons);
    const made = /** @type {HTMLDetailsElement} */ (element("details", `state-${state}`, summary, body));
    made.addEventListener("toggle", () => {
      if (!made.open) open.delete(run.name);
      else if (body.childElementCount === 2) body.append(...images(run)), open.add(run.name);
    });
    made.open = open.has(run.name);
    return made;
  }

  document.addEventListener("dreambooth:runs", (event) => {
    const panel = document.getElementById("dreambooth_runs");
    const { runs, missing } = /** @type {CustomEvent} */ (event).detail;
    listed = Date.now();
    const head = element("h3", "heading", "Earlier runs");
    const none = element("p", "text", "None yet.");
    const first = element("p", "missing", missing ? `${missing} Train installs it automatically.` : "");
    panel?.replaceChildren(first, head, ...(runs.length ? runs.map(row) : [none]));
  });
})();
