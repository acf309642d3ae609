// Elements and events for the tab's other scripts; the host loads scripts in alphabetical order.
// @ts-check
const dreamboothDom = (() => {
  const ANSWER_MS = 20000;

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
   * Create an image of a run; its address has the page's key.
   * @param {string} run
   * @param {string} kind
   * @param {string} id
   * @param {number} version - changes the address, so that the browser shows no cached image
   */
  function picture(run, kind, id, version) {
    const key = document.getElementById("dreambooth_live")?.dataset.key ?? "";
    const made = document.createElement("img");
    const query = new URLSearchParams({ key, version: String(version) });
    made.src = `dreambooth/runs/${encodeURIComponent(run)}/${kind}/${id}?${query}`;
    return made;
  }

  /**
   * Create a link to a run's report, with the page's key.
   * @param {string} run
   */
  function reportLink(run) {
    const key = document.getElementById("dreambooth_live")?.dataset.key ?? "";
    const made = /** @type {HTMLAnchorElement} */ (element("a", "button", "Report"));
    made.href = `dreambooth/runs/${encodeURIComponent(run)}/report?${new URLSearchParams({ key })}`;
    made.target = "_blank";
    made.rel = "noopener";
    return made;
  }

  /**
   * Ask one of the tab's routes; where the host refuses the page, the error is `refused`.
   * @param {string} path
   * @param {"GET" | "POST"} method
   * @param {unknown} content
   * @returns {Promise<any>}
   */
  async function ask(path, method = "GET", content = undefined) {
    const headers = {
      "X-DreamBooth-Key": document.getElementById("dreambooth_live")?.dataset.key ?? "",
    };
    const response = await fetch(`dreambooth/${path}`, {
      method, headers, cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS),
      body: content && JSON.stringify(content),
    });
    if (response.ok) return response.json();
    if (response.status === 403) {
      throw Object.assign(new Error((await response.json()).detail), { refused: true });
    }
    throw new Error(`The host answered with status ${response.status}. Reload the page.`);
  }

  /**
   * Called by gradio when a button is clicked: put the page's key before the other inputs.
   * @param {unknown} _key
   * @param {unknown[]} inputs
   */
  function withKey(_key, ...inputs) {
    return [document.getElementById("dreambooth_live")?.dataset.key ?? "", ...inputs];
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  function emit(name, detail) {
    document.dispatchEvent(new CustomEvent(`dreambooth:${name}`, { detail }));
  }

  /** @type {Record<string, any>} - what other scripts add */
  const others = {};
  return Object.assign(others, { element, button, picture, reportLink, ask, withKey, emit });
})();
