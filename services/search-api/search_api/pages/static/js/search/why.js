// Why a product matched: the API's heatmaps, drawn over both pictures.

import { home, present } from "./address.js";
import { show as showDialog } from "../dialogs.js";
import { host } from "./view.js";

const GLOW = [255, 92, 40];
const HIGHEST_DVH = 50;
/** @type {AbortController | undefined} */
let asking;

/** Handle the buttons. Called once. */
export function explain() {
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const result = event.target.closest("[data-why]")?.closest("[data-result]");
    if (result instanceof HTMLElement) void explainResult(result);
  });
  part("strength", HTMLInputElement).addEventListener("input", strengthen);
  document.getElementById("why")?.addEventListener("close", () => asking?.abort());
}

/** @param {HTMLElement} result */
export async function explainResult(result) {
  const query = host().querySelector("[data-query-picture]");
  if (!(query instanceof HTMLImageElement)) return;
  asking?.abort();
  const controller = new AbortController();
  asking = controller;
  const pair = part("pair", HTMLElement);
  const fault = part("fault", HTMLElement);
  fault.hidden = true;
  part("name", HTMLElement).textContent = result.querySelector(".tile-name")?.textContent ?? "";
  part("score", HTMLElement).textContent = result.dataset.score ?? "";
  part("rank", HTMLElement).textContent = result.dataset.rank ?? "";
  part("id", HTMLElement).textContent = result.dataset.id ?? "";
  pair.setAttribute("aria-busy", "true");
  const [queryFrame, productFrame] = [part("query", HTMLElement), part("product", HTMLElement)];
  for (const frame of [queryFrame, productFrame]) clear(frame);
  fit(queryFrame, query.src);
  fit(productFrame, (result.querySelector("img")?.src ?? "").replace(/([?&])width=\d+/, "$1width=512"));
  showDialog("why");
  try {
    const answer = await fetch(`${home}api/explain`, {
      method: "POST",
      body: await formOf(result, query),
      signal: controller.signal,
    });
    const found = await answer.json();
    if (controller.signal.aborted) return;
    if (!answer.ok) throw new TypeError(found.detail);
    const region = regionOf(result, query);
    if (region) fit(queryFrame, found.query.picture);
    paint(queryFrame, found.query.heat);
    paint(productFrame, found.product.heat);
    part("score", HTMLElement).textContent = Number(found.score).toFixed(4);
    strengthen();
  } catch (error) {
    if (controller.signal.aborted) return;
    fault.textContent = `This cannot be shown now${error instanceof Error && error.message ? `: ${error.message}` : ""}. Close and try again.`;
    fault.hidden = false;
  } finally {
    if (asking === controller) pair.removeAttribute("aria-busy");
  }
}

/**
 * @param {HTMLElement} result
 * @param {HTMLImageElement} query
 */
async function formOf(result, query) {
  const view = host().querySelector("[data-view]");
  const params = present();
  const body = new FormData();
  body.append("id", result.dataset.id ?? "");
  const dataset = params.get("dataset") ?? view?.getAttribute("data-dataset");
  const model = params.get("model") ?? view?.getAttribute("data-model");
  if (dataset) body.append("dataset", dataset);
  if (model) body.append("model", model);
  const region = regionOf(result, query);
  if (region) body.append("region", region);
  const upload = params.get("upload");
  if (upload) body.append("upload", upload);
  else body.append("image", await (await fetch(query.src.replace(/[?&]width=\d+/, ""))).blob(), "picture");
  return body;
}

/**
 * The box, or the number of the garment, that the result was found with; empty for the whole picture.
 * @param {HTMLElement} result
 * @param {HTMLImageElement} query
 */
function regionOf(result, query) {
  return (result.closest("[data-seen-region]") ?? query.closest("[data-seen-region]"))?.getAttribute("data-seen-region");
}

/**
 * @param {HTMLElement} frame
 * @param {number[][]} heat by row and column
 */
function paint(frame, heat) {
  const canvas = frame.querySelector("canvas");
  const context = canvas?.getContext("2d");
  if (!canvas || !context || !heat.length) return;
  canvas.height = heat.length;
  canvas.width = heat[0].length;
  const most = Math.max(1e-9, ...heat.flat());
  const pixels = context.createImageData(canvas.width, canvas.height);
  heat.flat().forEach((value, place) => {
    pixels.data.set([...GLOW, Math.round(255 * Math.max(0, value / most))], place * 4);
  });
  context.putImageData(pixels, 0, 0);
}

/** @param {HTMLElement} frame */
function clear(frame) {
  const canvas = frame.querySelector("canvas");
  if (canvas) canvas.width = 1;
}

function strengthen() {
  const strength = Number(part("strength", HTMLInputElement).value) / 100;
  for (const canvas of document.querySelectorAll("#why canvas")) {
    /** @type {HTMLElement} */ (canvas).style.opacity = String(strength);
  }
}

/**
 * Show a picture as large as there is room, in a frame of its shape, so that the heat lies where it belongs.
 * @param {HTMLElement} frame
 * @param {string} url
 */
function fit(frame, url) {
  const picture = /** @type {HTMLImageElement} */ (frame.querySelector("img"));
  const shape = () => {
    const ratio = picture.naturalWidth / picture.naturalHeight || 3 / 4;
    frame.style.aspectRatio = String(ratio);
    frame.style.maxWidth = `${(ratio * HIGHEST_DVH).toFixed(2)}dvh`;
  };
  frame.style.aspectRatio = "3 / 4";
  frame.style.maxWidth = `${0.75 * HIGHEST_DVH}dvh`;
  picture.onload = shape;
  picture.src = url;
}

/**
 * @template {Element} T
 * @param {string} name
 * @param {new () => T} kind
 * @returns {T}
 */
function part(name, kind) {
  const found = document.querySelector(`[data-why-${name}]`);
  if (!(found instanceof kind)) throw new Error(`the explanation lacks ${name}`);
  return found;
}
