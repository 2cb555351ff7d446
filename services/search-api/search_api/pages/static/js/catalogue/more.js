// Load more products near the end of the grid, or by the button.

/** @type {IntersectionObserver | undefined} */
let observer;

/** Watch the end of the grid. Called again after the grid was replaced. */
export function watchEnd() {
  observer?.disconnect();
  observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) if (entry.isIntersecting && entry.target instanceof HTMLElement) void load(entry.target);
    },
    { rootMargin: "600px" },
  );
  for (const end of document.querySelectorAll("[data-more]")) observer.observe(end);
}

document.addEventListener("click", (event) => {
  const end = event.target instanceof Element && event.target.closest("[data-more] button")?.closest("[data-more]");
  if (end instanceof HTMLElement) void load(end);
});

/** @param {HTMLElement} end */
async function load(end) {
  if (end.getAttribute("aria-busy") === "true") return;
  end.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(end.dataset.more ?? "", { headers: { "HX-Request": "true" } });
    if (!answer.ok) throw new TypeError(String(answer.status));
    const content = document.createElement("template");
    content.innerHTML = await answer.text();
    const focused = end.contains(document.activeElement);
    const first = content.content.querySelector(".tile-name");
    end.replaceWith(content.content);
    if (focused && first instanceof HTMLElement) first.focus({ preventScroll: true });
    watchEnd();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    end.removeAttribute("aria-busy");
    end.querySelector(".pictures")?.remove();
    observer?.unobserve(end);
    const button = end.querySelector("button");
    if (button) button.textContent = "More could not be loaded. Try again";
  }
}
