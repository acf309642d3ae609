// Saves the settings of the form to a file, and loads them from one.
// @ts-check
(() => {
  const { element, button, emit } = dreamboothDom;
  const NAME = "dreambooth-settings.json";

  /** @param {() => Promise<string | undefined>} act - returns what went wrong */
  async function tell(act) {
    try {
      emit("problem", (await act()) ?? "");
    } catch (error) {
      emit("problem", String(error));
    }
  }

  async function save() {
    const { uploads, folder, ...contents } = await dreamboothDom.contents();
    const { text, error } = await dreamboothDom.ask("settings/save", "POST", { contents });
    if (error) return error;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = NAME;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  /** @param {File} file */
  async function load(file) {
    const text = await file.text();
    const { contents, error } = await dreamboothDom.ask("settings/read", "POST", { text });
    if (contents) dreamboothDom.fill(contents);
    return error;
  }

  /** @param {HTMLElement} panel */
  function build(panel) {
    const chosen = document.createElement("input");
    chosen.type = "file";
    chosen.accept = ".json";
    chosen.hidden = true;
    chosen.ariaLabel = "File of settings";
    chosen.addEventListener("change", async () => {
      const file = chosen.files?.[0];
      if (file) await tell(() => load(file));
      chosen.value = "";
    });
    const buttons = [
      button("Save settings to a file", () => tell(save)),
      button("Load settings from a file", () => chosen.click()),
    ];
    panel.replaceChildren(element("div", "buttons", ...buttons), chosen);
  }

  document.addEventListener("dreambooth:form", () => {
    const panel = document.getElementById("dreambooth_file");
    if (panel && !panel.childElementCount) build(panel);
  });
})();
