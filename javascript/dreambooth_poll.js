// Polls the host for the current job, and passes it to the tab's other scripts as document events.
// @ts-check
(() => {
  const { ask, emit } = dreamboothDom;
  const BUSY_MS = 1000;
  const IDLE_MS = 3000;
  const LOST = "The host is not responding; trying again. Training continues or has been saved.";
  let seen = "";
  /** @type {number | undefined} */
  let timer;

  const panel = () => document.getElementById("dreambooth_live");

  /** Ask for the page's key once; it is not in the page, which another site might read. */
  async function getKey() {
    const live = /** @type {HTMLElement} */ (panel());
    if (!live.dataset.key) live.dataset.key = (await ask("key")).key;
  }

  /** Update the list of runs when a job starts, finishes its first step, or ends. */
  async function showRuns(/** @type {any} */ job) {
    const now = JSON.stringify([job?.id, Boolean(job?.progress), job?.end?.state]);
    if (now === seen) return;
    emit("runs", await ask("runs"));
    seen = now;
  }

  async function poll() {
    window.clearTimeout(timer);
    let wait = IDLE_MS;
    try {
      if (panel()) {
        await getKey();
        const { job } = await ask("state");
        emit("state", job);
        await showRuns(job);
        if (job && !job.end) wait = BUSY_MS;
      }
    } catch (error) {
      const { refused, message } = /** @type {any} */ (error);
      emit("lost", refused ? message : LOST);
    }
    window.clearTimeout(timer);
    timer = window.setTimeout(poll, wait);
  }

  document.addEventListener("dreambooth:ask", async (event) => {
    try {
      const answer = await ask(/** @type {CustomEvent} */ (event).detail, "POST");
      emit("problem", answer.error ?? "");
      if (answer.note) emit("note", answer.note);
      seen = "";
    } catch (error) {
      emit("problem", String(error));
    }
    await poll();
  });

  // Poll soon after a job is started.
  document.addEventListener("click", (event) => {
    const target = /** @type {Element} */ (event.target);
    const buttons = "#dreambooth_train, #dreambooth_make, #dreambooth_suggest";
    if (target.closest?.(buttons)) window.setTimeout(poll, 400);
  });

  // @ts-ignore - the host's own
  onUiLoaded(poll);
})();
