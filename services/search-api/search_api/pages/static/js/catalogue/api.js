// Calls of the JSON API that change products. Errors are thrown with the API's message.

/** An error answer of the API. */
export class Refused extends Error {
  /**
   * @param {string} detail
   * @param {{status?: number, code?: string, errors?: {where: string, message: string}[]}} [problem]
   */
  constructor(detail, { status = 0, code = "", errors = [] } = {}) {
    super(sentence(detail));
    this.status = status;
    this.code = code;
    this.errors = errors;
  }
}

/**
 * @param {string} address
 * @param {RequestInit} [options]
 * @returns {Promise<any>} the answer's JSON
 * @throws {Refused}
 */
export async function call(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Refused("The server cannot be reached. Nothing you typed is lost; try again in a moment", { code: "lost" });
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(content.detail ?? `The server answered ${answer.status}`, content);
  return content;
}

/**
 * The attributes of a product, without the standard members.
 * @param {string} api
 * @returns {Promise<Record<string, string | number>>}
 */
export async function attributesOf(api) {
  return attributesIn((await call(api)).product);
}

/**
 * @param {Record<string, any>} product
 * @returns {Record<string, any>}
 */
function attributesIn(product) {
  const { id: _id, dataset: _dataset, image: _image, pictures: _pictures, variants: _variants, ...attributes } = product;
  return attributes;
}

/**
 * Put a whole product.
 * @param {string} api
 * @param {Blob} picture
 * @param {Record<string, string | number | string[]>} attributes
 */
export function put(api, picture, attributes) {
  const form = new FormData();
  form.append("image", picture, "picture");
  for (const [name, value] of Object.entries(attributes)) for (const one of [value].flat()) form.append(name, String(one));
  return call(api, { method: "PUT", body: form });
}

/**
 * Change attributes; null removes one.
 * @param {string} api
 * @param {Record<string, string | null>} attributes
 */
export function change(api, attributes) {
  const body = JSON.stringify({ attributes });
  return call(api, { method: "PUT", body, headers: { "Content-Type": "application/json" } });
}

/** @param {string} api */
export function restore(api) {
  const [path, query] = api.split("?");
  return call(`${path}/restore${query ? `?${query}` : ""}`, { method: "POST" });
}

/**
 * Remove a product. Resolves to a function that restores it: from the catalogue's row, or for an uploaded product from
 * a copy kept here, because its picture is deleted too. That function resolves to what is still missing, or to "".
 * @param {string} api
 * @param {string} image
 * @returns {Promise<() => Promise<string>>}
 */
export async function remove(api, image) {
  const [{ product }, picture] = await Promise.all([call(api), pictureOf(image)]);
  await call(api, { method: "DELETE" });
  return async () => {
    const { served, detail } = await restore(api);
    if (served) return "";
    if (!picture) throw new Refused(detail);
    await put(api, picture, attributesIn(product));
    const others = (product.pictures?.length ?? 1) - 1;
    return others > 0 ? `Only the first of its ${others + 1} pictures came back.` : "";
  };
}

/**
 * Why a file cannot be a product's picture, by its type and size; undefined if it can.
 * @param {File} file
 * @param {number} maxBytes
 */
export function wrongFile(file, maxBytes) {
  // A browser may not know the type of a HEIC file; the answer says what is wrong with any other.
  const read = /^image\/(p?jpe?g|png|apng|webp|avif|hei[cf]|gif|bmp|x-ms-bmp|tiff)$/;
  if (!read.test(file.type) && !(file.type === "" && /\.(hei[cf]|avif|tiff?)$/i.test(file.name))) {
    const kind = file.type.split("/").pop()?.toUpperCase() || "file of an unknown kind";
    return `That is a ${kind}. Send a JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF picture.`;
  }
  const megabytes = (/** @type {number} */ bytes) => Math.round(bytes / 1e6);
  if (file.size > maxBytes) {
    return `That picture is ${megabytes(file.size)} MB; up to ${megabytes(maxBytes)} MB can be read.`;
  }
  return undefined;
}

/** @param {string} image */
async function pictureOf(image) {
  try {
    const answer = await fetch(image);
    return answer.ok ? await answer.blob() : undefined;
  } catch {
    return undefined;
  }
}

/** @param {string} text */
function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
