// The contents of the form: read for other scripts, and filled in after a reload of the page or
// from an earlier run. gradio hands them over when a hidden button is clicked.
// @ts-check
(() => {
  const { emit } = dreamboothDom;
  const STORED = "dreambooth_form"; // in this window's storage, which ends with the window
  const SOON_MS = 300;
  const UNCHANGED = { __type__: "update" };
  /** @type {Record<string, any>} */
  let wanted = {};
  let last = "";
  let restored = false;
  /** @type {number | undefined} */
  let timer;

  /** @returns {{ names: string[], labels: Record<string, string>, filled: string[], presets: any }} */
  const page = () => JSON.parse(document.getElementById("dreambooth_data")?.dataset.page ?? "{}");
  const press = (/** @type {string} */ name) => document.getElementById(`dreambooth_${name}`)?.click();

  /**
   * Called by gradio with the contents of all fields.
   * @param {unknown[]} contents
   */
  function read(...contents) {
    const names = page().names;
    const values = Object.fromEntries(names.map((name, i) => [name, contents[i]]));
    const now = JSON.stringify(values);
    if (now !== last) {
      last = now;
      if (restored) sessionStorage.setItem(STORED, now);
      emit("form", JSON.parse(now));
    }
    emit("read", undefined);
    return [];
  }

  /** Return the contents of the form as they are now; during an upload, as they were before it. */
  async function contents() {
    if (!dreamboothDom.isSending()) {
      const done = new Promise((resolve) => {
        document.addEventListener("dreambooth:read", resolve, { once: true });
      });
      press("read");
      await done;
    }
    return JSON.parse(last || "{}");
  }

  /** Called by gradio: return what to put into the fields. */
  function put() {
    const given = wanted;
    wanted = {};
    emit("put", given);
    soon();
    return page().names.map((name) =>
      name in given ? { __type__: "update", value: given[name] } : UNCHANGED,
    );
  }

  /** @param {Record<string, any>} values */
  function fill(values) {
    wanted = values;
    press("put");
  }

  /** Called by gradio after its own events of a new page: fill in what was there before. */
  async function restore() {
    const stored = JSON.parse(sessionStorage.getItem(STORED) ?? "{}");
    const { uploads, ...others } = stored;
    if (await dreamboothDom.areThere(uploads)) others.uploads = uploads;
    if (Object.keys(stored).length) fill(others);
    restored = true;
    soon();
    return [];
  }

  /** Read the fields soon; not during an upload, which A1111's gradio would drop. */
  function soon() {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => (dreamboothDom.isSending() ? soon() : press("read")), SOON_MS);
  }

  for (const kind of ["input", "change", "focusout", "click", "drop"]) {
    document.addEventListener(kind, ({ target, isTrusted }) => {
      const inside = /** @type {Element} */ (target).closest?.("#tab_dreambooth");
      if (inside && isTrusted) soon();
    });
  }
  // What the host fills in by itself, such as the preset for a base.
  document.addEventListener("dreambooth:state", (event) => {
    const job = /** @type {CustomEvent} */ (event).detail;
    const seen = document.getElementById("dreambooth_live")?.offsetParent;
    if (seen && (!job || job.end)) soon();
  });

  document.addEventListener("dreambooth:load", async (event) => {
    const run = encodeURIComponent(/** @type {CustomEvent} */ (event).detail);
    try {
      const { contents, error } = await dreamboothDom.ask(`runs/${run}/settings`);
      emit("problem", error ?? "");
      if (contents) fill(contents);
    } catch (error) {
      emit("problem", String(error));
    }
  });

  Object.assign(dreamboothDom, { page, read, put, fill, restore, contents });
})();
