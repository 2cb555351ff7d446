// The canvas of the map: points in two dimensions, with zoom and pan. It has only positions and colors; names,
// pictures and the handling of selections come from its `hooks`.

const PAD_PX = 28;
const NEAR_PX = 14;
const DRAG_PX = 4;
const MOST_ZOOM = 60;
const CARD_GAP_PX = 14;

/**
 * @typedef {{name: (index: number) => string, value: (index: number) => string, image: (index: number) => string,
 *   open: (index: number) => void, say: (words: string) => void, selected: (indices: number[]) => void}} Hooks
 */

export class Canvas {
  /** @type {[number, number][]} */ #points = [];
  /** @type {string[]} */ #colors = [];
  /** @type {boolean[]} */ #visible = [];
  /** @type {Set<number>} */ #selection = new Set();
  /** @type {Map<number, {x: number, y: number}>} */ #fingers = new Map();
  /** @type {{x: number, y: number}[] | null} */ #loop = null;
  #scale = 1;
  #x = 0;
  #y = 0;
  #current = -1;
  #tapped = -1;
  #lasso = false;
  #moved = 0;
  #waiting = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} card
   * @param {Hooks} hooks
   */
  constructor(canvas, card, hooks) {
    this.canvas = canvas;
    this.card = card;
    this.hooks = hooks;
    new ResizeObserver(() => this.#fit()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#up(event));
    canvas.addEventListener("pointerleave", () => this.#fingers.size || this.#point(-1));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && this.#current < 0 && this.#middle());
    canvas.addEventListener("blur", () => this.#point(-1));
  }

  /** @param {[number, number][]} points from 0 to 1 */
  setPoints(points) {
    this.#points = points;
    this.#point(-1);
    this.draw();
  }

  /** @param {string[]} colors @param {boolean[]} visible */
  setColors(colors, visible) {
    this.#colors = colors;
    this.#visible = visible;
    this.draw();
  }

  /** @param {boolean} lasso whether dragging circles products */
  setLasso(lasso) {
    this.#lasso = lasso;
    this.canvas.classList.toggle("lasso", lasso);
  }

  /** @param {number[]} indices */
  select(indices) {
    this.#selection = new Set(indices);
    this.hooks.selected(indices);
    this.draw();
  }

  /** @param {number} factor */
  zoom(factor) {
    this.#zoomAt(factor, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
  }

  whole() {
    [this.#scale, this.#x, this.#y] = [1, 0, 0];
    this.draw();
  }

  draw() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.#paint();
      this.#place();
    });
  }

  /** @param {number} index @returns {{x: number, y: number}} where a point is, in px of the canvas */
  at(index) {
    const [x, y] = this.#points[index];
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return {
      x: (PAD_PX + x * (width - 2 * PAD_PX)) * this.#scale + this.#x,
      y: (PAD_PX + (1 - y) * (height - 2 * PAD_PX)) * this.#scale + this.#y,
    };
  }

  #fit() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    this.draw();
  }

