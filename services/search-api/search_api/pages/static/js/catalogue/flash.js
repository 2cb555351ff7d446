// A message that the next page shows, for actions that end with a navigation.

import { toast } from "../toast.js";

const KEY = "vitrine-flash";

/**
 * Go to a page that then shows a message.
 * @param {string} text
 * @param {string} address
 */
export function leaveSaying(text, address) {
  try {
    sessionStorage.setItem(KEY, text);
  } catch {
    // Without storage there is no message.
  }
  const target = new URL(address, location.href);
  if (target.href === location.href) location.reload();
  else location.assign(target);
}

/** Show the message of the previous page. */
export function sayWhatCame() {
  try {
    const text = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    if (text) toast(text, { kind: "good" });
  } catch {
    // As above.
  }
}
