// The map of a catalogue: a canvas of points with zoom, pan, lasso, a card for the product under the pointer or the
// keyboard, and the selection as a grid. The URL has the layout and the attribute of the colors.

import { colorOf } from "./curves.js";
import { Canvas } from "./map-canvas.js";
import { fillGrid } from "./map-grid.js";

const MOST_COLORED = 24;
const THUMBNAIL_PX = 256; // one of the widths that pictures are served in
const HUE_STEP = 137.508; // the golden angle: neighbours in the legend differ
const LIGHTNESS = { light: [40, 55, 32], dark: [66, 76, 56] };

/**
 * @typedef {{ids: string[], names?: string[], dataset?: string, attribute?: string, values: (string | null)[],
 *   attributes?: Record<string, (string | null)[]>, planes: Record<string, [number, number][]>}} MapData
 */

/**
 * An element of the template, with its type checked.
 * @template {Element} T
 * @param {string} selector
 * @param {new () => T} kind
 * @returns {T}
 */
function find(selector, kind) {
  const element = document.querySelector(selector);
  if (!(element instanceof kind)) throw new Error(`the page lacks ${selector}`);
  return element;
}

const page = find("[data-map]", HTMLElement);
const fault = find("[data-map-fault]", HTMLElement);
const legend = find("[data-map-legend]", HTMLElement);
const said = find("[data-map-said]", HTMLElement);
const attributeChoice = find("[data-map-attribute]", HTMLSelectElement);
const methodChoice = document.querySelector("[data-map-method]");
const state = new URLSearchParams(location.search);

/** @returns {"light" | "dark"} */
function theme() {
  return getComputedStyle(document.documentElement).colorScheme === "dark" ||
    (document.documentElement.dataset.theme ??
      (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark"
    ? "dark"
    : "light";
}

/** @param {string} name @param {string} value */
function remember(name, value) {
  state.set(name, value);
  history.replaceState(null, "", `?${state}`);
}

/** @param {MapData} data */
function show(data) {
  const attributes = data.attributes ?? { [data.attribute ?? "value"]: data.values };
  const methods = Object.keys(data.planes);
  let attribute = state.get("color") ?? data.attribute ?? "";
  if (!(attribute in attributes)) attribute = Object.keys(attributes)[0];
  let method = state.get("method") ?? "";
  if (!methods.includes(method)) method = methods[0];
  /** @type {Set<string>} */
  const hidden = new Set();

  const names = (/** @type {number} */ index) => data.names?.[index] || data.ids[index];
  const query = data.dataset ? `?dataset=${encodeURIComponent(data.dataset)}` : "";
  const small = `${query}${query ? "&" : "?"}width=${THUMBNAIL_PX}`;
  const imageOf = (/** @type {number} */ index) => page.dataset.images + encodeURIComponent(data.ids[index]) + small;
  const pageOf = (/** @type {number} */ index) => page.dataset.products + encodeURIComponent(data.ids[index]) + query;
  const valueOf = (/** @type {number} */ index) => attributes[attribute][index];

  const canvas = new Canvas(find("canvas.map", HTMLCanvasElement), find("[data-map-card]", HTMLElement), {
    name: names,
    value: (index) => valueOf(index) ?? "",
    image: imageOf,
    open: (index) => location.assign(pageOf(index)),
    say: (words) => (said.textContent = words),
    selected: (indices) => {
      fillGrid(page, indices, { name: names, image: imageOf, href: pageOf });
      said.textContent = indices.length ? `${indices.length} products selected.` : "Nothing selected.";
    },
  });

  /** Colors by value, most frequent first; values beyond the legend and missing ones are grey. */
  function color() {
    /** @type {Map<string, number>} */
    const counts = new Map();
    for (const value of attributes[attribute]) if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
    const ordered = [...counts].sort(([a, left], [b, right]) => right - left || (a < b ? -1 : 1));
    const lightness = LIGHTNESS[theme()];
    const colors = new Map(
      ordered
        .slice(0, MOST_COLORED)
        .map(([value], place) => [value, `hsl(${(place * HUE_STEP) % 360} 62% ${lightness[place % 3]}%)`]),
    );
    const grey = colorOf("--faint");
    canvas.setColors(
      attributes[attribute].map((value) => (value !== null && colors.get(value)) || grey),
      attributes[attribute].map((value) => !hidden.has(value ?? "")),
    );
    legend.replaceChildren(...ordered.map(([value, count]) => chip(value, count, colors.get(value) ?? grey)));
  }

  /** @param {string} value @param {number} count @param {string} dot */
  function chip(value, count, dot) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "chip";
    button.setAttribute("aria-pressed", String(!hidden.has(value)));
    button.style.setProperty("--dot", dot);
    const number = document.createElement("span");
    number.className = "count";
    number.textContent = String(count);
    button.append(value, number);
    button.addEventListener("click", () => {
      if (!hidden.delete(value)) hidden.add(value);
      const place = [...legend.children].indexOf(item);
      color();
      const again = legend.children[place]?.querySelector("button");
      again?.focus();
    });
    item.append(button);
    return item;
  }

  fill(attributeChoice, Object.keys(attributes), attribute, (chosen) => {
    attribute = chosen;
    hidden.clear();
    remember("color", chosen);
    color();
  });
  if (methodChoice instanceof HTMLSelectElement) {
    const called = { tsne: "t-SNE", umap: "UMAP" };
    fill(
      methodChoice,
      methods,
      method,
      (chosen) => {
        remember("method", chosen);
        canvas.setPoints(data.planes[chosen]);
      },
      called,
    );
  }
  canvas.setPoints(data.planes[method]);
  color();
  document.addEventListener("vitrine:theme", color);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", color);

  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("button");
    if (!(button instanceof HTMLButtonElement)) return;
    if (button.dataset.mapZoom === "in") canvas.zoom(1.6);
    else if (button.dataset.mapZoom === "out") canvas.zoom(1 / 1.6);
    else if (button.dataset.mapZoom === "all") canvas.whole();
    else if ("mapClear" in button.dataset) canvas.select([]);
    else if ("mapLasso" in button.dataset) {
      const pressed = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(pressed));
      canvas.setLasso(pressed);
    }
  });
}

/**
 * @param {HTMLSelectElement} choice
 * @param {string[]} options
 * @param {string} chosen
 * @param {(value: string) => void} change
 * @param {Record<string, string>} [called]
 */
function fill(choice, options, chosen, change, called = {}) {
  choice.replaceChildren(...options.map((option) => new Option(called[option] ?? option, option)));
  choice.value = chosen;
  choice.addEventListener("change", () => change(choice.value));
}

async function load() {
  const loading = document.querySelector("[data-map-loading]");
  try {
    const answer = await fetch(page.dataset.source ?? "");
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    fault.textContent = `The map cannot be shown: ${error instanceof Error ? error.message : error}. Load the page again.`;
    fault.hidden = false;
  }
  loading?.remove();
}

void load();
