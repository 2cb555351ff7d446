"""Watches a browser page for errors of the console and of scripts, requests that fail or leave the tested host,
violations of the Content-Security-Policy, native dialogs, and layout shifts.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Error, Page, Request, Response, WebError

MAX_SHIFT: Final = 0.02
_LOCAL_SCHEMES: Final = {"about", "blob", "data"}
# A request that the page aborted: a search replaced by a newer one, or a stream on a page that was left.
_ABORTED: Final = "net::ERR_ABORTED"
_FAILED_LOAD: Final = "Failed to load resource"
# The browser requests the icon once without being asked. A missing icon would fail the first test of a run.
_ICON: Final = "/favicon.ico"
_REPORTER: Final = """
(() => {
  const about = {path: location.pathname, page: performance.timeOrigin};
  const report = (kind, facts) => window.__report({kind, ...about, ...facts});
  addEventListener("securitypolicyviolation", (event) =>
    report("csp", {directive: event.effectiveDirective, blocked: event.blockedURI, sample: event.sample}));
  const named = (node) => {
    const element = node && (node.nodeType === 1 ? node : node.parentElement);
    if (!element) return "a removed element";
    const id = element.id ? "#" + element.id : "";
    return element.localName + id + [...element.classList].map((name) => "." + name).join("");
  };
  const place = (box) => [box.x, box.y, box.width, box.height].map(Math.round).join(" ");
  const take = (entries) => entries.filter((entry) => !entry.hadRecentInput).forEach((entry) => {
    const moved = entry.sources.map(
      (one) => named(one.node) + " (" + place(one.previousRect) + " to " + place(one.currentRect) + ")");
    report("shift", {value: entry.value, moved: moved.join(", ")});
  });
  const observer = new PerformanceObserver((list) => take(list.getEntries()));
  observer.observe({type: "layout-shift", buffered: true});
  window.__reportRest = () => take(observer.takeRecords());
})();
"""
# Two frames, so that the last change of a script is laid out. A page that draws no frames has no shifts.
_REPORT_REST: Final = """async () => {
  const frame = () => new Promise((drawn) => requestAnimationFrame(drawn));
  await Promise.race([frame().then(frame), new Promise((late) => setTimeout(late, 2000))]);
  window.__reportRest?.();
}"""


@dataclass(frozen=True, slots=True)
class Expected:
    """A failure that a test provokes: an answer with this status, or no answer if the status is None."""

    path: str
    status: int | None


@dataclass(slots=True)
class Shifts:
    """The layout shifts of one loaded page, without those that follow the user's own input within half a second."""

    path: str
    total: float = 0.0
    moved: list[str] = field(default_factory=list)


class Watch:
    """Records the problems of a context's pages.

    `origin` is the tested host, e.g. `http://127.0.0.1:8000` or `file://`. `max_shift` is the largest total layout
    shift of a page since it was loaded.
    """

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.origin = origin.rstrip("/")
        self.max_shift = MAX_SHIFT
        self.warnings: list[str] = []
        self.requests: list[str] = []
        self._context = context
        self._faults: list[str] = []
        self._console: list[tuple[str, str]] = []
        self._failures: list[tuple[str, int | None, str]] = []
        self._expected: set[Expected] = set()
        self._shifts: dict[float, Shifts] = {}
        context.expose_binding("__report", self._on_report)
        context.add_init_script(_REPORTER)
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("dialog", self._on_dialog)
        context.on("request", self._on_request)
        context.on("requestfailed", self._on_failed)
        context.on("response", self._on_response)

    def expect(self, path: str, status: int | None) -> None:
        """Expect this failure from now on:

        `path` is answered with this status, or not answered if it is None. It must occur at least once.
        """
        self._expected.add(Expected(path, status))

    def faults(self) -> list[str]:
        """Every problem up to now, one per line."""
        for page in self._context.pages:
            self._flush(page)
        recorded, failed = self._sort_failures()
        faults = [*self._faults, *failed]
        for text, url in self._console:
            if not (text.startswith(_FAILED_LOAD) and (url in recorded or urlsplit(url).path == _ICON)):
                faults.append(f"console error: {text} ({url})")
        for shifts in self._shifts.values():
            if shifts.total > self.max_shift:
                moved = "; ".join(shifts.moved)
                faults.append(f"layout shift of {shifts.total:.3f} on {shifts.path}, at most {self.max_shift}: {moved}")
        return faults

    def check(self) -> None:
        """Raise AssertionError with every problem, if there is any."""
        faults = self.faults()
        assert not faults, "\n".join(["the page has faults:", *faults, *(f"(warning: {one})" for one in self.warnings)])

    def _sort_failures(self) -> tuple[set[str], list[str]]:
        """(addresses of all failures, problems).

        A problem is an unexpected failure, or an expected one that did not occur.
        """
        faults, occurred = [], set()
        for url, status, text in self._failures:
            failure = Expected(urlsplit(url).path, status)
            if failure in self._expected:
                occurred.add(failure)
            else:
                faults.append(text)
        for expected in self._expected - occurred:
            wanted = "no answer" if expected.status is None else f"status {expected.status}"
            faults.append(f"{expected.path} was expected to fail with {wanted} and did not")
        return {url for url, _, _ in self._failures}, faults

    def _flush(self, page: Page) -> None:
        """Collect the layout shifts that the browser reports late. A page that is being left has none."""
        with contextlib.suppress(Error):
            page.evaluate(_REPORT_REST)

    def _on_report(self, _source: Any, facts: dict[str, Any]) -> None:
        if facts["kind"] == "csp":
            what = f"{facts['blocked']} {facts['sample']}".strip()
            self._faults.append(f"CSP on {facts['path']}: {facts['directive']} blocked {what}")
            return
        shifts = self._shifts.setdefault(facts["page"], Shifts(facts["path"]))
        shifts.total += facts["value"]
        shifts.moved.append(f"{facts['value']:.3f} {facts['moved']}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._console.append((message.text, message.location.get("url", "")))
        elif message.type == "warning":
            self.warnings.append(message.text)

    def _on_error(self, error: WebError) -> None:
        self._faults.append(f"script error: {error.error.stack or error.error.message}")

    def _on_dialog(self, dialog: Dialog) -> None:
        """A dialog of the page is a problem. Only the browser's own question before leaving is accepted."""
        if dialog.type == "beforeunload":
            dialog.accept()
            return
        self._faults.append(f"native {dialog.type}: {dialog.message}")
        dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)
        inside = request.url == self.origin or request.url.startswith(f"{self.origin}/")
        if not inside and urlsplit(request.url).scheme not in _LOCAL_SCHEMES:
            self._faults.append(f"request to another host: {request.method} {request.url}")

    def _on_failed(self, request: Request) -> None:
        if request.failure != _ABORTED:
            text = f"request failed: {request.method} {request.url}: {request.failure}"
            self._failures.append((request.url, None, text))

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            text = f"answer {response.status}: {response.request.method} {response.url}"
            self._failures.append((response.url, response.status, text))
