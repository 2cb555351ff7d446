// Remove a product, with undo, and replace its picture; on a tile and on the product page.

import { ask } from "../dialogs.js";
import { toast } from "../toast.js";
import { attributesOf, put, Refused, remove, wrongFile } from "./api.js";

const MAX_BYTES = 20_000_000;

/**
 * Handle the buttons. Called once.
 * @param {{removed: (host: HTMLElement, undo: () => Promise<string>) => void}} events
 */
export function followActions({ removed }) {
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const host = event.target.closest("[data-product]");
    if (!(host instanceof HTMLElement)) return;
    const remover = event.target.closest("[data-remove]");
    if (remover instanceof HTMLButtonElement) void whileBusy(remover, () => removeAsked(host, removed));
    const replacer = event.target.closest("[data-replace]");
    if (replacer instanceof HTMLButtonElement) chooseFor(host, replacer);
  });
}

/**
 * Run `work` and show its error, if any.
 * @param {HTMLButtonElement} button
 * @param {() => Promise<void>} work
 */
export async function whileBusy(button, work) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    toast(error.message, { kind: "bad" });
  } finally {
    button.removeAttribute("aria-busy");
  }
}

/**
 * @param {HTMLElement} host
 * @param {(host: HTMLElement, undo: () => Promise<string>) => void} removed
 */
async function removeAsked(host, removed) {
  const { name = "", api = "", image = "" } = host.dataset;
  const agreed = await ask({
    title: "Remove this product?",
    text: `Searches will no longer find ${shortened(name)}, even after an indexing. You can undo this.`,
    confirm: "Remove",
    danger: true,
  });
  if (!agreed) return;
  removed(host, await remove(api, image));
}

/**
 * @param {HTMLElement} host
 * @param {HTMLButtonElement} button
 */
function chooseFor(host, button) {
  const input = document.querySelector("[data-replacing]");
  if (!(input instanceof HTMLInputElement)) return;
  input.value = "";
  input.onchange = () => {
    const [file] = input.files ?? [];
    if (file) void whileBusy(button, () => replace(host, file));
  };
  input.click();
}

/**
 * @param {HTMLElement} host
 * @param {File} file
 */
async function replace(host, file) {
  const { api = "", name = "" } = host.dataset;
  const wrong = wrongFile(file, Number(host.dataset.maxBytes ?? MAX_BYTES));
  if (wrong) throw new Refused(wrong);
  await put(api, file, await attributesOf(api));
  // The address stays the same, so the browser would show its cached copy.
  const version = Date.now().toString(36);
  const fresh = (/** @type {string} */ address) => `${address.replace(/&v=[^&]*/, "")}&v=${version}`;
  host.dataset.image = fresh(host.dataset.image ?? "");
  for (const picture of host.querySelectorAll("img")) picture.src = fresh(picture.src);
  toast(`The picture of ${shortened(name)} is replaced.`, { kind: "good" });
}

/** @param {string} name */
export function shortened(name) {
  return name.length > 60 ? `${name.slice(0, 59)}…` : name;
}
