// Loads the content of a state and replaces it part by part, manages the history, and retries if the server cannot be
// reached. There is at most one request: a newer one aborts the older one.

import { clearNotice, notice, showNotice } from "./notice.js";
import { exchange, snapshot } from "./view.js";

const LOST_RETRY_S = 3;
const MOST_KEPT = 12;

/** Sends an expired picture again; returns whether this page has it. */
let sendAgain = () => false;

/** @param {() => boolean} send */
export function whenExpired(send) {
  sendAgain = send;
}

/** The content shown at entries of the history, by their keys. @type {Map<string, string>} */
const kept = new Map();
/** @type {AbortController | undefined} */
let underWay;
let entry = newKey();

/**
 * @typedef {object} Asking
 * @property {string} address
 * @property {FormData} [body] sent by POST; without it the request is a GET
 * @property {boolean} [push] whether the history gets an entry (default: yes)
 * @property {number} [scrollY] where to scroll to; by default the page stays where it is
 * @property {(answer: Response) => void} [answered] called before what was found is shown
 * @property {(status: number, code: string) => boolean} [failed] whether the caller has dealt with a failure
 * @property {() => void} [giveUp] the action of the button that stops waiting
 */

/**
 * Load a state and show it.
 * @param {Asking} asking
 * @returns {Promise<boolean>} whether it is shown
 */
export async function ask(asking) {
  underWay?.abort();
  const controller = new AbortController();
  underWay = controller;
  clearNotice();
  busy(true);
  try {
    const answer = await fetch(asking.address, {
      method: asking.body ? "POST" : "GET",
      body: asking.body,
      headers: { "HX-Request": "true", "HX-Current-URL": location.href },
      signal: controller.signal,
    });
    const redirect = answer.headers.get("HX-Redirect");
    if (redirect) {
      location.assign(redirect);
      return false;
    }
    const text = await answer.text();
    if (controller.signal.aborted) return false;
    const content = parse(text);
    if (answer.ok) {
      asking.answered?.(answer);
      show(content, asking, answer.headers.get("HX-Push-Url") ?? asking.address);
      return true;
    }
    fail(content, answer, asking);
  } catch (error) {
    if (controller.signal.aborted) return false;
    if (!(error instanceof TypeError)) throw error;
    const lost = "The server cannot be reached. Your picture and filters are kept.";
    notice(lost, { retryS: LOST_RETRY_S, repeat: () => void ask(asking), giveUp: asking.giveUp });
  } finally {
    if (underWay === controller) {
      underWay = undefined;
      busy(false);
    }
  }
  return false;
}

/**
 * Go to a state of the page.
 * @param {string} address
 * @param {{push?: boolean, scrollY?: number}} [how]
 */
export function go(address, { push = true, scrollY } = {}) {
  return ask({ address, push, scrollY });
}

/** Change the URL without loading anything. @param {string} address */
export function rename(address) {
  history.replaceState({ ...history.state, key: entry }, "", address);
}

/** Save what is shown for the history, before it is replaced. */
export function keepShown() {
  keepEntry();
  for (const key of kept.keys()) {
    if (kept.size <= MOST_KEPT) break;
    kept.delete(key);
  }
  history.replaceState({ ...history.state, key: entry, scrollY }, "");
}

function keepEntry() {
  const shown = snapshot();
  if (shown === undefined) return;
  kept.delete(entry);
  kept.set(entry, shown);
}

/** Handle back and forward. Called once. */
export function followHistory() {
  history.scrollRestoration = "manual";
  entry = history.state?.key ?? entry;
  if (history.state?.scrollY) scrollTo(0, history.state.scrollY);
  history.replaceState({ ...history.state, key: entry }, "");
  addEventListener("pagehide", () => history.replaceState({ ...history.state, key: entry, scrollY }, ""));
  addEventListener("popstate", (event) => {
    keepEntry();
    entry = event.state?.key ?? newKey();
    const before = kept.get(entry);
    const scrollY = event.state?.scrollY ?? 0;
    if (before === undefined) {
      void ask({ address: location.href, push: false, scrollY });
      return;
    }
    underWay?.abort();
    clearNotice();
    exchange(parse(before));
    scrollTo(0, scrollY);
  });
  addEventListener("online", () => {
    const again = document.querySelector("[data-notice] button");
    if (again instanceof HTMLButtonElement && again.textContent === "Try now") again.click();
  });
}

/**
 * @param {DocumentFragment} content
 * @param {Asking} asking
 * @param {string} address
 */
function show(content, asking, address) {
  enter(asking, address);
  exchange(content);
  if (asking.scrollY !== undefined) scrollTo(0, asking.scrollY);
  else resultsIntoView();
}

/** Scroll new results to their beginning. */
function resultsIntoView() {
  const column = document.querySelector(".results-column");
  if (column && column.getBoundingClientRect().top < 0) column.scrollIntoView();
}

/**
 * Add an address to the history, unless the request is for the current entry.
 * @param {Asking} asking
 * @param {string} address
 */
function enter(asking, address) {
  const target = new URL(address, location.href);
  if (asking.push === false || target.href === location.href) return;
  // A waiting picture has replaced what was shown, which is saved already.
  if (!asking.body) keepShown();
  entry = newKey();
  history.pushState({ key: entry }, "", target);
}

/**
 * Show an error above the results, which stay.
 * @param {DocumentFragment} content
 * @param {Response} answer
 * @param {Asking} asking
 */
function fail(content, answer, asking) {
  const note = content.querySelector(".note[data-trouble], .note");
  const code = note?.getAttribute("data-trouble") ?? "";
  if (asking.failed?.(answer.status, code)) return;
  // The URL becomes the failed state, so that a reload tries it again.
  if (!asking.body) enter(asking, asking.address);
  if (code === "upload_not_found" && sendAgain()) return;
  const away = [429, 503, 504].includes(answer.status);
  const said = Number(note?.getAttribute("data-retry-s") ?? answer.headers.get("Retry-After"));
  const again = away ? { retryS: Math.max(1, Math.round(said || LOST_RETRY_S)), repeat: () => void ask(asking), giveUp: asking.giveUp } : {};
  if (note) showNotice(note, again);
  else notice(`The server answered ${answer.status}. Try again in a moment.`, again);
}

/** @param {boolean} on */
function busy(on) {
  document.querySelector(".bar")?.classList.toggle("busy", on);
  document.querySelector("[data-search]")?.setAttribute("aria-busy", String(on));
}

/** @param {string} text */
function parse(text) {
  const template = document.createElement("template");
  template.innerHTML = text;
  return template.content;
}

function newKey() {
  return `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;
}
