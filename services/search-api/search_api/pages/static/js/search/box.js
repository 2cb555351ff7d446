// The box that a shopper draws on the picture. Cropper is loaded on first use.

import { addressOf, forgetPart, present } from "./address.js";
import { go } from "./loader.js";
import { onShown } from "./view.js";

const DIGITS = 4;
const STEP = 0.02; // of the picture, for one press of an arrow key
const FIRST = { x: 0.2, y: 0.15, width: 0.6, height: 0.7 };

/** @typedef {{x: number, y: number, width: number, height: number}} Box in fractions of the picture */

/** @type {Promise<void> | undefined} */
let loaded;
/** @type {any} */
let cropper;
/** @type {HTMLElement | undefined} */
let framed;

/** Handle the button, and show the box of the URL. Called once. */
export function drawBox() {
  document.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("[data-part-of]")) void toggleBox();
  });
  onShown((shown) => {
    const frame = shown.querySelector("[data-box]");
    if (framed && frame !== framed) removeBox();
    if (!(frame instanceof HTMLElement)) return;
    const region = parse(frame.dataset.region ?? "");
    if (region && cropper && !same(region, shownBox())) place(region);
    else if (region && !cropper) void openBox(frame, region);
    else if (!region && cropper && !parse(present().get("region") ?? "")) removeBox();
  });
}

async function toggleBox() {
  const frame = document.querySelector("[data-box]");
  if (!(frame instanceof HTMLElement)) return;
  if (!cropper) {
    await openBox(frame, parse(frame.dataset.region ?? "") ?? FIRST);
    search();
    return;
  }
  removeBox();
  const params = present();
  if (!params.has("region")) return;
  forgetPart(params);
  void go(addressOf(params));
}

/**
 * @param {HTMLElement} frame
 * @param {Box} box
 */
async function openBox(frame, box) {
  const picture = frame.querySelector("img");
  if (!picture || framed === frame) return;
  framed = frame;
  await (loaded ??= loadCropper());
  await picture.decode().catch(() => undefined);
  if (framed !== frame || !frame.isConnected) return;
  const Cropper = /** @type {any} */ (window).Cropper;
  await new Promise((/** @type {(value?: unknown) => void} */ ready) => {
    cropper = new Cropper(picture, {
      viewMode: 1,
      dragMode: "crop",
      autoCropArea: 0.6,
      background: false,
      center: false,
      guides: false,
      movable: false,
      rotatable: false,
      scalable: false,
      zoomable: false,
      toggleDragModeOnDblclick: false,
      checkCrossOrigin: false,
      checkOrientation: false,
      minCropBoxWidth: 24,
      minCropBoxHeight: 24,
      cropend: search,
      ready,
    });
  });
  place(box);
  const handle = frame.querySelector(".cropper-crop-box");
  if (!(handle instanceof HTMLElement)) return;
  handle.tabIndex = 0;
  handle.setAttribute("role", "group");
  handle.setAttribute("aria-label", "Part to search with. Arrow keys move it, with Shift they change its size.");
  handle.addEventListener("keydown", byKeys);
}

function removeBox() {
  cropper?.destroy();
  cropper = undefined;
  framed = undefined;
}

/** @param {KeyboardEvent} event */
function byKeys(event) {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const box = shownBox();
  if (!step || !box) return;
  event.preventDefault();
  event.stopPropagation();
  const [dx, dy] = step.map((one) => one * STEP);
  place(event.shiftKey ? { ...box, width: box.width + dx, height: box.height + dy } : { ...box, x: box.x + dx, y: box.y + dy });
  clearTimeout(pressed);
  pressed = setTimeout(search, 400); // after the last of several presses
}
/** @type {ReturnType<typeof setTimeout> | undefined} */
let pressed;

function search() {
  const box = shownBox();
  if (!box) return;
  const text = [box.x, box.y, box.width, box.height].map((one) => Number(one.toFixed(DIGITS))).join(",");
  const params = present();
  if (params.get("region") === text) return;
  forgetPart(params);
  params.set("region", text);
  void go(addressOf(params));
}

/** @param {Box} box */
function place(box) {
  const { naturalWidth: wide, naturalHeight: high } = cropper.getImageData();
  const [x, y] = [within(box.x, 0, 1), within(box.y, 0, 1)];
  cropper.setData({
    x: x * wide,
    y: y * high,
    width: within(box.width, 0.05, 1 - x) * wide,
    height: within(box.height, 0.05, 1 - y) * high,
    rotate: 0,
    scaleX: 1,
    scaleY: 1,
  });
}

/** @returns {Box | undefined} */
function shownBox() {
  if (!cropper) return undefined;
  const { naturalWidth: wide, naturalHeight: high } = cropper.getImageData();
  const data = cropper.getData();
  const x = within(data.x / wide, 0, 1);
  const y = within(data.y / high, 0, 1);
  return { x, y, width: within(data.width / wide, 0, 1 - x), height: within(data.height / high, 0, 1 - y) };
}

/**
 * @param {string} text
 * @returns {Box | undefined}
 */
function parse(text) {
  const [x, y, width, height] = text.split(",").map(Number);
  return [x, y, width, height].every(Number.isFinite) && text ? { x, y, width, height } : undefined;
}

/**
 * @param {Box} one
 * @param {Box | undefined} other
 */
function same(one, other) {
  const near = (/** @type {number} */ a, /** @type {number} */ b) => Math.abs(a - b) < 0.01;
  return (
    other !== undefined &&
    near(one.x, other.x) && near(one.y, other.y) && near(one.width, other.width) && near(one.height, other.height)
  );
}

/**
 * @param {number} value
 * @param {number} least
 * @param {number} most
 */
function within(value, least, most) {
  return Math.min(Math.max(value, least), Math.max(least, most));
}

/** @returns {Promise<void>} */
function loadCropper() {
  const chooser = document.querySelector("[data-chooser]");
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = chooser?.getAttribute("data-cropper-style") ?? "";
  const script = document.createElement("script");
  script.src = chooser?.getAttribute("data-cropper") ?? "";
  const done = [style, script].map(
    (one) =>
      new Promise((resolve, reject) => {
        one.addEventListener("load", resolve);
        one.addEventListener("error", () => reject(new TypeError("the box cannot be loaded")));
      }),
  );
  document.head.append(style, script);
  return Promise.all(done).then(() => undefined);
}
