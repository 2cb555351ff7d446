// The page of removed products: restore them.

import { whileBusy } from "./actions.js";
import { call } from "./api.js";

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element && event.target.closest("[data-restore]");
  const item = button instanceof HTMLButtonElement && button.closest("[data-id]");
  if (!(button instanceof HTMLButtonElement) || !(item instanceof HTMLElement)) return;
  void whileBusy(button, async () => {
    const { served, detail } = await call(item.dataset.api ?? "", { method: "POST" });
    const state = item.querySelector("[data-state]");
    if (state) state.textContent = served ? "is back" : detail;
    if (!served) {
      button.remove();
      return;
    }
    const link = document.createElement("a");
    link.className = "button small";
    link.href = item.dataset.href ?? "";
    link.textContent = "Open";
    button.replaceWith(link);
    link.focus();
  });
});
