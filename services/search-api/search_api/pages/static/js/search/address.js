// The state of the search page is its address: what is searched with, the filters, the models and the examples.

/** Where the search page is. */
export const home = `${document.body.dataset.prefix ?? ""}/`;

const EXAMPLES = ["positive", "negative"];

/** @returns {URLSearchParams} the state as it is now, to be changed and gone to */
export function present() {
  return new URLSearchParams(location.search);
}

/** @param {URLSearchParams} params */
export function addressOf(params) {
  const query = params.toString();
  return query ? `${home}?${query}` : home;
}

/**
 * The address of a link of the page, with the examples that are in the tray by now.
 * @param {string} href
 */
export function withPresentExamples(href) {
  const params = new URL(href, location.href).searchParams;
  for (const name of EXAMPLES) {
    params.delete(name);
    for (const value of present().getAll(name)) params.append(name, value);
  }
  return addressOf(params);
}

/**
 * The address that a form of the page leads to: the present state with the form's fields in the place of its own.
 * @param {HTMLFormElement} form
 */
export function addressOfForm(form) {
  const params = present();
  const fields = [...form.elements].filter(
    (one) => (one instanceof HTMLInputElement || one instanceof HTMLSelectElement) && one.name,
  );
  for (const field of fields) params.delete(/** @type {HTMLInputElement} */ (field).name);
  for (const field of fields) {
    const input = /** @type {HTMLInputElement} */ (field);
    if (input.type === "checkbox" && !input.checked) continue;
    // The end of a range that leaves nothing out is no filter.
    if (input.type === "range" && input.value === (input.name.endsWith("Min") ? input.min : input.max)) continue;
    if (input.value) params.append(input.name, input.value);
  }
  const names = new Set(fields.map((field) => /** @type {HTMLInputElement} */ (field).name));
  if (names.has("dataset")) forgetDataset(params);
  if (params.get("compare") === params.get("model")) params.delete("compare");
  return addressOf(params);
}

/**
 * Leave out what another dataset does not know.
 * @param {URLSearchParams} params
 */
function forgetDataset(params) {
  const kept = new Set(["dataset", "upload", "region", "cutout"]);
  for (const name of new Set(params.keys())) if (!kept.has(name)) params.delete(name);
}

/**
 * The state that searches with another picture: the filters stay.
 * @returns {URLSearchParams}
 */
export function forNewPicture() {
  const params = present();
  for (const name of ["upload", "id", "region", "by"]) params.delete(name);
  return params;
}
