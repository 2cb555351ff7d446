// A range with two handles: two sliders on one track that cannot pass each other.

/** Handle the sliders. Called once. */
export function followRanges() {
  document.addEventListener("input", (event) => {
    const range = event.target instanceof HTMLInputElement && event.target.closest("[data-range]");
    if (range) draw(range, /** @type {HTMLInputElement} */ (event.target));
  });
}

/** Draw the ranges that were just added to the page. @param {ParentNode} shown */
export function drawRanges(shown) {
  for (const range of shown.querySelectorAll("[data-range]")) draw(range);
}

/**
 * @param {Element} range
 * @param {HTMLInputElement} [moved]
 */
function draw(range, moved) {
  const [low, high] = /** @type {HTMLInputElement[]} */ ([...range.querySelectorAll("input")]);
  if (Number(low.value) > Number(high.value)) {
    if (moved === low) low.value = high.value;
    else high.value = low.value;
  }
  const [least, greatest] = [Number(low.min), Number(low.max)];
  const share = (/** @type {string} */ value) => ((Number(value) - least) / (greatest - least)) * 100;
  const fill = range.querySelector("[data-fill]");
  if (fill instanceof HTMLElement) {
    fill.style.insetInlineStart = `${share(low.value)}%`;
    fill.style.insetInlineEnd = `${100 - share(high.value)}%`;
  }
  // If both are at the upper end only the lower one can move, so it is on top.
  low.classList.toggle("on-top", share(low.value) > 50);
  for (const [name, input] of /** @type {[string, HTMLInputElement][]} */ ([["low", low], ["high", high]])) {
    const told = range.querySelector(`[data-${name}]`);
    if (told) told.textContent = shown(input);
  }
}

/** @param {HTMLInputElement} input */
function shown(input) {
  return input.step === "1" ? input.value : String(Number(Number(input.value).toPrecision(4)));
}
