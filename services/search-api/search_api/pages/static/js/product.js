// The product page: change attributes, replace the picture, remove and restore the product.

import { followActions, whileBusy } from "./catalogue/actions.js";
import { change, restore } from "./catalogue/api.js";
import { leaveSaying, sayWhatCame } from "./catalogue/flash.js";
import { changes, followRows, send } from "./catalogue/form.js";
import { watchEnd } from "./catalogue/more.js";
import { show } from "./dialogs.js";
import { toast } from "./toast.js";

const product = document.querySelector("article[data-product]");
const form = document.querySelector("form[data-edit]");

if (form instanceof HTMLFormElement && product instanceof HTMLElement) {
  followRows(form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send(form, "Saving…", async () => {
      const changed = changes(form);
      if (Object.keys(changed).length) await change(product.dataset.api ?? "", changed);
      leaveSaying("Saved.", location.pathname + location.search);
    });
  });
  if (location.hash === "#edit") show("edit");
}

followActions({ removed });
watchEnd();
sayWhatCame();

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element && event.target.closest("[data-removed-product] [data-restore]");
  const host = button instanceof HTMLButtonElement && button.closest("[data-removed-product]");
  if (!(button instanceof HTMLButtonElement) || !(host instanceof HTMLElement)) return;
  void whileBusy(button, async () => {
    const { served, detail } = await restore(host.dataset.api ?? "");
    if (served) leaveSaying("The product is back.", location.href);
    else toast(detail, { kind: "doubtful" });
  });
});

/**
 * @param {HTMLElement} host
 * @param {() => Promise<string>} undo
 */
function removed(host, undo) {
  const note = document.querySelector("[data-gone]");
  if (!(note instanceof HTMLElement)) return;
  note.hidden = false;
  host.inert = true;
  host.classList.add("is-gone");
  scrollTo(0, 0);
  note.focus({ preventScroll: true });
  const button = note.querySelector("[data-undo]");
  if (!(button instanceof HTMLButtonElement)) return;
  button.onclick = () =>
    whileBusy(button, async () => {
      const missing = await undo();
      note.hidden = true;
      host.inert = false;
      host.classList.remove("is-gone");
      toast(`The product is back. ${missing}`.trim(), { kind: missing ? "doubtful" : "good" });
    });
}
