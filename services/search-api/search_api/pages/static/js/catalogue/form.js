// The form of a product, to add or change one: read its fields, and show errors at them.

import { Refused } from "./api.js";

/**
 * Handle the rows for further attributes. Called once per form.
 * @param {HTMLFormElement} form
 */
export function followRows(form) {
  const template = form.querySelector("template[data-further-row]");
  const rows = form.querySelector("[data-further]");
  form.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    if (event.target.closest("[data-add-field]") && template instanceof HTMLTemplateElement) {
      rows?.append(template.content.cloneNode(true));
      const added = rows?.lastElementChild?.querySelector("input");
      if (added instanceof HTMLInputElement) added.focus();
    }
    if (event.target.closest("[data-drop-field]")) {
      event.target.closest("[data-row]")?.remove();
      const adder = form.querySelector("[data-add-field]");
      if (adder instanceof HTMLElement) adder.focus();
    }
  });
}

/**
 * The attributes that were filled in.
 * @param {HTMLFormElement} form
 * @returns {Record<string, string>}
 */
export function filledIn(form) {
  return Object.fromEntries(entries(form).filter(([, value]) => value));
}

/**
 * The attributes that were changed; null for those that were emptied.
 * @param {HTMLFormElement} form
 * @returns {Record<string, string | null>}
 */
export function changes(form) {
  const found = [];
  for (const input of known(form)) {
    const value = input.value.trim();
    if (value !== input.dataset.kept?.trim()) found.push([input.name, value || null]);
  }
  for (const [name, value] of further(form)) if (value) found.push([name, value]);
  return Object.fromEntries(found);
}

/**
 * Show each error at its field and focus the first.
 * @param {HTMLFormElement} form
 * @param {unknown} error
 */
export function showRefusal(form, error) {
  if (!(error instanceof Refused)) throw error;
  clearFaults(form);
  const beside = error.errors.filter(({ where, message }) => showFault(form, where, message));
  const picture = error.code.startsWith("image") || error.status === 415;
  if (!beside.length && !(picture && showFault(form, "image", error.message))) {
    const note = form.querySelector("[data-trouble]");
    if (note instanceof HTMLElement) {
      note.hidden = false;
      const words = note.querySelector("p");
      if (words) words.textContent = error.message;
      note.scrollIntoView({ block: "nearest" });
    }
  }
  const first = form.querySelector('[aria-invalid="true"]');
  if (first instanceof HTMLElement) first.focus();
}

/**
 * @param {HTMLFormElement} form
 * @param {string} name
 * @param {string} message
 * @returns {boolean} whether there is such a field
 */
export function showFault(form, name, message) {
  const row = [...form.querySelectorAll("[data-row]")].find((one) => furtherName(one) === name);
  const words = row?.querySelector("[data-row-fault]") ?? form.querySelector(`[data-fault-of="${CSS.escape(name)}"]`);
  if (!(words instanceof HTMLElement)) return false;
  words.textContent = message.charAt(0).toUpperCase() + message.slice(1);
  words.hidden = false;
  const input = row?.querySelector("[data-further-value]") ?? form.querySelector(`[aria-describedby~="${CSS.escape(words.id)}"]`);
  input?.setAttribute("aria-invalid", "true");
  return true;
}

/** @param {HTMLFormElement} form */
export function clearFaults(form) {
  for (const words of form.querySelectorAll(".fault")) {
    /** @type {HTMLElement} */ (words).hidden = true;
    words.textContent = "";
  }
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  const note = form.querySelector("[data-trouble]");
  if (note instanceof HTMLElement) note.hidden = true;
}

/**
 * Send the form by `work`. Meanwhile its button is busy and the status is announced.
 * @param {HTMLFormElement} form
 * @param {string} words
 * @param {() => Promise<void>} work
 */
export async function send(form, words, work) {
  const button = form.querySelector("[data-send]");
  const said = form.querySelector("[data-said]");
  if (!(button instanceof HTMLButtonElement) || button.getAttribute("aria-busy") === "true") return;
  clearFaults(form);
  button.setAttribute("aria-busy", "true");
  if (said) said.textContent = words;
  try {
    await work();
  } catch (error) {
    showRefusal(form, error);
  } finally {
    button.removeAttribute("aria-busy");
    if (said) said.textContent = "";
  }
}

/**
 * @param {HTMLFormElement} form
 * @returns {[string, string][]}
 */
function entries(form) {
  return [...known(form).map((input) => /** @type {[string, string]} */ ([input.name, input.value.trim()])), ...further(form)];
}

/** @param {HTMLFormElement} form */
function known(form) {
  return /** @type {HTMLInputElement[]} */ ([...form.querySelectorAll("[data-known] input")]);
}

/**
 * @param {HTMLFormElement} form
 * @returns {[string, string][]}
 */
function further(form) {
  return [...form.querySelectorAll("[data-row]")]
    .map((row) => {
      const value = row.querySelector("[data-further-value]");
      return /** @type {[string, string]} */ ([furtherName(row), value instanceof HTMLInputElement ? value.value.trim() : ""]);
    })
    .filter(([name]) => name);
}

/** @param {Element} row */
function furtherName(row) {
  const name = row.querySelector("[data-further-name]");
  return name instanceof HTMLInputElement ? name.value.trim() : "";
}
