// Short messages at the edge of the window. They are announced, and disappear unless they are errors, hovered or focused.

const SHOWN_MS = 6000;

/**
 * Show a message.
 * @param {string} text shown as text, never as HTML
 * @param {{kind?: "plain" | "good" | "doubtful" | "bad", action?: {label: string, run: () => void}}} [options]
 * @returns {() => void} removes the message
 */
export function toast(text, { kind = "plain", action } = {}) {
  const region = document.getElementById("toasts");
  if (!region) return () => {};
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  const words = document.createElement("p");
  words.textContent = text;
  box.append(words);

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const close = () => {
    clearTimeout(timer);
    box.remove();
    if (!region.hasChildNodes()) region.hidePopover?.();
  };
  const wait = () => {
    clearTimeout(timer);
    if (kind !== "bad" && !action) timer = setTimeout(close, SHOWN_MS);
  };
  if (action) box.append(button(action.label, "button small quiet", () => (close(), action.run())));
  const dismiss = button("✕", "button small quiet icon", close);
  dismiss.setAttribute("aria-label", "Dismiss");
  box.append(dismiss);
  box.addEventListener("pointerenter", () => clearTimeout(timer));
  box.addEventListener("focusin", () => clearTimeout(timer));
  box.addEventListener("pointerleave", wait);
  box.addEventListener("focusout", wait);

  // Showing a popover again moves it above a dialog that was opened meanwhile.
  if (region.matches(":popover-open")) region.hidePopover();
  region.showPopover?.();
  region.append(box);
  wait();
  return close;
}

/**
 * @param {string} label
 * @param {string} classes
 * @param {() => void} run
 */
function button(label, classes, run) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = classes;
  made.textContent = label;
  made.addEventListener("click", run);
  return made;
}
