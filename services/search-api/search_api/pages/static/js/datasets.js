// The page of a dataset: set and remove its schedule, and delete it after a confirmation.

import { whileBusy } from "./catalogue/actions.js";
import { call } from "./catalogue/api.js";
import { ask } from "./dialogs.js";

/** @param {HTMLButtonElement} button */
async function deleteDataset(button) {
  const { api = "", name = "", products = "", uploads = "0", indexed = "", list = "" } = button.dataset;
  const put = Number(uploads);
  const kept = put
    ? indexed
      ? ` The ${put} products that were put by hand are kept for a later indexing.`
      : ` The ${put} products that were put by hand are deleted for good.`
    : "";
  const agreed = await ask({
    title: `Delete ${name}?`,
    text: indexed
      ? `${products} can no longer be found, and the dataset's schedules end. The catalogue's own files stay as they are.${kept}`
      : `The record of its deleted products goes.${kept}`,
    confirm: "Delete",
    danger: true,
  });
  if (!agreed) return;
  await whileBusy(button, async () => {
    await call(indexed ? api : `${api}?uploads=true`, { method: "DELETE" });
    location.assign(list);
  });
}

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element && event.target.closest("button");
  if (!(button instanceof HTMLButtonElement)) return;
  if ("deleteDataset" in button.dataset) void deleteDataset(button);
  if ("unschedule" in button.dataset) {
    void whileBusy(button, async () => {
      await call(button.dataset.api ?? "", { method: "DELETE" });
      location.reload();
    });
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !("schedule" in form.dataset)) return;
  event.preventDefault();
  const button = form.querySelector("button");
  if (!(button instanceof HTMLButtonElement)) return;
  void whileBusy(button, async () => {
    const fields = new FormData(form);
    const body = JSON.stringify({ every: fields.get("every"), model: fields.get("model") });
    await call(form.dataset.api ?? "", { method: "PUT", body, headers: { "Content-Type": "application/json" } });
    location.reload();
  });
});
