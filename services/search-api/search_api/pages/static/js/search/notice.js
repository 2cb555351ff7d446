// An error above the results, with an action. If waiting helps, the request is retried after a countdown.

/** @typedef {{retryS?: number, repeat?: () => void, giveUp?: () => void}} Again */

/** @type {ReturnType<typeof setInterval> | undefined} */
let counting;

/** Remove the notice and stop waiting. */
export function clearNotice() {
  clearInterval(counting);
  counting = undefined;
  region().replaceChildren();
}

/** Remove a notice without a countdown. Returns whether there was one. */
export function dismissNotice() {
  const there = counting === undefined && region().hasChildNodes();
  if (there) clearNotice();
  return there;
}

/**
 * Show a notice with this text.
 * @param {string} text
 * @param {Again} [again]
 */
export function notice(text, again = {}) {
  const note = document.createElement("div");
  note.className = "note bad";
  const words = document.createElement("p");
  words.textContent = text;
  note.append(words);
  showNotice(note, again);
}

/**
 * Show a note. With `retryS`, `repeat` is called after so many seconds, or at once by the note's button.
 * @param {Element} note
 * @param {Again} [again]
 */
export function showNotice(note, { retryS, repeat, giveUp } = {}) {
  clearNotice();
  const shown = document.createElement("span");
  note.querySelector("[data-countdown]")?.remove();
  if (retryS && repeat) {
    note.querySelector("p")?.append(" ", shown);
    note.append(button("Try now", () => (clearNotice(), repeat())));
    if (giveUp) note.append(button("Stop", () => (clearNotice(), giveUp())));
    countDown(shown, retryS, () => (clearNotice(), repeat()));
  } else {
    const dismiss = button("Dismiss", clearNotice);
    dismiss.classList.add("quiet");
    note.append(dismiss);
  }
  region().replaceChildren(note);
}

/**
 * @param {HTMLElement} shown
 * @param {number} seconds
 * @param {() => void} done
 */
function countDown(shown, seconds, done) {
  const read = document.createElement("span");
  read.className = "visually-hidden";
  read.textContent = "Trying by itself in a few seconds.";
  const seen = document.createElement("span");
  // Announced once; a screen reader would otherwise read every second.
  seen.setAttribute("aria-hidden", "true");
  shown.append(read, seen);
  let left = seconds;
  const tell = () => (seen.textContent = `Trying by itself in ${left} s…`);
  tell();
  counting = setInterval(() => {
    left -= 1;
    if (left > 0) tell();
    else done();
  }, 1000);
}

/** @returns {HTMLElement} */
function region() {
  const found = document.querySelector("[data-notice]");
  if (!(found instanceof HTMLElement)) throw new Error("the page has no place for notices");
  return found;
}

/**
 * @param {string} label
 * @param {() => void} run
 */
function button(label, run) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "button small";
  made.textContent = label;
  made.addEventListener("click", run);
  return made;
}
