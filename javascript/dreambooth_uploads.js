// Keeps the photos' field and what is shown of them together, in spite of what gradio forgets.
// A1111's loses an upload, without a word, when anything else in the page changes before it has
// arrived: a preset chosen meanwhile is enough. Such photos are given to it again.
// @ts-check
(() => {
  const BOX = "#dreambooth_uploads";
  const BUTTONS = "#dreambooth_train, #dreambooth_look, #dreambooth_make";
  const EARLY =
    "The photos are still on their way to the host. Press again when they have arrived; " +
    "if they never do, clear the field and give them once more.";
  const SETTLED_MS = 500;
  const TICK_MS = 100;
  /** @type {File[]} */
  let given = [];
  let givenAt = 0;
  let changes = 0;

  const found = (/** @type {string} */ inside) =>
    /** @type {HTMLElement | null} */ (document.querySelector(`${BOX} ${inside}`));
  const input = () => /** @type {HTMLInputElement | null} */ (found("input[type=file]"));
  // The only labelled button of a filled field in A1111; its words are in the browser's language.
  const clear = () => found("button[aria-label]");
  // A1111 marks a field that sends; Forge's can then be neither filled nor cleared.
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

  async function giveAgain() {
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
      // What has arrived and is still shown as on its way was forgotten.
      if (found(".generating")) giveAgain();
      else given = [];
    }, SETTLED_MS);
  }).observe({ type: "resource" });

  // Pressed too early, A1111's gradio sends empty photos, and breaks those that are on their way.
  document.addEventListener(
    "click",
    (event) => {
      const target = /** @type {Element} */ (event.target);
      if (!target.closest?.(BUTTONS)) return;
      const early = sending();
      dreamboothDom.tell("problem", early ? EARLY : "");
      if (early) event.stopPropagation();
    },
    true
  );

  /**
   * What gradio calls when the field's photos are others: looks at them when an earlier look has
   * ended, which would show its own photos later. Gives the crops and the report of no photos.
   * Whatever it gives changes the page, so it waits for photos that are on their way.
   */
  async function photosChanged() {
    const change = ++changes;
    do await tick();
    while (sending() || document.querySelector("#dreambooth_report .pending"));
    if (change !== changes) return [];
    if (input()) return [{ __type__: "update", value: [], visible: false }, ""];
    document.getElementById("dreambooth_look")?.click();
    return [];
  }

  Object.assign(dreamboothDom, { photosChanged });
})();
