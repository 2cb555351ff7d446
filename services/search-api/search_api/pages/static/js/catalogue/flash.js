// A message that the next page shows, for what ends with going there.

import { toast } from "../toast.js";

const KEY = "vitrine-flash";

/**
 * Go to a page that says something.
 * @param {string} text
 * @param {string} address
 */
export function leaveSaying(text, address) {
  try {
    sessionStorage.setItem(KEY, text);
  } catch {
    // Without storage the page itself shows what has changed.
  }
  const target = new URL(address, location.href);
  if (target.href === location.href) location.reload();
  else location.assign(target);
}

/** Show the message of the page before. */
export function sayWhatCame() {
  try {
    const text = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    if (text) toast(text, { kind: "good" });
  } catch {
    // As above.
  }
}
