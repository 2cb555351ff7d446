// Keyboard shortcuts: to the picture, through the results, and the actions of a result.

import { show } from "../dialogs.js";
import { go } from "./loader.js";
import { dismissNotice } from "./notice.js";
import { withPresentExamples } from "./address.js";
import { toggle } from "./tray.js";
import { host } from "./view.js";
import { explainResult } from "./why.js";

/** Listen. Called once. */
export function followKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.closest("input, select, textarea, dialog, [contenteditable]")) return;
    const result = target.closest("[data-result]");
    if (onAnyPlace(event.key) || (result instanceof HTMLElement && onResult(event.key, result))) event.preventDefault();
    else if (target === document.body && ["ArrowRight", "ArrowLeft"].includes(event.key) && focusResult(results()[0])) {
      event.preventDefault();
    }
  });
}

/** @param {string} key */
function onAnyPlace(key) {
  if (key === "?") {
    show("shortcuts");
    return true;
  }
  if (key === "Escape") return dismissNotice();
  if (key !== "/") return false;
  const chooser = host().querySelector("[data-choose]");
  if (!(chooser instanceof HTMLElement)) return false;
  chooser.focus();
  chooser.scrollIntoView({ block: "nearest" });
  return true;
}

/**
 * @param {string} key
 * @param {HTMLElement} result
 */
function onResult(key, result) {
  if (key.startsWith("Arrow")) return focusResult(neighbour(key, result));
  const id = result.dataset.id ?? "";
  const search = result.querySelector("a[data-go]");
  if (key === "s" && search) void go(withPresentExamples(search.getAttribute("href") ?? ""), { scrollY: 0 });
  else if (key === "+") toggle(id, "positive");
  else if (key === "-") toggle(id, "negative");
  else if (key === "w") void explainResult(result);
  else return false;
  return true;
}

/**
 * The neighbor of a result in the current layout of the grid.
 * @param {string} key
 * @param {HTMLElement} result
 */
function neighbour(key, result) {
  const all = results();
  const place = all.indexOf(result);
  if (key === "ArrowRight") return all[place + 1];
  if (key === "ArrowLeft") return all[place - 1];
  const down = key === "ArrowDown";
  const here = result.getBoundingClientRect();
  const rows = all
    .map((one) => ({ one, box: one.getBoundingClientRect() }))
    .filter(({ box }) => (down ? box.top > here.top + 1 : box.top < here.top - 1) && Math.abs(box.left - here.left) < 2);
  return (down ? rows[0] : rows.at(-1))?.one;
}

/** @returns {HTMLElement[]} */
function results() {
  return [...host().querySelectorAll("[data-result]")].filter((one) => one instanceof HTMLElement);
}

/** @param {Element | undefined} result */
function focusResult(result) {
  const link = result?.querySelector(".tile-name");
  if (!(link instanceof HTMLElement)) return false;
  link.focus({ preventScroll: true });
  result?.scrollIntoView({ block: "nearest" });
  return true;
}
