// The catalogue: filters, order and removals update the grid in place. The URL is the state.

import { followActions, shortened, whileBusy } from "./catalogue/actions.js";
import { sayWhatCame } from "./catalogue/flash.js";
import { watchEnd } from "./catalogue/more.js";
import { drawRanges, followRanges } from "./search/ranges.js";
import { toast } from "./toast.js";

const host = /** @type {HTMLElement} */ (document.querySelector("[data-catalogue]"));
const home = host.dataset.home ?? "";
/** @type {AbortController | undefined} */
let underWay;

document.addEventListener("click", (event) => {
  if (!(event.target instanceof Element)) return;
  if (event.target.closest("[data-filters]")) openSheet();
  const link = event.target.closest("a[data-go]");
  if (!(link instanceof HTMLAnchorElement) || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  void go(link.href);
});

document.addEventListener("change", (event) => {
  const field = event.target;
  if (!(field instanceof HTMLInputElement || field instanceof HTMLSelectElement)) return;
  if (field.closest("form[data-facets], form[data-sorts]")) field.form?.requestSubmit();
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.matches("[data-facets], [data-sorts]")) return;
  event.preventDefault();
  void go(addressOf(form));
});

addEventListener("popstate", () => void go(location.href, { push: false }));

followRanges();
followActions({ removed });
drawRanges(document);
watchEnd();
sayWhatCame();

/**
 * The current state with the form's fields replaced.
 * @param {HTMLFormElement} form
 */
function addressOf(form) {
  const params = new URLSearchParams(location.search);
  const fields = /** @type {HTMLInputElement[]} */ (
    [...form.elements].filter((one) => /** @type {HTMLInputElement} */ (one).name && /** @type {HTMLInputElement} */ (one).type !== "hidden")
  );
  for (const field of fields) params.delete(field.name);
  for (const field of fields) {
    if (field.type === "checkbox" && !field.checked) continue;
    // The end of a range that excludes nothing is not a filter.
    if (field.type === "range" && Number(field.value) === Number(field.name.endsWith("Min") ? field.min : field.max)) continue;
    if (field.value) params.append(field.name, field.value);
  }
  const query = params.toString();
  return query ? `${home}?${query}` : home;
}

/**
 * Show a state of the catalogue.
 * @param {string} address
 * @param {{push?: boolean}} [how]
 */
async function go(address, { push = true } = {}) {
  underWay?.abort();
  const controller = new AbortController();
  underWay = controller;
  busy(true);
  try {
    const answer = await fetch(address, { headers: { "HX-Request": "true", "HX-Current-URL": location.href }, signal: controller.signal });
    const redirect = answer.headers.get("HX-Redirect");
    if (redirect) return location.assign(redirect);
    const text = await answer.text();
    if (controller.signal.aborted) return;
    if (!answer.ok) {
      const detail = answer.headers.get("X-Vitrine-Detail");
      toast(detail ? decodeURIComponent(detail) : `The server answered ${answer.status}.`, { kind: "bad" });
      return;
    }
    if (push && new URL(address, location.href).href !== location.href) history.pushState({}, "", address);
    exchange(text);
  } catch (error) {
    if (controller.signal.aborted) return;
    if (!(error instanceof TypeError)) throw error;
    toast("The server cannot be reached. Your filters are kept; try again in a moment.", { kind: "bad" });
  } finally {
    if (underWay === controller) busy(false);
  }
}

/** @param {string} text HTML from the server's templates, which escape all text */
function exchange(text) {
  const sheet = document.getElementById("filter-sheet");
  const inSheet = sheet instanceof HTMLDialogElement && sheet.open;
  const opened = new Map(details().map((one) => [one.dataset.facet, one.open]));
  const active = document.activeElement;
  const focused = active instanceof HTMLInputElement || active instanceof HTMLSelectElement ? { name: active.name, value: active.value, type: active.type } : undefined;
  if (inSheet) restoreFacets();
  host.innerHTML = text;
  if (inSheet) moveFacets();
  for (const one of details()) one.open = opened.get(one.dataset.facet) ?? one.open;
  const same = focused && [...document.querySelectorAll(`[name="${CSS.escape(focused.name)}"]:not([type=hidden])`)].find(
    (one) => focused.type !== "checkbox" || /** @type {HTMLInputElement} */ (one).value === focused.value,
  );
  if (same instanceof HTMLElement) same.focus({ preventScroll: true });
  else if (!document.activeElement || document.activeElement === document.body) document.getElementById("main")?.focus({ preventScroll: true });
  drawRanges(document);
  watchEnd();
  say(host.querySelector("[data-total]")?.textContent ?? "");
}

/**
 * The tile stays in place with an undo button, so that nothing shifts.
 * @param {HTMLElement} tile
 * @param {() => Promise<string>} undo
 */
function removed(tile, undo) {
  const name = shortened(tile.dataset.name ?? "");
  const content = /** @type {HTMLElement[]} */ ([...tile.children]);
  const note = document.createElement("div");
  note.className = "tile-gone";
  const words = document.createElement("p");
  words.textContent = "Removed";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button small";
  button.textContent = "Undo";
  button.setAttribute("aria-label", `Undo the removal of ${name}`);
  button.addEventListener("click", () =>
    void whileBusy(button, async () => {
      const missing = await undo();
      for (const one of content) one.inert = false;
      tile.classList.remove("is-gone");
      note.remove();
      tile.querySelector("a")?.focus({ preventScroll: true });
      toast(`${name} is back. ${missing}`.trim(), { kind: missing ? "doubtful" : "good" });
    }),
  );
  note.append(words, button);
  for (const one of content) one.inert = true;
  tile.classList.add("is-gone");
  tile.append(note);
  button.focus({ preventScroll: true });
  say(`${name} is removed.`);
}

// On phones the filters are moved into a sheet while it is open.

function openSheet() {
  const sheet = document.getElementById("filter-sheet");
  if (!(sheet instanceof HTMLDialogElement)) return;
  moveFacets();
  sheet.addEventListener("close", restoreFacets, { once: true });
  sheet.showModal();
}

function moveFacets() {
  const facets = host.querySelector("[data-part=facets]");
  if (facets) document.querySelector("[data-sheet-facets]")?.replaceChildren(facets);
}

function restoreFacets() {
  const facets = document.querySelector("[data-sheet-facets] > [data-part=facets]");
  if (facets) host.querySelector("aside.query")?.replaceChildren(facets);
}

function details() {
  return /** @type {HTMLDetailsElement[]} */ ([...document.querySelectorAll("details[data-facet]")]);
}

/** @param {boolean} on */
function busy(on) {
  document.querySelector(".bar")?.classList.toggle("busy", on);
  host.setAttribute("aria-busy", String(on));
}

/** @param {string} words */
function say(words) {
  const region = document.querySelector("[data-said]");
  if (region) region.textContent = words;
}
