// Replaces the content of the page. Kept are the picture with its box, open details and the focus.

/** The pictures that were sent from this page, by the ids of their uploads. @type {Map<string, {file: File, url: string}>} */
export const sent = new Map();

/** Called after every replacement. @type {((host: Element) => void)[]} */
const listeners = [];

/** @param {(host: Element) => void} listener */
export function onShown(listener) {
  listeners.push(listener);
  listener(host());
}

/** Notify the listeners. */
export function shown() {
  for (const listener of listeners) listener(host());
}

/** @returns {HTMLElement} */
export function host() {
  const found = document.querySelector("[data-search]");
  if (!(found instanceof HTMLElement)) throw new Error("the page has no place for a search");
  return found;
}

/** The content as HTML, without what scripts added to the picture; undefined while a picture waits. */
export function snapshot() {
  if (host().querySelector('[data-view="waiting"]')) return undefined;
  restoreFacets();
  const copy = /** @type {HTMLElement} */ (host().cloneNode(true));
  for (const one of copy.querySelectorAll(".cropper-container")) one.remove();
  for (const one of copy.querySelectorAll(".cropper-hidden")) one.classList.remove("cropper-hidden");
  for (const one of copy.querySelectorAll("img[data-src]")) come(one);
  // The Content-Security-Policy forbids style attributes in HTML; scripts set their styles again.
  for (const one of copy.querySelectorAll("[style]")) one.removeAttribute("style");
  return copy.innerHTML;
}

/**
 * Put new content in place of what is shown.
 * @param {DocumentFragment} content
 */
export function exchange(content) {
  const target = host();
  const before = target.querySelector("[data-view]");
  const after = content.querySelector("[data-view]");
  if (!(after instanceof HTMLElement)) return;
  useSentPicture(content);
  const focused = describeFocus();
  const opened = openDetails();
  if (before instanceof HTMLElement && before.dataset.view === "found" && after.dataset.view === "found") {
    for (const part of after.querySelectorAll("[data-part]")) exchangePart(/** @type {HTMLElement} */ (part));
    Object.assign(before.dataset, after.dataset);
  } else {
    closeSheet();
    const others = othersLater(content);
    target.replaceChildren(content);
    others();
  }
  reopen(opened);
  refocus(focused);
  document.title = `${after.dataset.title ?? "Search"} · Vitrine`;
  const told = document.querySelector("[data-said]");
  if (told) told.textContent = (target.querySelector(".results-title, .nothing p, h1")?.textContent ?? "").replace(/\s+/g, " ");
  shown();
}

/**
 * Have the picture of the best result come first: asked for all at once, each would wait for the others.
 * @param {DocumentFragment} content
 * @returns {() => void} lets the others come once the first is there; called after the content is shown
 */
function othersLater(content) {
  const [first, ...others] = [...content.querySelectorAll("[data-result] img")];
  for (const one of others) {
    one.setAttribute("data-src", one.getAttribute("src") ?? "");
    one.removeAttribute("src");
  }
  return () => {
    if (!(first instanceof HTMLImageElement)) return;
    const patience = new Promise((done) => setTimeout(done, 300));
    void Promise.race([first.decode().catch(() => undefined), patience]).then(() => others.forEach(come));
  };
}

/** @param {Element} picture */
function come(picture) {
  picture.setAttribute("src", picture.getAttribute("data-src") ?? "");
  picture.removeAttribute("data-src");
}

/** Put a new part in place of the one of that name. @param {HTMLElement} part */
export function exchangePart(part) {
  const old = document.querySelector(`[data-part="${part.dataset.part}"]`);
  if (!(old instanceof HTMLElement) || old === part) return;
  if (part.dataset.key !== undefined && part.dataset.key === old.dataset.key) {
    const [box, newBox] = [old.querySelector("[data-box]"), part.querySelector("[data-box]")];
    for (const name of ["data-region", "data-seen-region"]) box?.setAttribute(name, newBox?.getAttribute(name) ?? "");
    return;
  }
  old.replaceWith(part);
}

/** Use the local copy of a picture that this page sent. @param {DocumentFragment} content */
function useSentPicture(content) {
  const picture = content.querySelector("[data-query-picture]");
  const key = picture?.closest("[data-key]")?.getAttribute("data-key") ?? "";
  const known = sent.get(key.replace("upload:", ""));
  if (picture instanceof HTMLImageElement && known) picture.src = known.url;
}

function describeFocus() {
  const active = document.activeElement;
  if (!(active instanceof HTMLElement) || active === document.body) return undefined;
  const field = active instanceof HTMLInputElement || active instanceof HTMLSelectElement ? active : undefined;
  return {
    active,
    name: field?.name ?? "",
    value: field?.type === "checkbox" ? field.value : undefined,
    key: active.dataset.focus,
    inside: Boolean(active.closest("[data-search], #filter-sheet")),
  };
}

/** @param {ReturnType<typeof describeFocus>} before */
function refocus(before) {
  if (!before || before.active.isConnected || !before.inside) return;
  const same = before.name
    ? [...document.querySelectorAll(`[name="${CSS.escape(before.name)}"]`)].find(
        (one) => before.value === undefined || /** @type {HTMLInputElement} */ (one).value === before.value,
      )
    : before.key && document.querySelector(`[data-focus="${CSS.escape(before.key)}"]`);
  const next = same || (document.querySelector(".results-column") ?? document.getElementById("main"));
  if (!(next instanceof HTMLElement)) return;
  if (!same && !next.hasAttribute("tabindex")) next.tabIndex = -1;
  next.focus({ preventScroll: true });
}

function openDetails() {
  return new Map(
    [...document.querySelectorAll("details[data-facet]")].map((one) => [
      one.getAttribute("data-facet"),
      /** @type {HTMLDetailsElement} */ (one).open,
    ]),
  );
}

/** @param {Map<string | null, boolean>} opened */
function reopen(opened) {
  for (const one of document.querySelectorAll("details[data-facet]")) {
    const was = opened.get(one.getAttribute("data-facet"));
    if (was !== undefined) /** @type {HTMLDetailsElement} */ (one).open = was;
  }
}

// On phones the filters are moved into a sheet while it is open.

/** Open the sheet with the filters. */
export function openSheet() {
  const sheet = document.getElementById("filter-sheet");
  const facets = document.querySelector("[data-part=facets]");
  if (!(sheet instanceof HTMLDialogElement) || !facets) return;
  sheet.querySelector("[data-sheet-facets]")?.append(facets);
  sheet.addEventListener("close", restoreFacets, { once: true });
  sheet.showModal();
}

function closeSheet() {
  const sheet = document.getElementById("filter-sheet");
  if (sheet instanceof HTMLDialogElement && sheet.open) sheet.close();
  restoreFacets();
}

function restoreFacets() {
  const sheet = document.getElementById("filter-sheet");
  const facets = sheet?.querySelector("[data-part=facets]");
  if (facets && !(sheet instanceof HTMLDialogElement && sheet.open)) document.querySelector("aside.query")?.append(facets);
}
