// The charts of a release, drawn once from the page's `data-curves-of`.

import { showSeries } from "./curves.js";

for (const list of document.querySelectorAll("[data-curves-of]")) {
  if (list instanceof HTMLElement) {
    showSeries(list, new Map(), JSON.parse(list.dataset.curvesOf ?? "{}"), list.dataset.axis ?? "");
  }
}
