"""Latency and transfer size of the search page.

Gives pictures to the search page of a running system in headless Chromium, one after another, and measures the time
from the file's arrival in the page to the frame that shows the first result's picture. Each picture is also posted to
`/api/search`: its round trip, and the time that the API reports. The order of the two alternates. Also reports the
bytes transferred for HTML, CSS and scripts, when the page opens and after the first picture.

    python -m benchmarks.page --pictures DIR [--url http://127.0.0.1:8000] [--drops 100] [--width 1280]
        [--dataset D] [--model M]

The page takes a file in `input[type=file][name=image]` and marks its first result with `data-result`. The API key is
read from VITRINE_API_KEY.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx
from playwright.sync_api import BrowserContext, Error, Page, Response

from benchmarks.pictures import SEED, pictures_below
from benchmarks.tables import head, quantiles, row
from tools.chromium import Look, new_context, open_chromium, wait_settled

FRACTIONS: Final = (0.5, 0.95)
KINDS: Final = {"document": "HTML", "stylesheet": "CSS", "script": "JavaScript"}
ALLOWED_KB: Final = 100.0
ALLOWED_ABOVE_MS: Final = 60.0
WARM_UP: Final = 5
FIELD: Final = "input[type=file][name=image]"
# The file's arrival and the painted result may be in two documents, so both times are kept in the tab's session
# storage, in milliseconds since 1970. A message posted in a frame is handled after the frame is drawn.
CLOCK: Final = """(() => {
  const now = () => performance.timeOrigin + performance.now();
  const started = () => sessionStorage.getItem("began");
  const begin = (event) => {
    if (event.type === "drop" || event.target.matches?.("input[type=file]")) {
      sessionStorage.removeItem("painted");
      sessionStorage.setItem("began", String(now()));
    }
  };
  for (const kind of ["change", "drop"]) addEventListener(kind, begin, {capture: true});
  const drawn = () => new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  }));
  let looking = false;
  const look = async () => {
    const result = document.querySelector("[data-result]");
    const picture = result && (result.matches("img") ? result : result.querySelector("img"));
    if (looking || !picture || !started() || sessionStorage.getItem("painted")) return;
    looking = true;
    try {
      await picture.decode();
      await drawn();
      if (picture.isConnected) sessionStorage.setItem("painted", String(now()));
    } catch { requestAnimationFrame(look); /* replaced while it loaded */ }
    looking = false;
  };
  new MutationObserver(look).observe(document, {subtree: true, childList: true, attributes: true});
})();"""
PAINTED: Final = "() => sessionStorage.getItem('painted')"
TOOK_MS: Final = "() => Number(sessionStorage.getItem('painted')) - Number(sessionStorage.getItem('began'))"


@dataclass(slots=True)
class Times:
    """Milliseconds, one value per picture. `failed` counts pictures without a result on the page."""

    page: list[float] = field(default_factory=list)
    round_trip: list[float] = field(default_factory=list)
    api: list[float] = field(default_factory=list)
    failed: int = 0


class Weight:
    """Compressed bytes transferred per kind of file. Each URL counts once."""

    def __init__(self, context: BrowserContext) -> None:
        self._answers: dict[str, Response] = {}
        context.on("response", self._on_response)

    def kilobytes(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for answer in list(self._answers.values()):
            if kind := KINDS.get(answer.request.resource_type):
                found[kind] += answer.request.sizes()["responseBodySize"]
        return Counter({kind: count / 1000 for kind, count in found.items()})

    def _on_response(self, response: Response) -> None:
        self._answers.setdefault(response.url, response)


def main() -> int:
    arguments = parse_arguments()
    chosen = random.Random(SEED).choices(pictures_below(arguments.pictures), k=arguments.drops + WARM_UP)
    key = os.environ.get("VITRINE_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    look = Look("light", arguments.width)
    with open_chromium() as browser, httpx.Client(base_url=arguments.url, headers=headers, timeout=60) as api:
        context = new_context(browser, look)
        context.set_extra_http_headers(headers)
        context.add_init_script(CLOCK)
        context.set_default_timeout(arguments.timeout_s * 1000)
        weight = Weight(context)
        page = context.new_page()
        bench = Bench(page, api, arguments)
        page.goto(bench.address)
        wait_settled(page, timeout_ms=arguments.timeout_s * 1000)
        opened = weight.kilobytes()
        first = bench.drop(chosen[0])
        wait_settled(page, timeout_ms=arguments.timeout_s * 1000)
        searched = weight.kilobytes()
        if first is None:
            raise SystemExit(f"no element with data-result appeared on {bench.address} for {chosen[0].name}")
        times = bench.run(chosen[1:])
    print(
        f"{arguments.drops} pictures on a page of {look.width_px} px, {os.cpu_count()} cores shared with the browser\n"
    )
    print(time_table(times))
    print(weight_table(opened, searched))
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=os.environ.get("VITRINE_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--pictures", type=Path, required=True, help="folder of pictures to search with")
    parser.add_argument("--drops", type=int, default=100, help="number of pictures to measure (default: 100)")
    parser.add_argument("--width", type=int, default=1280, metavar="PX", help="the page's width (default: 1280)")
    parser.add_argument("--dataset")
    parser.add_argument("--model")
    parser.add_argument("--timeout-s", type=float, default=30, help="longer searches count as failed (default: 30)")
    return parser.parse_args()


class Bench:
    """Measures one picture at a time, on the page and at the API."""

    def __init__(self, page: Page, api: httpx.Client, arguments: argparse.Namespace) -> None:
        self._page = page
        self._api = api
        self._timeout_ms = arguments.timeout_s * 1000
        options = {"dataset": arguments.dataset, "model": arguments.model}
        self._options = {name: value for name, value in options.items() if value}
        self.address = f"{arguments.url}/{'?' if self._options else ''}{urlencode(self._options)}"

    def run(self, pictures: Sequence[Path]) -> Times:
        times = Times()
        for number, picture in enumerate(pictures):
            on_page = self.drop(picture) if number % 2 else None
            round_trip, api = self.post(picture)
            on_page = on_page if number % 2 else self.drop(picture)
            if number < WARM_UP - 1:
                continue
            if on_page is None:
                times.failed += 1
                continue
            times.page.append(on_page)
            times.round_trip.append(round_trip)
            times.api.append(api)
        return times

    def drop(self, picture: Path) -> float | None:
        """Milliseconds from the file's arrival in the empty page to the painted first result; None if there is none."""
        self._page.goto(self.address)
        wait_settled(self._page, timeout_ms=self._timeout_ms)
        self._page.evaluate("() => sessionStorage.clear()")
        self._page.locator(FIELD).first.set_input_files(picture)
        try:
            self._page.wait_for_function(PAINTED, timeout=self._timeout_ms)
        except Error:
            return None
        took_ms: float = self._page.evaluate(TOOK_MS)
        return took_ms

    def post(self, picture: Path) -> tuple[float, float]:
        """(round trip, time reported by the API) of a search with the picture, in milliseconds."""
        data = picture.read_bytes()
        started_s = time.perf_counter()
        answer = self._api.post("/api/search", files={"image": data}, data=self._options)
        took_ms = (time.perf_counter() - started_s) * 1e3
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return took_ms, float(found["tookMs"]["total"])


def time_table(times: Times) -> str:
    above = [on_page - api for on_page, api in zip(times.page, times.api, strict=True)]
    rows = {
        "drop to first painted result": times.page,
        "API, round trip": times.round_trip,
        "API, its own time": times.api,
        f"the page above the API's own time (at most {ALLOWED_ABOVE_MS:.0f})": above,
    }
    lines = [head("milliseconds", "p50", "p95", "failed")]
    for name, values in rows.items():
        lines.append(row(name, *quantiles(values, *FRACTIONS), times.failed if values is times.page else ""))
    return "\n".join(lines) + "\n"


def weight_table(opened: Counter[str], searched: Counter[str]) -> str:
    lines = [head(f"compressed kB (at most {ALLOWED_KB:.0f})", "page opened", "after the first picture")]
    lines += [row(kind, f"{opened[kind]:.1f}", f"{searched[kind]:.1f}") for kind in KINDS.values()]
    lines.append(row("all", f"{opened.total():.1f}", f"{searched.total():.1f}"))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
