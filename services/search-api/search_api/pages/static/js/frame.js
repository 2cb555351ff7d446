// The behavior of every page: theme switch, dialogs, select boxes that submit, copy buttons, and errors of htmx requests.
// Pages add their own modules.

import { openDialogs } from "./dialogs.js";
import { toast } from "./toast.js";

const THEME_KEY = "vitrine-theme";
const darkWish = matchMedia("(prefers-color-scheme: dark)");

/** @returns {"light" | "dark"} the current theme */
function shownTheme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return darkWish.matches ? "dark" : "light";
}

/** @param {"light" | "dark"} theme */
function chooseTheme(theme) {
  const root = document.documentElement;
  const isSystems = theme === (darkWish.matches ? "dark" : "light");
  if (isSystems) delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (isSystems) localStorage.removeItem(THEME_KEY);
    else localStorage.setItem(THEME_KEY, theme);
  } catch {
    // Without storage the choice is lost with the page.
  }
  // Canvases, such as charts, must be redrawn with the new colors.
  document.dispatchEvent(new CustomEvent("vitrine:theme", { detail: theme }));
}

function labelSwitches() {
  const other = shownTheme() === "dark" ? "light" : "dark";
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    button.setAttribute("aria-label", `Switch to the ${other} theme`);
    button.setAttribute("title", `Switch to the ${other} theme`);
  }
}

/** @param {HTMLElement} button */
async function copy(button) {
  const text = button.dataset.copy ?? "";
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.", { kind: "good" });
  } catch {
    toast("The browser does not let pages copy here. Select the text and copy it.", { kind: "doubtful" });
  }
}

document.addEventListener("click", (event) => {
  if (!(event.target instanceof Element)) return;
  if (event.target.closest("[data-theme-switch]")) {
    chooseTheme(shownTheme() === "dark" ? "light" : "dark");
    labelSwitches();
  }
  const copied = event.target.closest("[data-copy]");
  if (copied instanceof HTMLElement) void copy(copied);
});

document.addEventListener("change", (event) => {
  const field = event.target;
  if (field instanceof HTMLElement && field.matches("[data-submits]")) field.closest("form")?.requestSubmit();
});

darkWish.addEventListener("change", labelSwitches);
labelSwitches();
openDialogs();

// htmx: a line below the bar during a request, and a toast if it fails. Typed text is kept.

const bar = document.querySelector(".bar");
let underWay = 0;

document.addEventListener("htmx:beforeRequest", () => {
  underWay += 1;
  bar?.classList.add("busy");
});

document.addEventListener("htmx:afterRequest", (event) => {
  underWay = Math.max(0, underWay - 1);
  if (underWay === 0) bar?.classList.remove("busy");
  const answer = /** @type {CustomEvent<{xhr: XMLHttpRequest}>} */ (event).detail.xhr;
  if (answer.status < 400 || answer.getResponseHeader("HX-Redirect")) return;
  const detail = answer.getResponseHeader("X-Vitrine-Detail");
  toast(detail ? decodeURIComponent(detail) : `The server answered ${answer.status}.`, { kind: "bad" });
});

document.addEventListener("htmx:sendError", () => {
  toast("The server cannot be reached. Nothing you typed is lost; try again in a moment.", { kind: "bad" });
});
