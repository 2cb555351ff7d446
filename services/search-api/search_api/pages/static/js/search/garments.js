// The garments in the picture: places their dots, moves among them by keys, and loads them if they came late.

import { home } from "./address.js";
import { exchangePart, onShown, shown } from "./view.js";

const APART_PX = 44; // the size of a dot's target
const ROUNDS = 24;
/** @type {ResizeObserver | undefined} */
let watching;

/** Handle dots and outlines. Called once. */
export function showGarments() {
  onShown(() => {
    watching?.disconnect();
    const dots = document.querySelector("[data-dots]");
    if (dots instanceof HTMLElement) {
      watching = new ResizeObserver(() => place(dots));
      watching.observe(dots);
      place(dots);
    }
    const late = document.querySelector("[data-garments-query]");
    if (late instanceof HTMLElement) void load(late);
  });
  document.addEventListener("click", (event) => {
    const outline = event.target instanceof Element ? event.target.closest("[data-outline]") : null;
    if (!outline) return;
    const dot = document.querySelector(`[data-dot="${CSS.escape(outline.getAttribute("data-outline") ?? "")}"]`);
    if (dot instanceof HTMLElement) dot.click();
  });
  document.addEventListener("keydown", byKeys);
}

/** @param {KeyboardEvent} event */
function byKeys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const dot = event.target instanceof Element ? event.target.closest("[data-dot]") : null;
  if (!(dot instanceof HTMLElement)) return;
  if (event.key === " ") {
    event.preventDefault();
    dot.click();
    return;
  }
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const all = [...document.querySelectorAll("[data-dot]")];
  const next = all[(all.indexOf(dot) + step + all.length) % all.length];
  if (next instanceof HTMLElement) next.focus({ preventScroll: true });
}

/**
 * Put each dot on its garment, where the picture is inside its frame, and dots that would overlap beside each other.
 * @param {HTMLElement} frame
 */
function place(frame) {
  const { width, height } = frame.getBoundingClientRect();
  const ratio = Number(frame.dataset.ratio);
  if (!width || !height || !ratio) return;
  const [wide, high] = [Math.min(width, height * ratio), Math.min(height, width / ratio)];
  const dots = /** @type {HTMLElement[]} */ ([...frame.querySelectorAll("[data-dot]")]);
  const places = dots.map((dot) => ({
    x: (width - wide) / 2 + Number(dot.dataset.x) * wide,
    y: (height - high) / 2 + Number(dot.dataset.y) * high,
  }));
  spread(places, width, height);
  dots.forEach((dot, number) => {
    dot.style.left = `${places[number].x.toFixed(1)}px`;
    dot.style.top = `${places[number].y.toFixed(1)}px`;
  });
  frame.classList.add("placed");
}

/**
 * @param {{x: number, y: number}[]} places
 * @param {number} width
 * @param {number} height
 */
function spread(places, width, height) {
  const half = APART_PX / 2;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let one = 0; one < places.length; one += 1) {
      for (let other = 0; other < one; other += 1) {
        const [a, b] = [places[one], places[other]];
        let [dx, dy] = [a.x - b.x, a.y - b.y];
        if (dx === 0 && dy === 0) dy = 1;
        const distance = Math.hypot(dx, dy);
        if (distance >= APART_PX) continue;
        const push = (APART_PX - distance) / 2 / distance;
        a.x += dx * push;
        a.y += dy * push;
        b.x -= dx * push;
        b.y -= dy * push;
      }
    }
    for (const one of places) {
      one.x = Math.min(Math.max(one.x, half), Math.max(half, width - half));
      one.y = Math.min(Math.max(one.y, half), Math.max(half, height - half));
    }
  }
}

/** Load garments that were not found in time. Without them the page stays as it is. @param {HTMLElement} late */
async function load(late) {
  const query = late.dataset.garmentsQuery ?? "";
  delete late.dataset.garmentsQuery;
  try {
    const answer = await fetch(`${home}search/garments${query}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok) return;
    const template = document.createElement("template");
    template.innerHTML = await answer.text();
    if (!late.isConnected) return;
    for (const part of template.content.querySelectorAll("[data-part]")) exchangePart(/** @type {HTMLElement} */ (part));
    shown();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}
