"""The watch over a page sees each kind of fault on a page that has it, and none on a page without."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser

from harness.accessibility import accessibility_findings
from harness.browser import Visit, every_look
from tools.chromium import Look

STRICT = "default-src 'none'; script-src 'self'; img-src * data:; connect-src 'self'; style-src 'self'"
SOUND = """<!doctype html><html lang='en'><meta name=viewport content='width=device-width'><title>Sound</title>
<main><h1>Sound</h1>{}</main></html>"""
SCRIPTS = {
    "/error.js": "nothing.is.there",
    "/console.js": "console.error('a bad thing')",
    "/alert.js": "alert('hello')",
    "/missing.js": "fetch('/api/search').then(() => document.body.ariaLabel = 'done')",
    "/lost.js": "fetch('/lost').catch(() => document.body.ariaLabel = 'done')",
    "/abroad.js": "new Image().src = 'http://192.0.2.1/x.png'; new Image().src = 'http://example.org/x.png'",
    "/given-up.js": "const by = new AbortController(); fetch('/x', {signal: by.signal}).catch(() => 0); by.abort()",
    "/nothing.js": "",
    "/shift.js": """requestAnimationFrame(() => requestAnimationFrame(() => {
      const box = document.createElement('p');
      box.textContent = 'late';
      document.querySelector('main').prepend(box);
    }))""",
    "/shift.css": "p { height: 300px } h1 { height: 300px }",
}


class Pages(BaseHTTPRequestHandler):
    """`/with/NAME` is a sound page that loads the script NAME under a strict policy; `/lost` hangs up."""

    def do_GET(self) -> None:
        if self.path == "/lost":
            self.close_connection = True
            return
        if self.path.startswith("/with/"):
            name = self.path.removeprefix("/with")
            style = "<link rel=stylesheet href=/shift.css>" if name == "/shift.js" else ""
            self._answer(200, "text/html", SOUND.format(f"{style}<script src={name} defer></script>"))
        elif self.path == "/inline":
            self._answer(200, "text/html", SOUND.format("<script>document.title = 'changed'</script>"))
        elif self.path == "/picture":
            self._answer(
                200,
                "text/html",
                SOUND.format("<img src=data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=><button></button>"),
            )
        elif self.path in SCRIPTS:
            self._answer(200, "text/css" if self.path.endswith("css") else "text/javascript", SCRIPTS[self.path])
        else:
            self._answer(404, "text/plain", "nothing here")

    def _answer(self, status: int, media_type: str, text: str) -> None:
        self.send_response(HTTPStatus(status))
        for name, value in (("Content-Type", media_type), ("Content-Security-Policy", STRICT)):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Nothing: the test's output is the faults."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def visited(browser: Browser, origin: str) -> Iterator[Visit]:
    """A visit whose faults the test reads for itself."""
    visit = Visit(browser, origin, Look())
    yield visit
    visit.close()


@pytest.mark.parametrize(
    ("path", "faults"),
    [
        ("/with/error.js", ["script error: ReferenceError: nothing is not defined"]),
        ("/with/console.js", ["console error: a bad thing"]),
        ("/with/alert.js", ["native alert: hello"]),
        ("/with/missing.js", ["answer 404: GET .*/api/search"]),
        ("/with/lost.js", ["request failed: GET .*/lost: net::ERR_EMPTY_RESPONSE"]),
        ("/inline", ["CSP on /inline: script-src-elem blocked inline", "console error: .*Content Security Policy"]),
        ("/with/shift.js", ["layout shift of 0.[0-9]+ on /with/shift.js, at most 0.02: .* body "]),
        ("/with/given-up.js", []),
        ("/with/nothing.js", []),
    ],
)
def test_each_kind_of_fault_is_seen_once(visited: Visit, path: str, faults: list[str]) -> None:
    done(visited, path)
    seen = visited.watch.faults()
    assert len(seen) == len(faults), seen
    assert all(re.search(wanted, fault) for fault, wanted in zip(seen, faults, strict=True)), seen


def test_a_request_to_another_host_is_a_fault_and_gets_nowhere(visited: Visit) -> None:
    done(visited, "/with/abroad.js")
    faults = "\n".join(visited.watch.faults())
    for url in ("http://192.0.2.1/x.png", "http://example.org/x.png"):
        assert f"request to another host: GET {url}" in faults
        assert f"request failed: GET {url}: net::ERR_NAME_NOT_RESOLVED" in faults


def test_what_a_test_provokes_is_no_fault_but_must_happen(visited: Visit) -> None:
    visited.expect_failure("/api/search", 404)
    assert visited.watch.faults() == ["/api/search was expected to fail with status 404 and did not"]
    done(visited, "/with/missing.js")
    assert visited.watch.faults() == []
    visited.expect_failure("/lost", None)
    done(visited, "/with/lost.js")
    assert visited.watch.faults() == []


def test_axe_reports_what_hinders_a_reader_with_the_element_although_the_policy_is_strict(visited: Visit) -> None:
    visited.open("/picture")
    faults = accessibility_findings(visited.page)
    assert [fault.split(" ")[0] for fault in faults] == ["button-name", "image-alt"]
    assert all(selector in fault for fault, selector in zip(faults, ("button", "img"), strict=True))
    assert accessibility_findings(visited.page, exclude=["img", "button"]) == []
    assert visited.watch.faults() == [], "axe itself breaks no rule of the policy"


@every_look
def test_a_look_is_what_the_page_sees(browser: Browser, origin: str, look: Look) -> None:
    visit = Visit(browser, origin, look)
    page = visit.open("/with/nothing.js")
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (look.theme == "dark")
    assert page.evaluate("matchMedia('(prefers-reduced-motion)').matches")
    visit.check_no_overflow()
    page.evaluate("document.querySelector('h1').style.width = '2000px'")
    with pytest.raises(AssertionError, match=r"2\d+ px wide"):
        visit.check_no_overflow()
    visit.close()


def done(visited: Visit, path: str) -> None:
    """Open a page, and wait until its script has done its work."""
    visited.open(path)
    if path in ("/with/missing.js", "/with/lost.js"):
        visited.page.locator("body[aria-label=done]").wait_for()
    if path == "/with/shift.js":
        visited.page.locator("p").wait_for()
