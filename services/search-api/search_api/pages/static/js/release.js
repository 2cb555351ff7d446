// The curves of a release, drawn once from what the page carries in `data-curves-of`.

import { showSeries } from "./curves.js";

for (const list of document.querySelectorAll("[data-curves-of]")) {
  if (list instanceof HTMLElement) {
    showSeries(list, new Map(), JSON.parse(list.dataset.curvesOf ?? "{}"), list.dataset.axis ?? "");
  }
}
