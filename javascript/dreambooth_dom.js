// What the tab's other scripts make the page of; the host loads scripts by the order of their names.
// @ts-check
const dreamboothDom = (() => {
  /**
   * @param {string} tag
   * @param {string} name
   * @param {(Node | string)[]} children
   */
  function element(tag, name, ...children) {
    const made = document.createElement(tag);
    made.className = `dreambooth-${name}`;
    made.append(...children);
    return made;
  }

  /**
   * @param {string} text
   * @param {() => void} act
   */
  function button(text, act) {
    const made = element("button", "button", text);
    made.addEventListener("click", act);
    return made;
  }

  /**
   * A picture of a run, which the host sends to this page alone.
   * @param {string} run
   * @param {string} kind
   * @param {string} id
   * @param {number} drawn - when it may have been; a page may show what it has by the same address
   */
  function picture(run, kind, id, drawn) {
    const key = document.getElementById("dreambooth_live")?.dataset.key ?? "";
    const made = document.createElement("img");
    const query = new URLSearchParams({ key, drawn: String(drawn) });
    made.src = `dreambooth/runs/${encodeURIComponent(run)}/${kind}/${id}?${query}`;
    return made;
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  function tell(name, detail) {
    document.dispatchEvent(new CustomEvent(`dreambooth:${name}`, { detail }));
  }

  return { element, button, picture, tell };
})();
