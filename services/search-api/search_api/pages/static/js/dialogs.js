// Dialogs and sheets are native <dialog> elements: `data-opens="ID"` on a button opens one, a button with `data-closes`
// or a click outside closes it. The browser handles Esc and restores the focus.

/** Listen for the buttons. Called once, by `frame.js`. */
export function openDialogs() {
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const opener = event.target.closest("[data-opens]");
    if (opener instanceof HTMLElement && opener.dataset.opens) show(opener.dataset.opens);
    if (event.target.closest("[data-closes]")) event.target.closest("dialog")?.close();
    // The dialog itself is the target only for clicks on the backdrop: its content fills it.
    if (event.target instanceof HTMLDialogElement && outside(event.target, event)) event.target.close();
  });
}

/**
 * Open a dialog by its id.
 * @param {string} id
 */
export function show(id) {
  const dialog = document.getElementById(id);
  if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
}

/**
 * Ask for a confirmation. Resolves to whether it was given.
 * @param {{title: string, text: string, confirm: string, danger?: boolean}} question
 * @returns {Promise<boolean>}
 */
export function ask({ title, text, confirm, danger = false }) {
  const template = document.getElementById("ask-template");
  if (!(template instanceof HTMLTemplateElement)) return Promise.resolve(false);
  const dialog = template.content.firstElementChild?.cloneNode(true);
  if (!(dialog instanceof HTMLDialogElement)) return Promise.resolve(false);
  const fill = (/** @type {string} */ part, /** @type {string} */ words) => {
    const element = dialog.querySelector(`[data-part="${part}"]`);
    if (element) element.textContent = words;
    return element;
  };
  fill("title", title);
  fill("text", text);
  fill("confirm", confirm)?.classList.toggle("danger", danger);
  dialog.querySelector('[data-part="confirm"]')?.classList.toggle("primary", !danger);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "confirm");
    });
  });
}

/**
 * @param {HTMLDialogElement} dialog
 * @param {MouseEvent} event
 */
function outside(dialog, event) {
  const box = dialog.getBoundingClientRect();
  const inside =
    event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
  return !inside && event.detail > 0; // a click by keyboard has no position
}
