// Asks the host how the training goes, and tells the tab's other modules by events of the document.
// @ts-check
(() => {
  const { tell } = dreamboothDom;
  const BUSY_MS = 1000;
  const IDLE_MS = 3000;
  const ANSWER_MS = 20000;
  let seen = "";
  /** @type {number | undefined} */
  let timer;

  const panel = () => document.getElementById("dreambooth_live");

  /**
   * @param {string} path
   * @param {"GET" | "POST"} method
   * @returns {Promise<any>}
   */
  async function ask(path, method = "GET") {
    const headers = { "X-DreamBooth-Key": panel()?.dataset.key ?? "" };
    const response = await fetch(`dreambooth/${path}`, {
      method, headers, cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (!response.ok) throw new Error(`The host answers ${response.status}; reload the page.`);
    return response.json();
  }

  /** The list of runs changes when a job begins, makes its first step, or ends. */
  async function showRuns(/** @type {any} */ job) {
    const now = JSON.stringify([job?.id, Boolean(job?.progress), job?.end?.state]);
    if (now === seen) return;
    tell("runs", await ask("runs"));
    seen = now;
  }

  async function poll() {
    window.clearTimeout(timer);
    let wait = IDLE_MS;
    try {
      if (panel()) {
        const { job } = await ask("state");
        tell("state", job);
        await showRuns(job);
        if (job && !job.end) wait = BUSY_MS;
      }
    } catch {
      tell("lost", "The host does not answer. A training goes on or is saved; this page tries again.");
    }
    window.clearTimeout(timer);
    timer = window.setTimeout(poll, wait);
  }

  document.addEventListener("dreambooth:ask", async (event) => {
    try {
      const answer = await ask(/** @type {CustomEvent} */ (event).detail, "POST");
      tell("problem", answer.error ?? "");
    } catch (error) {
      tell("problem", String(error));
    }
    await poll();
  });

  // After Train the page should not wait for the next look.
  document.addEventListener("click", (event) => {
    const target = /** @type {Element} */ (event.target);
    if (target.closest?.("#dreambooth_train, #dreambooth_make")) window.setTimeout(poll, 400);
  });

  // @ts-ignore - the host's own
  onUiLoaded(poll);
})();
