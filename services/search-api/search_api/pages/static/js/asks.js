// Forms that need a confirmation: `data-asks`, `data-asks-text` and `data-asks-confirm` are the texts of the dialog.
// Listens on the document, so it also covers forms that are added later.

import { ask } from "./dialogs.js";

/** Called once by each page that has such forms. */
export function askBeforeSending() {
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.dataset.asks || form.dataset.agreed) return;
    event.preventDefault();
    const agreed = await ask({
      title: form.dataset.asks,
      text: form.dataset.asksText ?? "",
      confirm: form.dataset.asksConfirm ?? "Yes",
      danger: true,
    });
    if (!agreed) return;
    form.dataset.agreed = "true";
    form.submit(); // the form may have been replaced meanwhile; only its address matters
  });
}
