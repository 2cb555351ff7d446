// The URL is the state of the search page: the query, the filters, the models and the examples.

/** The path of the search page. */
export const home = `${document.body.dataset.prefix ?? ""}/`;

const EXAMPLES = ["positive", "negative"];

/** @returns {URLSearchParams} a copy of the current state */
export function present() {
  return new URLSearchParams(location.search);
}

/** @param {URLSearchParams} params */
export function addressOf(params) {
  const query = params.toString();
  return query ? `${home}?${query}` : home;
}

/**
 * The address of a link of the page, with the current examples of the tray.
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
 * The address for a form of the page: the current state with the form's fields replaced.
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
    // The end of a range that excludes nothing is not a filter.
    if (input.type === "range" && Number(input.value) === Number(input.name.endsWith("Min") ? input.min : input.max)) continue;
    if (input.value) params.append(input.name, input.value);
  }
  const names = new Set(fields.map((field) => /** @type {HTMLInputElement} */ (field).name));
  if (names.has("dataset")) forgetDataset(params);
  if (params.get("compare") === params.get("model")) params.delete("compare");
  return addressOf(params);
}

/**
 * Remove what is specific to a dataset.
 * @param {URLSearchParams} params
 */
function forgetDataset(params) {
  const kept = new Set(["dataset", "upload", "region", "look", "uncertain", "cutout"]);
  for (const name of new Set(params.keys())) if (!kept.has(name)) params.delete(name);
}

/**
 * The state for another picture, with the same filters.
 * @returns {URLSearchParams}
 */
export function forNewPicture() {
  const params = present();
  for (const name of ["upload", "id", "uncertain"]) params.delete(name);
  forgetPart(params);
  return params;
}

/** Remove what says with which part of the picture to search. @param {URLSearchParams} params */
export function forgetPart(params) {
  for (const name of ["region", "kindFilters", "look", "by"]) params.delete(name);
}
