// Take a picture by drop, paste, the file dialog or the camera. Unreadable files are refused before they are sent, and
// the page stays as it is.

import { forNewPicture, home, present } from "./address.js";
import { ask, keepShown, whenExpired } from "./loader.js";
import { clearNotice, notice } from "./notice.js";
import { exchange, host, sent, snapshot } from "./view.js";

export const READ = /^image\/(p?jpe?g|png|apng|webp|avif|hei[cf]|gif|bmp|x-ms-bmp|tiff)$/;
export const WANTED = "Send a JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF picture.";
const FORM_BYTES = 4096; // the other fields and the multipart framing
const MOST_SENT = 6;
const UNKEPT = "unkept"; // stands for the id of a picture that the server did not keep
/** What was shown before the waiting picture. @type {string | undefined} */
let shownBefore;
/** @type {[RegExp, string][]} */
const KINDS = [
  [/^application\/pdf$/, "a PDF"],
  [/^text\//, "a text file"],
  [/^image\/svg/, "an SVG drawing"],
  [/^image\//, "a picture of another format"],
  [/^video\//, "a video"],
  [/^audio\//, "a sound"],
  [/zip/, "an archive"],
];

/** Handle all sources of pictures. Called once. */
export function takePictures() {
  const chooser = element("picture-file", HTMLInputElement);
  const camera = element("picture-camera", HTMLInputElement);
  for (const input of [chooser, camera]) {
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      if (file) searchWith(file);
      input.value = ""; // the same file can be chosen again
    });
  }
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    if (event.target.closest("[data-choose]")) chooser.click();
    if (event.target.closest("[data-photograph]")) camera.click();
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (!file) return;
    event.preventDefault();
    searchWith(file);
  });
  takeDrops();
  whenExpired(sendAgain);
}

/**
 * Search with a picture file under the filters that are set.
 * @param {File} file
 */
export function searchWith(file) {
  const fault = faultOf(file);
  if (fault) {
    notice(fault);
    return;
  }
  const params = forNewPicture();
  const body = new FormData();
  for (const [name, value] of params) body.append(name, value);
  body.append("image", file, "picture");
  const url = URL.createObjectURL(file);
  const asked = ask({
    address: home,
    body,
    scrollY: 0,
    answered: (answer) => remember(answer, file, url),
    giveUp: () => restore(shownBefore),
    failed: (status) => {
      // An unreadable picture restores the previous view; one that only has to wait stays visible.
      if (status < 500 && status !== 429) restore(shownBefore);
      return false;
    },
  });
  // Send the request before rendering.
  shownBefore = snapshot() ?? shownBefore;
  keepShown();
  showWaiting(url);
  return asked;
}

/**
 * Why a file cannot be sent; undefined if it can.
 * @param {File} file
 */
export function faultOf(file) {
  const limit = Number(document.querySelector("[data-chooser]")?.getAttribute("data-max-bytes")) - FORM_BYTES;
  if (file.type && !READ.test(file.type)) {
    const kind = KINDS.find(([pattern]) => pattern.test(file.type))?.[1];
    return kind ? `That is ${kind}. ${WANTED}` : `That is no picture. ${WANTED}`;
  }
  if (file.size === 0) return `That file is empty. ${WANTED}`;
  if (file.size > limit) return `That picture is ${megabytes(file.size)}; up to ${megabytes(limit)} can be read.`;
  return undefined;
}

/** @param {number} bytes */
function megabytes(bytes) {
  return bytes < 10_000_000 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.round(bytes / 1e6)} MB`;
}

/** @param {string} url */
function showWaiting(url) {
  const template = element("waiting-view", HTMLTemplateElement);
  const content = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const preview = content.querySelector("[data-preview]");
  if (preview instanceof HTMLImageElement) preview.src = url;
  host().replaceChildren(content);
  scrollTo(0, 0);
}

/** @param {string | undefined} before */
function restore(before) {
  if (before === undefined) return;
  const template = document.createElement("template");
  template.innerHTML = before;
  exchange(template.content);
}

/**
 * @param {Response} answer
 * @param {File} file
 * @param {string} url
 */
function remember(answer, file, url) {
  const address = answer.headers.get("HX-Push-Url");
  const upload = (address && new URL(address, location.href).searchParams.get("upload")) || UNKEPT;
  sent.set(upload, { file, url });
  for (const [id, old] of sent) {
    if (sent.size <= MOST_SENT) break;
    URL.revokeObjectURL(old.url);
    sent.delete(id);
  }
}

/** Send an expired picture again, if this page still has it, with the current filters. */
function sendAgain() {
  const again = sent.get(present().get("upload") ?? "");
  if (!again) return false;
  void searchWith(again.file);
  return true;
}

function takeDrops() {
  const veil = element(document.querySelector("[data-veil]"), HTMLElement);
  let depth = 0;
  let own = false; // a picture of this page is being dragged
  const brings = (/** @type {DragEvent} */ event) => !own && (event.dataTransfer?.types.includes("Files") ?? false);
  const cover = (/** @type {boolean} */ on) => {
    veil.hidden = !on;
    if (!on) depth = 0;
  };
  addEventListener("dragstart", () => (own = true));
  addEventListener("dragend", () => (own = false));
  addEventListener("dragenter", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    depth += 1;
    cover(true);
  });
  addEventListener("dragover", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("dragleave", (event) => {
    if (!brings(event)) return;
    depth -= 1;
    if (depth <= 0) cover(false);
  });
  addEventListener("drop", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    cover(false);
    clearNotice();
    const file = event.dataTransfer?.files[0];
    if (file) searchWith(file);
  });
}

/**
 * @template {Element} T
 * @param {string | Element | null} wanted an id or an element
 * @param {new () => T} kind
 * @returns {T}
 */
function element(wanted, kind) {
  const found = typeof wanted === "string" ? document.getElementById(wanted) : wanted;
  if (!(found instanceof kind)) throw new Error(`the page lacks ${wanted}`);
  return found;
}