  #paint() {
    const context = this.canvas.getContext("2d");
    if (!context) return;
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const radius = Math.min(9, (this.#points.length > 4000 ? 2.2 : 3.2) * Math.sqrt(this.#scale));
    const dims = this.#selection.size > 0;
    for (let index = 0; index < this.#points.length; index += 1) {
      if (!this.#visible[index]) continue;
      const { x, y } = this.at(index);
      if (x < -radius || y < -radius || x > width + radius || y > height + radius) continue;
      context.globalAlpha = dims && !this.#selection.has(index) ? 0.25 : 0.9;
      context.fillStyle = this.#colors[index];
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
    const { color, outlineColor } = getComputedStyle(this.canvas);
    if (this.#current >= 0) {
      const { x, y } = this.at(this.#current);
      context.strokeStyle = color;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(x, y, radius + 4, 0, 2 * Math.PI);
      context.stroke();
    }
    if (this.#loop) {
      context.strokeStyle = outlineColor || color;
      context.lineWidth = 2;
      context.setLineDash([6, 4]);
      context.beginPath();
      for (const { x, y } of this.#loop) context.lineTo(x, y);
      context.closePath();
      context.stroke();
      context.setLineDash([]);
    }
  }

  /** @param {number} index -1 for none */
  #point(index) {
    if (index === this.#current) return;
    this.#current = index;
    this.card.hidden = index < 0;
    if (index >= 0) {
      const picture = this.card.querySelector("img");
      const name = this.card.querySelector("[data-map-name]");
      const value = this.card.querySelector("[data-map-value]");
      if (picture) picture.src = this.hooks.image(index);
      if (name) name.textContent = this.hooks.name(index);
      if (value) value.textContent = this.hooks.value(index);
    }
    this.draw();
  }

  #place() {
    if (this.#current < 0) return;
    const { x, y } = this.at(this.#current);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const left = x + CARD_GAP_PX + this.card.offsetWidth > width ? x - CARD_GAP_PX - this.card.offsetWidth : x + CARD_GAP_PX;
    const top = Math.max(8, Math.min(y - 40, height - this.card.offsetHeight - 8));
    this.card.style.transform = `translate(${Math.max(8, left)}px, ${top}px)`;
  }

  /** @param {number} x @param {number} y @returns {number} the nearest point to a place, or -1 */
  #nearest(x, y) {
    let [best, found] = [NEAR_PX * NEAR_PX, -1];
    for (let index = 0; index < this.#points.length; index += 1) {
      if (!this.#visible[index]) continue;
      const at = this.at(index);
      const distance = (at.x - x) ** 2 + (at.y - y) ** 2;
      if (distance < best) [best, found] = [distance, index];
    }
    return found;
  }

  /** @param {number} factor @param {number} x @param {number} y */
  #zoomAt(factor, x, y) {
    const scale = Math.min(MOST_ZOOM, Math.max(0.8, this.#scale * factor));
    const by = scale / this.#scale;
    this.#x = x - (x - this.#x) * by;
    this.#y = y - (y - this.#y) * by;
    this.#scale = scale;
    this.draw();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
    this.#zoomAt(Math.exp(-event.deltaY * lines * 0.0016), event.offsetX, event.offsetY);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button > 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.#moved = 0;
    this.#loop = this.#fingers.size === 1 && (this.#lasso || event.shiftKey) ? [{ x: event.offsetX, y: event.offsetY }] : null;
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.#fingers.get(event.pointerId);
    const now = { x: event.offsetX, y: event.offsetY };
    if (!before) {
      if (event.pointerType !== "touch") this.#point(this.#nearest(now.x, now.y));
      return;
    }
    this.#moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (this.#loop) {
      this.#loop.push(now);
    } else if (this.#fingers.size === 2) {
      const other = [...this.#fingers].find(([id]) => id !== event.pointerId)?.[1] ?? now;
      const [far, farther] = [Math.hypot(before.x - other.x, before.y - other.y), Math.hypot(now.x - other.x, now.y - other.y)];
      this.#x += (now.x - before.x) / 2;
      this.#y += (now.y - before.y) / 2;
      if (far > 0) this.#zoomAt(farther / far, (now.x + other.x) / 2, (now.y + other.y) / 2);
    } else if (this.#moved > DRAG_PX) {
      this.canvas.classList.add("moving");
      this.#x += now.x - before.x;
      this.#y += now.y - before.y;
    }
    this.#fingers.set(event.pointerId, now);
    this.draw();
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (!this.#fingers.delete(event.pointerId)) return;
    this.canvas.classList.remove("moving");
    const loop = this.#loop;
    this.#loop = null;
    if (loop && loop.length > 2 && this.#moved > DRAG_PX) {
      this.select(this.#inside(loop));
    } else if (this.#moved <= DRAG_PX && event.type === "pointerup") {
      const index = this.#nearest(event.offsetX, event.offsetY);
      // Touch has no hover: the first tap shows the card, the second opens the product.
      if (index >= 0 && (event.pointerType !== "touch" || index === this.#tapped)) this.hooks.open(index);
      this.#tapped = index;
      this.#point(index);
    }
    this.draw();
  }

  /** @param {{x: number, y: number}[]} loop @returns {number[]} the visible points in a loop, by the even-odd rule */
  #inside(loop) {
    const found = [];
    for (let index = 0; index < this.#points.length; index += 1) {
      if (!this.#visible[index]) continue;
      const { x, y } = this.at(index);
      let inside = false;
      for (let one = 0, other = loop.length - 1; one < loop.length; other = one, one += 1) {
        const [a, b] = [loop[one], loop[other]];
        if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) inside = !inside;
      }
      if (inside) found.push(index);
    }
    return found;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) this.#step(step[0], step[1]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.4);
    else if (event.key === "-") this.zoom(1 / 1.4);
    else if (event.key === "0") this.whole();
    else if (event.key === "Enter" && this.#current >= 0) this.hooks.open(this.#current);
    else if (event.key === " " && this.#current >= 0) this.#toggle(this.#current);
    else if (event.key === "Escape") this.#point(-1);
    else return;
    event.preventDefault();
  }

  /** @param {number} index */
  #toggle(index) {
    const chosen = new Set(this.#selection);
    if (!chosen.delete(index)) chosen.add(index);
    this.select([...chosen]);
  }

  #middle() {
    this.#keyboardPoint(this.#closest(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2, () => true));
  }

  /** Go to the next product in a direction: near, and not far to the side. @param {number} dx @param {number} dy */
  #step(dx, dy) {
    if (this.#current < 0) {
      this.#middle();
      return;
    }
    const from = this.at(this.#current);
    const ahead = (/** @type {{x: number, y: number}} */ at) => {
      const [along, aside] = dx ? [(at.x - from.x) * dx, at.y - from.y] : [(at.y - from.y) * dy, at.x - from.x];
      return along > 1 && Math.abs(aside) <= along;
    };
    this.#keyboardPoint(this.#closest(from.x, from.y, ahead));
  }

  /** @param {number} x @param {number} y @param {(at: {x: number, y: number}) => boolean} allowed */
  #closest(x, y, allowed) {
    let [best, found] = [Infinity, -1];
    for (let index = 0; index < this.#points.length; index += 1) {
      if (!this.#visible[index] || index === this.#current) continue;
      const at = this.at(index);
      const distance = (at.x - x) ** 2 + (at.y - y) ** 2;
      if (distance < best && allowed(at)) [best, found] = [distance, index];
    }
    return found;
  }

  /** @param {number} index */
  #keyboardPoint(index) {
    if (index < 0) return;
    const { x, y } = this.at(index);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (x < 0 || y < 0 || x > width || y > height) {
      this.#x += width / 2 - x;
      this.#y += height / 2 - y;
    }
    this.#point(index);
    this.hooks.say(`${this.hooks.name(index)}, ${this.hooks.value(index)}`);
  }
}
