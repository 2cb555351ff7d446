// Load the filters of a new picture after its results, so as not to delay them.

import { home } from "./address.js";
import { onShown, shown } from "./view.js";

const LONGEST_WAIT_MS = 1000;

/** Load missing filters. Called once. */
export function fetchFacets() {
  onShown(() => {
    const waiting = document.querySelector("[data-facets-query]");
    if (!(waiting instanceof HTMLElement)) return;
    const query = waiting.dataset.facetsQuery ?? "";
    waiting.setAttribute("aria-busy", "true");
    void firstResultShown().then(() => fill(waiting, query));
  });
}

/** The server makes the first picture alone, and not the filters beside it. */
function firstResultShown() {
  const picture = document.querySelector("[data-result] img");
  const patience = new Promise((done) => setTimeout(done, LONGEST_WAIT_MS));
  if (!(picture instanceof HTMLImageElement)) return Promise.resolve();
  return Promise.race([picture.decode().catch(() => undefined), patience]);
}

/**
 * @param {HTMLElement} waiting
 * @param {string} query
 */
async function fill(waiting, query) {
  try {
    const answer = await fetch(`${home}search/facets${query}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok) return;
    const template = document.createElement("template");
    template.innerHTML = await answer.text();
    const part = template.content.querySelector("[data-part=facets]");
    if (!part || !waiting.isConnected) return;
    waiting.replaceWith(part);
    shown();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  } finally {
    waiting.removeAttribute("aria-busy");
  }
}
