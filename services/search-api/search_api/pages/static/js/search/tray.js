// The tray of examples: products that the results should or should not resemble. The URL has their ids.

import { addressOf, home, present } from "./address.js";
import { go, rename } from "./loader.js";
import { host, onShown } from "./view.js";

/** @typedef {"positive" | "negative"} Side */

/** Pictures and names of examples, by id. @type {Map<string, {image: string, name: string}>} */
const seen = new Map();

/** Handle the buttons of the results and the tray. Called once. */
export function keepTray() {
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const like = event.target.closest("[data-like]");
    const result = like?.closest("[data-result]");
    if (like && result) toggle(result.getAttribute("data-id") ?? "", /** @type {Side} */ (like.getAttribute("data-like")));
    const taken = event.target.closest("[data-untray]");
    if (taken) change((params) => take(params, taken.getAttribute("data-untray") ?? ""));
    if (event.target.closest("[data-tray-search]")) search();
    if (event.target.closest("[data-tray-clear]")) {
      change((params) => ["positive", "negative", "by"].forEach((name) => params.delete(name)));
    }
  });
  onShown((shown) => {
    for (const result of shown.querySelectorAll("[data-result]")) remember(result);
    draw();
  });
}

/**
 * Add a product to a side of the tray, or remove it.
 * @param {string} id
 * @param {Side} side
 */
export function toggle(id, side) {
  const result = host().querySelector(`[data-result][data-id="${CSS.escape(id)}"]`);
  if (result) remember(result);
  const params = present();
  const there = params.getAll(side).includes(id);
  take(params, id);
  if (!there) params.append(side, id);
  rename(addressOf(params));
  draw();
}

/** @param {(params: URLSearchParams) => void} edit */
function change(edit) {
  const params = present();
  const searched = params.get("by") === "examples";
  edit(params);
  if (!params.has("positive")) params.delete("by");
  if (searched) void go(addressOf(params));
  else rename(addressOf(params));
  draw();
}

function search() {
  const params = present();
  params.set("by", "examples");
  void go(addressOf(params), { scrollY: 0 });
}

/**
 * @param {URLSearchParams} params
 * @param {string} id
 */
function take(params, id) {
  for (const side of ["positive", "negative"]) {
    const others = params.getAll(side).filter((one) => one !== id);
    params.delete(side);
    for (const one of others) params.append(side, one);
  }
}

/** @param {Element} result */
function remember(result) {
  const image = result.querySelector("img")?.getAttribute("src");
  if (image) seen.set(result.getAttribute("data-id") ?? "", { image, name: result.querySelector(".tile-name")?.textContent ?? "" });
}

function draw() {
  const tray = document.querySelector("[data-tray]");
  if (!(tray instanceof HTMLElement)) return;
  const params = present();
  const [liked, disliked] = [params.getAll("positive"), params.getAll("negative")];
  tray.hidden = liked.length + disliked.length === 0;
  document.documentElement.classList.toggle("has-tray", !tray.hidden);
  tray.querySelector("[data-liked]")?.replaceChildren(...liked.map(example));
  tray.querySelector("[data-disliked]")?.replaceChildren(...disliked.map(example));
  const button = tray.querySelector("[data-tray-search]");
  if (button instanceof HTMLButtonElement) {
    button.disabled = liked.length === 0;
    button.title = liked.length === 0 ? "Choose at least one that it shall be more like" : "";
  }
  for (const one of document.querySelectorAll("[data-like]")) {
    const id = one.closest("[data-result]")?.getAttribute("data-id") ?? "";
    one.setAttribute("aria-pressed", String(params.getAll(one.getAttribute("data-like") ?? "").includes(id)));
  }
}

/** @param {string} id */
function example(id) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tray-item";
  button.dataset.untray = id;
  const known = seen.get(id);
  button.setAttribute("aria-label", `Remove ${known?.name || id}`);
  button.title = `${known?.name || id}: remove`;
  const picture = document.createElement("img");
  picture.alt = "";
  picture.src = known?.image ?? imageOf(id);
  button.append(picture);
  item.append(button);
  return item;
}

/** @param {string} id */
function imageOf(id) {
  const dataset = host().querySelector("[data-view]")?.getAttribute("data-dataset");
  const query = new URLSearchParams({ ...(dataset ? { dataset } : {}), width: "256" });
  return `${home}api/images/${encodeURIComponent(id)}?${query}`;
}
