// Add a product: its picture, id and attributes. A refused form keeps what was typed.

import { call, put, Refused, wrongFile } from "./api.js";
import { leaveSaying } from "./flash.js";
import { filledIn, followRows, send, showFault } from "./form.js";

const form = /** @type {HTMLFormElement} */ (document.querySelector("[data-new]"));
const idField = /** @type {HTMLInputElement} */ (form.querySelector("[data-id]"));
const fileField = /** @type {HTMLInputElement} */ (form.querySelector("[data-picture]"));
const drop = /** @type {HTMLElement} */ (form.querySelector("[data-drop]"));
const maxBytes = Number(form.dataset.maxBytes);
/** @type {File | undefined} */
let picture;

followRows(form);
fileField.addEventListener("change", () => take(fileField.files?.[0]));
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer?.files[0]);
});
addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files ?? [];
  if (file) take(file);
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void send(form, "Adding it…", add);
});

/** @param {File | undefined} file */
function take(file) {
  if (!file) return;
  const wrong = wrongFile(file, maxBytes);
  const fault = form.querySelector('[data-fault-of="image"]');
  if (fault instanceof HTMLElement) fault.hidden = true;
  if (wrong) {
    showFault(form, "image", wrong);
    return;
  }
  picture = file;
  fileField.removeAttribute("aria-invalid");
  const shown = document.createElement("img");
  shown.alt = "The picture you chose";
  shown.src = URL.createObjectURL(file);
  shown.addEventListener("load", () => URL.revokeObjectURL(shown.src));
  form.querySelector("[data-preview]")?.replaceChildren(shown);
  const words = form.querySelector("[data-picture-words]");
  if (words) words.textContent = file.name;
  if (!idField.value) idField.value = file.name.replace(/\.[^.]*$/, "").slice(0, 200);
}

async function add() {
  const id = idField.value.trim();
  /** @type {{where: string, message: string}[]} */
  const errors = [];
  if (!picture) errors.push({ where: "image", message: "A product needs a picture" });
  if (!id) errors.push({ where: "id", message: "A product needs an id" });
  else if (/[/\\]/.test(id)) errors.push({ where: "id", message: "An id has no slashes" });
  if (errors.length || !picture) throw new Refused("", { errors });
  const dataset = encodeURIComponent(form.dataset.dataset ?? "");
  const taken = await call(`${form.dataset.taken}&id=${encodeURIComponent(id)}`);
  if (taken.taken) {
    throw new Refused("", { errors: [{ where: "id", message: "There is a product with this id already" }] });
  }
  const place = `products/${encodeURIComponent(id)}?dataset=${dataset}`;
  await put(`${form.dataset.home}api/${place}`, picture, filledIn(form));
  leaveSaying("The product is added.", `${form.dataset.home}${place}`);
}
