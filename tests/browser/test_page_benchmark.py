"""The benchmark of the page, on a page of which everything is known: what it takes and what it weighs."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.releases import picture
from harness.waiting import HUNG_AFTER_S

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]
SEARCH_S = 0.05
HTML = b"<!doctype html><title>Page</title><link rel=stylesheet href=/page.css><script src=/page.js defer></script>"
FORM = b"<input type=file name=image><main></main>"
CSS = b"main { color: black } " * 2000
# The first picture it shows is replaced by another, as a page may do with a placeholder.
SCRIPT = b"""
document.querySelector("input").addEventListener("change", async (event) => {
  const form = new FormData();
  form.append("image", event.target.files[0]);
  await fetch("/api/search", {method: "POST", body: form});
  await import("/more.js");
  document.querySelector("main").innerHTML = "<a data-result><img src=/broken.jpg></a>";
  setTimeout(() => document.querySelector("main").innerHTML = "<a data-result><img src=/product.jpg></a>");
});
"""
MORE = b"/* what only a search needs */" * 500


class Shown(BaseHTTPRequestHandler):
    """A search page and a search that takes 50 ms and says that it took 20."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answers = {
            "/": ("text/html", gzip.compress(HTML + FORM)),
            "/page.css": ("text/css", gzip.compress(CSS)),
            "/page.js": ("text/javascript", gzip.compress(SCRIPT)),
            "/more.js": ("text/javascript", gzip.compress(MORE)),
            "/product.jpg": ("image/jpeg", gzip.compress(picture(1))),
        }
        self._answer(*answers.get(self.path, ("text/plain", gzip.compress(b"nothing"))))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(SEARCH_S)  # the time that is measured
        self._answer("application/json", gzip.compress(json.dumps({"tookMs": {"total": 20.0}}).encode()))

    def _answer(self, media_type: str, data: bytes) -> None:
        self.send_response(200)
        for name, value in (("Type", media_type), ("Encoding", "gzip"), ("Length", str(len(data)))):
            self.send_header(f"Content-{name}", value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def url(chromium: None) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Shown) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_page_is_timed_until_the_picture_is_there_and_weighed_as_it_travels(url: str, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(picture(number))
    command = [sys.executable, "-m", "benchmarks.page", "--url", url, "--pictures", str(tmp_path), "--drops", "6"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True, timeout=HUNG_AFTER_S, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if "|" in line]
    told = {row[0]: row[1:] for row in rows}
    p50_ms, p95_ms, failed = told["drop to first painted result"]
    assert SEARCH_S * 1e3 < float(p50_ms) <= float(p95_ms)
    assert failed == "0"
    assert float(told["API, round trip"][0]) > SEARCH_S * 1e3
    assert told["API, its own time"][:2] == ["20.0", "20.0"]
    (above,) = (cells for name, cells in told.items() if name.startswith("the page above"))
    assert float(above[0]) > SEARCH_S * 1e3 - 20
    html, css, script, more = (len(gzip.compress(text)) / 1000 for text in (HTML + FORM, CSS, SCRIPT, MORE))
    assert told["HTML"] == [f"{html:.1f}"] * 2
    assert told["CSS"] == [f"{css:.1f}"] * 2
    assert told["JavaScript"] == [f"{script:.1f}", f"{script + more:.1f}"]
