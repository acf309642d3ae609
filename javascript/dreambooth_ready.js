// Says why Train cannot be pressed yet and whether the training fits into memory, and hides the
// answer to a click once it is out of date.
// @ts-check
(() => {
  const CLICKED = "#dreambooth_train, #dreambooth_make, #dreambooth_suggest";
  const PLAN_MS = 2500;
  const NO_MEMORY = ["name", "word", "noun", "instance_prompt", "preset", "learning_rate", "seed"];
  let planned = ""; // what was asked about last
  let waited = ""; // what will be asked about soon
  /** @type {number | undefined} */
  let timer;
  let clicked = false;
  /** @type {Record<string, any>} */
  let form = {};
  /** @type {any} */
  let job;

  /** @returns {string} why a training cannot start */
  function reason() {
    if (job && !job.end) return `“${job.name}” is running. Wait until it finishes, or stop it.`;
    if (dreamboothDom.isSending()) return "The photos are still uploading.";
    const photos = form.uploads?.length || form.folder?.trim();
    const missing = [];
    if (!photos) missing.push("your photos");
    if (!form.base) missing.push("a base checkpoint");
    if (!form.instance_prompt?.trim()) missing.push("an instance prompt");
    return missing.length ? `To train, add ${missing.join(" and ")}.` : "";
  }

  function show() {
    const train = document.getElementById("dreambooth_train");
    const waits = document.getElementById("dreambooth_waits");
    if (!train || !waits) return;
    const text = reason();
    if (waits.textContent !== text) waits.textContent = text;
    waits.setAttribute("role", "status");
    train.setAttribute("aria-describedby", waits.id);
    train.toggleAttribute("disabled", Boolean(text));
    train.title = text;
  }

  /** Ask whether the training fits, once nothing that matters for it has changed for a while. */
  function plan() {
    const now = JSON.stringify(form, (name, value) => (NO_MEMORY.includes(name) ? null : value));
    const fit = document.getElementById("dreambooth_fit");
    if (now === planned || now === waited) return;
    window.clearTimeout(timer);
    fit?.setAttribute("data-over", "");
    waited = "";
    if (reason()) return;
    waited = now;
    timer = window.setTimeout(ask, PLAN_MS);
  }

  function ask() {
    const fit = document.getElementById("dreambooth_fit");
    if (fit?.querySelector(".pending")) {
      timer = window.setTimeout(ask, PLAN_MS); // Forge's gradio ignores a click meanwhile
      return;
    }
    const now = waited;
    waited = "";
    if (reason()) return;
    planned = now;
    fit?.removeAttribute("data-over");
    document.getElementById("dreambooth_plan")?.click();
  }

  const answer = () => document.getElementById("dreambooth_answer");

  document.addEventListener("dreambooth:form", (event) => {
    form = /** @type {CustomEvent} */ (event).detail;
    plan();
    if (!clicked) answer()?.setAttribute("data-over", "");
    show();
  });

  document.addEventListener("dreambooth:read", () => {
    clicked = false;
  });

  document.addEventListener("dreambooth:state", (event) => {
    const now = /** @type {CustomEvent} */ (event).detail;
    if (job && (job.id !== now?.id || Boolean(job.end) !== Boolean(now?.end))) {
      answer()?.setAttribute("data-over", "");
    }
    job = now;
    plan();
    show();
  });

  document.addEventListener(
    "click",
    ({ target }) => {
      if (!(/** @type {Element} */ (target).closest?.(CLICKED))) return;
      answer()?.removeAttribute("data-over");
      if (dreamboothDom.isSending()) return;
      clicked = true; // what was typed before the click may be read only now
      document.getElementById("dreambooth_read")?.click();
    },
    true,
  );

  // An upload that begins or ends changes nothing that the other events tell.
  window.setInterval(show, 500);
})();
