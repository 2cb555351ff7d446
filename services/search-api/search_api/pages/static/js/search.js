// The search page. The URL is its state; each module in search/ has one task.

import { addressOfForm, withPresentExamples } from "./search/address.js";
import { drawBox } from "./search/box.js";
import { fetchFacets } from "./search/facets.js";
import { showGarments } from "./search/garments.js";
import { followKeys } from "./search/keys.js";
import { followHistory, go } from "./search/loader.js";
import { loadMore } from "./search/more.js";
import { showNotice } from "./search/notice.js";
import { takePictures } from "./search/picture.js";
import { drawRanges, followRanges } from "./search/ranges.js";
import { keepTray } from "./search/tray.js";
import { host, onShown, openSheet } from "./search/view.js";
import { explain } from "./search/why.js";

/** @type {IntersectionObserver | undefined} */
let watching;

document.addEventListener("click", (event) => {
  if (!(event.target instanceof Element) || event.defaultPrevented) return;
  if (event.target.closest("[data-filters]")) openSheet();
  const twin = event.target.closest("[data-twin]");
  if (twin) showTwin(twin);
  const link = event.target.closest("a[data-go]");
  // The browser handles new tabs, new windows and downloads.
  if (!(link instanceof HTMLAnchorElement) || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const fromStart = !host().querySelector('[data-view="found"]');
  const searchesAnew = Boolean(link.closest("[data-result]"));
  void go(withPresentExamples(link.href), { scrollY: fromStart || searchesAnew ? 0 : undefined });
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.matches("[data-go]")) return;
  event.preventDefault();
  // Another dataset or model also changes the select boxes.
  if (form.matches("[data-whole-page]")) location.assign(addressOfForm(form));
  else void go(addressOfForm(form));
});

document.addEventListener("change", (event) => {
  const field = event.target;
  const form = field instanceof HTMLInputElement && field.closest("form[data-facets]");
  if (form instanceof HTMLFormElement) form.requestSubmit();
});

followHistory();
takePictures();
drawBox();
showGarments();
fetchFacets();
loadMore();
keepTray();
explain();
followRanges();
followKeys();
onShown(followPicture);
onShown(() => drawRanges(document));

// An error that the server rendered is retried too.
const failed = host().querySelector("[data-trouble][data-retry-s]");
if (failed) {
  const retryS = Number(failed.getAttribute("data-retry-s"));
  showNotice(failed, { retryS, repeat: () => void go(location.href, { push: false }) });
}

/** On phones a thumbnail in the results bar replaces the picture once it is scrolled out of view. @param {Element} shown */
function followPicture(shown) {
  watching?.disconnect();
  const picture = shown.querySelector("[data-query-picture]");
  const bar = shown.querySelector(".phone-bar");
  const thumb = shown.querySelector("[data-thumb]");
  if (!(picture instanceof HTMLImageElement) || !bar || !thumb) return;
  const small = document.createElement("img");
  small.alt = "";
  small.src = picture.src;
  thumb.replaceChildren(small);
  watching = new IntersectionObserver(([entry]) => bar.classList.toggle("scrolled", !entry.isIntersecting));
  watching.observe(picture.closest(".query-picture") ?? picture);
}

/** Go to the same product in the other model's column. @param {Element} button */
function showTwin(button) {
  const id = button.getAttribute("data-twin") ?? "";
  const own = button.closest("[data-result]");
  const twin = [...host().querySelectorAll(`[data-result][data-id="${CSS.escape(id)}"]`)].find((one) => one !== own);
  const link = twin?.querySelector("[data-twin]");
  twin?.scrollIntoView({ block: "center" });
  if (link instanceof HTMLElement) link.focus({ preventScroll: true });
}
