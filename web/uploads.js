// Photos in ComfyUI's folders: their names in a workflow, their addresses, and how they get there.
// @ts-check
import { api } from "../../scripts/api.js";

const ANNOTATED = /^(?:(.*)\/)?([^/]*?)(?: \[(input|output|temp)\])?$/; // "folder/a.png [output]"

/**
 * @param {unknown} value a name, a list of names, or nothing
 * @returns {string[]}
 */
export function namesOf(value) {
  return [value].flat().filter((name) => typeof name === "string" && name !== "");
}

/** @param {string} name @returns {string} */
export function urlOf(name) {
  const [, subfolder = "", filename = name, type = "input"] = ANNOTATED.exec(name) ?? [];
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

/**
 * @param {File} file
 * @returns {Promise<string>} the name under which ComfyUI keeps it
 */
export async function upload(file) {
  const body = new FormData();
  body.append("image", file);
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  const { name, subfolder } = await response.json();
  return subfolder ? `${subfolder}/${name}` : name;
}
