// A job's page follows the job by server-sent events, each with the record. They extend the log and the charts; the rest
// is reloaded as HTML, at most twice a second. A lost connection is shown and retried.

import { askBeforeSending } from "./asks.js";
import { showSeries } from "./curves.js";
import { fetchPart, replaceContent } from "./refresh.js";

const STATES = ["queued", "running", "succeeded", "failed", "cancelled"];
const LIVE_EVERY_MS = 500;
const RETRY_MS = 3000;
const SILENT_MS = 1500; // the browser reconnects by itself, so a short gap is not shown

const page = document.querySelector("[data-job]");
const log = document.querySelector("[data-log]");
const toEnd = document.querySelector("[data-log-end]");
const lost = document.querySelector("[data-lost]");
const curveList = document.querySelector("[data-curve-list]");
/** @type {Map<string, import("./curves.js").Curve>} */
const curves = new Map();
let noted = log?.querySelectorAll(".log-line").length ?? 0;
let lastNote = "";
let follows = true;

askBeforeSending();

/** @param {{at: string, text: string}[]} notes */
function showNotes(notes) {
  if (!(log instanceof HTMLElement)) return;
  const newest = notes.at(-1);
  const mark = newest ? newest.at + newest.text : "";
  // The middle of a long log is left out, so its length does not show whether there is something new.
  if (notes.length === noted && (mark === lastNote || lastNote === "")) {
    lastNote = mark;
    return;
  }
  const fresh = notes.length > noted ? notes.slice(noted) : notes;
  if (fresh === notes) for (const line of log.querySelectorAll(".log-line")) line.remove();
  for (const { at, text } of fresh) {
    const line = document.createElement("div");
    line.className = "log-line";
    const time = document.createElement("time");
    time.className = "faint";
    time.dateTime = at;
    time.textContent = at.slice(11, 19);
    line.append(time, ` ${text}`);
    log.append(line);
  }
  noted = notes.length;
  lastNote = mark;
  log.querySelector("[data-log-empty]")?.toggleAttribute("hidden", noted > 0);
  if (follows) log.scrollTop = log.scrollHeight;
}

log?.addEventListener("scroll", () => {
  follows = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  toEnd?.toggleAttribute("hidden", follows);
});
toEnd?.addEventListener("click", () => {
  if (log) log.scrollTop = log.scrollHeight;
});
if (log) log.scrollTop = log.scrollHeight;

let due = false;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let silence;
let asking = false;

/** @param {string} html parts, each for the element that takes it */
function showParts(html) {
  const parts = document.createElement("template");
  parts.innerHTML = html;
  for (const part of parts.content.querySelectorAll("[data-part]")) {
    const name = part instanceof HTMLElement ? part.dataset.part : "";
    const target = document.querySelector(`[data-takes="${name}"]`);
    if (target instanceof HTMLElement) replaceContent(target, part.innerHTML);
  }
}

async function refreshLive() {
  if (!(page instanceof HTMLElement)) return;
  if (asking || silence !== undefined) {
    due = true; // after the current request, or once the connection is back
    return;
  }
  asking = true;
  const html = await fetchPart(page.dataset.address ?? "");
  if (html !== null) showParts(html);
  setTimeout(() => {
    asking = false;
    if (due) again();
  }, LIVE_EVERY_MS);
}

function again() {
  due = false;
  void refreshLive();
}

/** @param {{series?: Record<string, {points: [number, number][]}>, notes?: {at: string, text: string}[]}} record */
function showRecord(record) {
  showNotes(record.notes ?? []);
  const series = record.series ?? {};
  if (curveList instanceof HTMLElement && Object.keys(series).length) {
    curveList.querySelector("[data-curves-empty]")?.remove();
    showSeries(curveList, curves, series, "epoch");
  }
}

function connected() {
  clearTimeout(silence);
  silence = undefined;
  lost?.toggleAttribute("hidden", true);
  if (due && !asking) again();
}

function disconnected() {
  silence ??= setTimeout(() => lost?.toggleAttribute("hidden", false), SILENT_MS);
}

function follow() {
  if (!(page instanceof HTMLElement)) return;
  const source = new EventSource(page.dataset.events ?? "");
  source.addEventListener("open", connected);
  for (const state of STATES) {
    source.addEventListener(state, (event) => {
      connected();
      showRecord(JSON.parse(event.data));
      void refreshLive();
    });
  }
  source.addEventListener("end", (event) => {
    const { reason } = JSON.parse(event.data);
    if (reason === "finished" || reason === "gone") source.close();
  });
  source.addEventListener("error", () => {
    disconnected();
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS); // the answer was not a stream
  });
}

async function start() {
  if (!(page instanceof HTMLElement)) return;
  if (!["succeeded", "failed", "cancelled"].includes(page.dataset.state ?? "")) {
    follow();
    return;
  }
  // The job has ended: its record is read once, for the charts.
  const answer = await fetch(page.dataset.record ?? "");
  if (answer.ok) showRecord((await answer.json()).job);
}

void start();
