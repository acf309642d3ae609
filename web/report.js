// Opens a run's report in a tab of its own. ComfyUI offers HTML files for download only, since one
// from elsewhere could act as the page; so nothing in the report may run, and its images are inside.
// @ts-check
import { api } from "../../scripts/api.js";

const POLICY =
  "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** @typedef {{filename: string, subfolder: string, type: string}} File as the page asks for it */

/**
 * @param {File} file
 * @returns {Promise<Response>}
 */
async function read(file) {
  const response = await api.fetchApi(`/view?${new URLSearchParams(file)}`);
  if (!response.ok) throw new Error(`${file.filename}: ${response.status} ${response.statusText}`);
  return response;
}

/** @param {Blob} blob @returns {Promise<string>} */
function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/**
 * Put an image of the run into the page.
 * @param {HTMLImageElement} image
 * @param {File} report
 */
async function embed(image, report) {
  const source = image.getAttribute("src") ?? "";
  if (source.startsWith("data:")) return;
  const parts = source.split("/");
  const filename = parts.pop() ?? "";
  const subfolder = [report.subfolder, ...parts].join("/");
  image.src = await dataUrl(await (await read({ ...report, filename, subfolder })).blob());
}

/**
 * @param {File} file of the report
 * @returns {Promise<string>} the address of the page
 */
async function pageOf(file) {
  const text = await (await read(file)).text();
  const page = new DOMParser().parseFromString(text, "text/html");
  await Promise.all([...page.images].map((image) => embed(image, file)));
  const policy = page.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = POLICY;
  page.head.prepend(policy); // before all that it rules
  const html = `<!doctype html>${new XMLSerializer().serializeToString(page)}`;
  return URL.createObjectURL(new Blob([html], { type: "text/html" }));
}

/** @param {File} file of the report */
export async function openReport(file) {
  const tab = window.open("", "_blank"); // at once, since browsers block it after a wait
  const url = await pageOf(file);
  if (tab) tab.location.href = url;
}
