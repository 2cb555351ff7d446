// Curves by uPlot (loaded by the page as `window.uPlot`), in the theme's colors. Series with the same words before the
// comma, such as `loss, training` and `loss, validation`, share a chart. The newest values are shown below as text.

const HEIGHT_PX = 220;
const TOKENS = ["--accent", "--good", "--doubtful", "--second"];

/**
 * The current color of a token: a canvas has no custom properties.
 * @param {string} token
 */
export function colorOf(token) {
  const probe = document.createElement("span");
  probe.style.color = `var(${token})`;
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

/** @param {number} value */
function shown(value) {
  const size = Math.abs(value);
  if (size !== 0 && size < 0.001) return value.toExponential(1);
  return value.toLocaleString("en", { maximumFractionDigits: size < 10 ? 3 : 0 });
}

/**
 * The figure that the server rendered for a chart, or a new one at the end.
 * @param {HTMLElement} list
 * @param {string} title
 */
function placeFor(list, title) {
  for (const figure of list.querySelectorAll("[data-curve]")) {
    if (figure instanceof HTMLElement && figure.dataset.curve === title) return figure;
  }
  const figure = document.createElement("figure");
  figure.className = "curve";
  figure.dataset.curve = title;
  const head = document.createElement("h3");
  // "mAP" stays as it is.
  head.textContent = /^[a-z](?![A-Z])/.test(title) ? title[0].toUpperCase() + title.slice(1) : title;
  const box = document.createElement("div");
  box.className = "curve-plot";
  box.setAttribute("role", "img");
  const key = document.createElement("figcaption");
  key.className = "curve-key";
  figure.append(head, box, key);
  list.append(figure);
  return figure;
}

/** One chart with a few lines. */
export class Curve {
  /**
   * @param {HTMLElement} list the parent of the chart
   * @param {string} title
   * @param {string} axis what the horizontal axis counts
   */
  constructor(list, title, axis) {
    this.axis = axis;
    this.title = title;
    /** @type {Map<string, [number, number][]>} */
    this.lines = new Map();
    const figure = placeFor(list, title);
    this.box = /** @type {HTMLElement} */ (figure.querySelector(".curve-plot"));
    this.key = /** @type {HTMLElement} */ (figure.querySelector(".curve-key"));
    this.plot = null;
    this.drawn = "";
    new ResizeObserver(() => this.plot?.setSize({ width: this.box.clientWidth, height: HEIGHT_PX })).observe(this.box);
    const redraw = () => this.draw(true);
    document.addEventListener("vitrine:theme", redraw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  /** @param {Map<string, [number, number][]>} lines points (x, y) by name */
  show(lines) {
    this.lines = lines;
    this.draw(false);
  }

  /** @param {boolean} anew whether the theme may have changed */
  draw(anew) {
    const names = [...this.lines.keys()];
    const xs = [...new Set([...this.lines.values()].flat().map(([x]) => x))].sort((a, b) => a - b);
    const columns = [...this.lines.values()].map((points) => {
      const at = new Map(points);
      return xs.map((x) => at.get(x) ?? null);
    });
    const data = [xs, ...columns];
    if (this.plot && !anew && this.drawn === names.join("|")) this.plot.setData(data);
    else this.#build(names, data);
    this.drawn = names.join("|");
    const newest = names.map((name) => [name, (this.lines.get(name) ?? []).at(-1)?.[1]]);
    this.key.replaceChildren(
      ...newest.map(([name, value]) => {
        const part = document.createElement("span");
        const called = names.length === 1 && this.title === name ? "newest" : name;
        part.textContent = typeof value === "number" ? `${called} ${shown(value)}` : `${called}`;
        return part;
      }),
    );
    this.box.setAttribute("aria-label", `${this.title} over ${this.axis}, ${xs.length} points. ${this.key.textContent}`);
  }

  /**
   * @param {string[]} names
   * @param {(number | null)[][]} data
   */
  #build(names, data) {
    this.plot?.destroy();
    const [ink, line] = [colorOf("--second"), colorOf("--line")];
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 } };
    const number = (/** @type {unknown} */ _, /** @type {number[]} */ values) => values.map(shown);
    this.plot = new window.uPlot(
      {
        width: this.box.clientWidth || 320,
        height: HEIGHT_PX,
        legend: { show: false },
        cursor: { y: false, points: { size: 6 } },
        scales: { x: { time: false } },
        axes: [
          { ...axis, label: this.axis, labelFont: font, labelSize: 18, size: 30, values: number },
          { ...axis, size: 52, values: number },
        ],
        series: [
          {},
          ...names.map((name, place) => ({
            label: name,
            stroke: colorOf(TOKENS[place % TOKENS.length]),
            width: 2,
            spanGaps: true,
            points: { show: data[0].length < 30, size: 5 },
          })),
        ],
      },
      data,
      this.box,
    );
  }
}

/**
 * Draw a record's series, one chart per title.
 * @param {HTMLElement} list
 * @param {Map<string, Curve>} curves the existing charts, by title
 * @param {Record<string, {points: [number, number][]}>} series
 * @param {string} axis
 */
export function showSeries(list, curves, series, axis) {
  /** @type {Map<string, Map<string, [number, number][]>>} */
  const groups = new Map();
  for (const [name, { points }] of Object.entries(series)) {
    const comma = name.indexOf(", ");
    const title = comma < 0 ? name : name.slice(0, comma);
    const lines = groups.get(title) ?? new Map();
    lines.set(comma < 0 ? name : name.slice(comma + 2), points);
    groups.set(title, lines);
  }
  for (const [title, lines] of groups) {
    let curve = curves.get(title);
    if (!curve) {
      curve = new Curve(list, title, axis);
      curves.set(title, curve);
    }
    curve.show(lines);
  }
}
