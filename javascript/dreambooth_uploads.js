// A1111's gradio forgets an upload, without a word, when anything else in the page changes before
// it has arrived: a preset chosen meanwhile is enough. Such photos are given to it again.
// @ts-check
(() => {
  const BOX = "#dreambooth_uploads";
  const SETTLED_MS = 500;
  /** @type {File[]} */
  let given = [];

  const found = (/** @type {string} */ inside) => document.querySelector(`${BOX} ${inside}`);

  document.addEventListener(
    "change",
    ({ target }) => {
      if (target === found("input[type=file]")) {
        given = [.../** @type {FileList} */ (/** @type {HTMLInputElement} */ (target).files)];
      }
    },
    true
  );

  document.addEventListener(
    "drop",
    (event) => {
      if (/** @type {Element} */ (event.target).closest?.(BOX)) {
        given = [...(event.dataTransfer?.files ?? [])];
      }
    },
    true
  );

  function giveAgain() {
    const files = new DataTransfer();
    for (const file of given) files.items.add(file);
    /** @type {HTMLElement} */ (found("button[aria-label=Clear]")).click();
    window.setTimeout(() => {
      const input = /** @type {HTMLInputElement} */ (found("input[type=file]"));
      input.files = files.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }, SETTLED_MS);
  }

  new PerformanceObserver((list) => {
    const arrived = list.getEntries().some(({ name }) => new URL(name).pathname.endsWith("/upload"));
    if (!arrived) return;
    window.setTimeout(() => {
      // What has arrived and is still shown as on its way was forgotten.
      if (found(".generating") && given.length) giveAgain();
    }, SETTLED_MS);
  }).observe({ type: "resource" });
})();
