// Activate a release, and go back: confirmed by a dialog, done by the JSON API.

import { ask } from "./dialogs.js";
import { fetchPart, replaceContent } from "./refresh.js";
import { toast } from "./toast.js";

/** @param {HTMLElement} button */
async function activate(button) {
  const { release = "", dataset = "", model = "", products = "", previous = "" } = button.dataset;
  const now = previous
    ? `Searches of ${dataset} with ${model} are answered by ${previous} now.`
    : `Nothing answers searches of ${dataset} with ${model} now.`;
  const back = previous ? ` To go back, activate ${previous}: it stays indexed.` : "";
  const agreed = await ask({
    title: `Activate ${release}?`,
    text: `${now} From the next search on ${release} answers them, with ${products} products.${back}`,
    confirm: "Activate",
  });
  if (agreed) await send(button.dataset.activate ?? "", { root: button.dataset.root ?? "", dataset });
}

/**
 * @param {string} address
 * @param {{root: string, dataset: string}} place the address of releases and the dataset, to go back
 */
async function send(address, { root, dataset }) {
  let answer;
  try {
    answer = await fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
  } catch {
    toast("The server cannot be reached. Nothing was changed.", { kind: "bad" });
    return;
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    toast(`Nothing was changed: ${said.detail ?? `the server answered ${answer.status}`}.`, { kind: "bad" });
    return;
  }
  await refresh();
  const words = `${said.release} serves ${said.dataset} now.`;
  const before = said.previous;
  if (!before || said.previousCollection === said.collection) {
    toast(words, { kind: "good" });
    return;
  }
  const collection = encodeURIComponent(said.previousCollection);
  const back = `${root}${before}/activate?dataset=${encodeURIComponent(dataset)}&collection=${collection}`;
  toast(words, { kind: "good", action: { label: "Go back", run: () => void send(back, { root, dataset }) } });
}

async function refresh() {
  const list = document.querySelector("[data-releases]");
  if (!(list instanceof HTMLElement)) {
    location.reload();
    return;
  }
  const html = await fetchPart(list.dataset.releases ?? "");
  if (html !== null) replaceContent(list, html);
}

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element && event.target.closest("[data-activate]");
  if (button instanceof HTMLElement) void activate(button);
});
