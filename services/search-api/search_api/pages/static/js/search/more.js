// Load more results near the end of the list, or by the button. They replace skeletons, so that nothing shifts.

import { home } from "./address.js";
import { host, onShown } from "./view.js";

/** @type {AbortController | undefined} */
let loading;

/** Watch the end of the results. Called once. */
export function loadMore() {
  const observer = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) void next();
    },
    { rootMargin: "400px" },
  );
  const watch = () => {
    observer.disconnect();
    const end = host().querySelector("[data-more][data-query]");
    if (end) observer.observe(end);
  };
  onShown(() => {
    loading?.abort();
    loading = undefined;
    watch();
  });
  document.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("[data-more-button]")) void next();
  });

  async function next() {
    const end = host().querySelector("[data-more][data-query]");
    const list = host().querySelector("[data-results]");
    if (loading || !(end instanceof HTMLElement) || !list) return;
    const controller = new AbortController();
    loading = controller;
    end.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(`${home}search/more${end.dataset.query ?? ""}`, {
        headers: { "HX-Request": "true" },
        signal: controller.signal,
      });
      if (!answer.ok) throw new TypeError(String(answer.status));
      const template = document.createElement("template");
      template.innerHTML = await answer.text();
      const fresh = [...template.content.querySelectorAll("[data-result]")];
      list.append(...fresh);
      const after = template.content.querySelector("[data-more]");
      if (after) {
        // The focus moves from the button to the first new result.
        const focused = end.contains(document.activeElement);
        end.replaceWith(after);
        const first = fresh[0]?.querySelector(".tile-name");
        if (focused && first instanceof HTMLElement) first.focus({ preventScroll: true });
      }
      loading = undefined;
      watch();
    } catch (error) {
      if (controller.signal.aborted) return;
      loading = undefined;
      if (!(error instanceof TypeError)) throw error;
      observer.disconnect();
      end.removeAttribute("aria-busy");
      sayFailed(end);
    }
  }
}

/** @param {HTMLElement} end */
function sayFailed(end) {
  end.querySelector(".more-waiting")?.remove();
  const button = end.querySelector("button");
  if (button) button.textContent = "More could not be loaded. Try again";
}
