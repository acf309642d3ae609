// Keeps the photo field and its preview in sync, and works around gradio losing uploads.
// A1111's gradio silently drops an upload if anything else in the page changes before it finishes,
// such as the preset. This script then adds the photos to the field again.
// @ts-check
(() => {
  const BOX = "#dreambooth_uploads";
  const BUTTONS = "#dreambooth_train, #dreambooth_look, #dreambooth_make";
  const EARLY =
    "Photos are still uploading. Try again when they finish; " +
    "if they stall, clear the field and re-add them.";
  const SETTLED_MS = 500;
  const TICK_MS = 100;
  /** @type {File[]} */
  let given = [];
  let givenAt = 0;
  let changes = 0;

  const found = (/** @type {string} */ inside) =>
    /** @type {HTMLElement | null} */ (document.querySelector(`${BOX} ${inside}`));
  const input = () => /** @type {HTMLInputElement | null} */ (found("input[type=file]"));
  // A1111's only labeled button in a filled field; its label is in the browser's language.
  const clear = () => found("button[aria-label]");
  // A1111 marks a field that is uploading; Forge's field can then be neither filled nor cleared.
  const sending = () => found(".generating") || !(input() || clear());
  const tick = () => new Promise((done) => window.setTimeout(done, TICK_MS));

  /** @param {FileList | null | undefined} files */
  function remember(files) {
    given = [...(files ?? [])];
    givenAt = performance.now();
  }

  document.addEventListener(
    "change",
    ({ target }) => {
      if (target && target === input()) remember(input()?.files);
    },
    true
  );

  document.addEventListener(
    "drop",
    (event) => {
      const target = /** @type {Element} */ (event.target);
      if (target.closest?.(BOX) && input()) remember(event.dataTransfer?.files);
    },
    true
  );

  async function addAgain() {
    const again = given;
    const files = new DataTransfer();
    for (const file of again) files.items.add(file);
    clear()?.click();
    while (!input()) await tick();
    const empty = input();
    if (given !== again || !empty) return;
    empty.files = files.files;
    empty.dispatchEvent(new Event("change", { bubbles: true }));
  }

  new PerformanceObserver((list) => {
    const sentAt = givenAt;
    const requests = /** @type {PerformanceResourceTiming[]} */ (list.getEntries());
    const arrived = requests.some(({ name, startTime, responseStatus }) => {
      const upload = new URL(name).pathname.endsWith("/upload");
      return upload && startTime >= sentAt && !(responseStatus >= 400);
    });
    if (!arrived || !given.length) return;
    window.setTimeout(() => {
      if (sentAt !== givenAt) return;
      // An upload that has finished but is still shown as uploading was dropped.
      if (found(".generating")) addAgain();
      else given = [];
    }, SETTLED_MS);
  }).observe({ type: "resource" });

  // A click during an upload makes A1111's gradio send empty photos and breaks the upload.
  document.addEventListener(
    "click",
    (event) => {
      const target = /** @type {Element} */ (event.target);
      if (!target.closest?.(BUTTONS)) return;
      const early = sending();
      dreamboothDom.emit("problem", early ? EARLY : "");
      if (early) event.stopPropagation();
    },
    true
  );

  /**
   * Called by gradio when the photos in the field change. Starts a new preview once an earlier one
   * has ended, which would otherwise overwrite it; without photos, returns an empty preview.
   * Returning changes the page, so it first waits for uploads to finish.
   */
  async function photosChanged() {
    const change = ++changes;
    do await tick();
    while (sending() || document.querySelector("#dreambooth_report .pending"));
    if (change !== changes) return [];
    dreamboothDom.emit("problem", "");
    if (input()) return [{ __type__: "update", value: [], visible: false }, ""];
    document.getElementById("dreambooth_look")?.click();
    return [];
  }

  /**
   * Return whether the host still has all files of a list, as the field holds it.
   * @param {any[] | null | undefined} files
   */
  async function areThere(files) {
    const found = (files ?? []).map(async ({ name, path }) => {
      const answer = await fetch(`file=${path ?? name}`, { method: "HEAD" });
      return answer.ok;
    });
    return found.length > 0 && (await Promise.all(found)).every(Boolean);
  }

  Object.assign(dreamboothDom, { photosChanged, areThere, isSending: sending });
})();
