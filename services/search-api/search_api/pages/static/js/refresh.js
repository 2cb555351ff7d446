// Parts of a page that refresh: `data-refresh="ADDRESS"` with `data-every-s`. A hidden page pauses and refreshes when it
// is visible again. Focus, open details and scroll positions are kept.

/**
 * Put HTML of this application into an element.
 * @param {HTMLElement} element
 * @param {string} html escaped by the server's templates
 */
export function replaceContent(element, html) {
  const focused = element.contains(document.activeElement) ? document.activeElement?.id : "";
  const details = new Map(
    [...element.querySelectorAll("details[id]")].map((one) => [one.id, one instanceof HTMLDetailsElement && one.open]),
  );
  element.innerHTML = html;
  for (const [id, open] of details) {
    const one = document.getElementById(id);
    if (one instanceof HTMLDetailsElement) one.open = open;
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/**
 * Load a part of a page. Resolves to its HTML, or to null on failure.
 * @param {string} address
 * @returns {Promise<string | null>}
 */
export async function fetchPart(address) {
  try {
    const answer = await fetch(address, { headers: { "HX-Request": "true" }, signal: AbortSignal.timeout(15000) });
    const login = answer.headers.get("HX-Redirect");
    if (login) location.assign(login);
    return answer.ok ? await answer.text() : null;
  } catch {
    return null;
  }
}

/** @param {HTMLElement} element */
function keepFresh(element) {
  const everyMs = Number(element.dataset.everyS ?? "5") * 1000;
  const lost = document.querySelector("[data-lost]");
  let underWay = false;
  const ask = async () => {
    const opened = element.querySelector("[popover]:popover-open, select:focus");
    if (document.hidden || underWay || opened) return;
    underWay = true;
    const html = await fetchPart(element.dataset.refresh ?? "");
    underWay = false;
    if (html !== null) replaceContent(element, html);
    if (lost instanceof HTMLElement) lost.hidden = html !== null;
  };
  setInterval(ask, everyMs);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) void ask();
  });
}

for (const element of document.querySelectorAll("[data-refresh]")) {
  if (element instanceof HTMLElement) keepFresh(element);
}
