// Draws the loss curve: raw values in a pale line, with a smoothed line on top.
// @ts-check
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 560;
  const HEIGHT = 150;
  const LEFT = 46;
  const BELOW = 20;
  const SMOOTHING = 0.9;
  let drawn = "";

  /**
   * @param {string} tag
   * @param {Record<string, string | number>} attributes
   * @param {string} text
   */
  function shape(tag, attributes, text = "") {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
    made.textContent = text;
    return made;
  }

  /** @param {number[]} values */
  function smoothed(values) {
    let mean = 0;
    let weight = 0;
    return values.map((value) => {
      mean = SMOOTHING * mean + (1 - SMOOTHING) * value;
      weight = SMOOTHING * weight + (1 - SMOOTHING);
      return mean / weight;
    });
  }

  /** @param {[number, number][]} points */
  function chart(points) {
    const steps = points.map(([step]) => step);
    const losses = points.map(([, loss]) => loss);
    const [low, high] = [Math.min(...losses), Math.max(...losses)];
    const [first, last] = [steps[0], steps[steps.length - 1]];
    const x = (/** @type {number} */ step) =>
      LEFT + ((step - first) / Math.max(last - first, 1)) * (WIDTH - LEFT - 8);
    const y = (/** @type {number} */ loss) =>
      8 + ((high - loss) / Math.max(high - low, 1e-9)) * (HEIGHT - BELOW - 8);
    const line = (/** @type {number[]} */ values, /** @type {string} */ name) => {
      const path = values.map((value, i) => `${x(steps[i]).toFixed(1)},${y(value).toFixed(1)}`);
      return shape("polyline", { points: path.join(" "), class: `dreambooth-${name}` });
    };
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    svg.append(
      shape("title", {}, "Loss by step"),
      line(losses, "raw"),
      line(smoothed(losses), "smooth"),
      shape("text", { x: LEFT - 6, y: 14, "text-anchor": "end" }, high.toFixed(3)),
      shape("text", { x: LEFT - 6, y: HEIGHT - BELOW, "text-anchor": "end" }, low.toFixed(3)),
      shape("text", { x: LEFT, y: HEIGHT - 4 }, `step ${first}`),
      shape("text", { x: WIDTH - 8, y: HEIGHT - 4, "text-anchor": "end" }, `loss at step ${last}`),
    );
    return svg;
  }

  document.addEventListener("dreambooth:losses", (event) => {
    const place = document.getElementById("dreambooth_chart");
    const points = /** @type {CustomEvent} */ (event).detail;
    const now = JSON.stringify(points);
    if (!place || now === drawn) return;
    drawn = now;
    place.replaceChildren(...(points.length > 1 ? [chart(points)] : []));
  });
})();
