"""A toy service: `toy_service.py NAME PORT FOLDER WORD...`. Standard library only, so that it starts at once.

It answers on its port, starts a child process like the workers, and on SIGTERM writes its name to `stopped.txt` and
exits. Options: `dies-at-start`, `deaf` (ignores SIGTERM), `slow`, `wordy` (prints a line per request), `hungry` (needs
disk space to start).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

_MEAL_BYTES = 20_000


class _Handler(BaseHTTPRequestHandler):
    wordy = False

    def do_GET(self) -> None:
        if self.wordy:
            sys.stdout.write("a line for the log\n")
            sys.stdout.flush()
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


class _Server(HTTPServer):
    allow_reuse_address = True


def serve(name: str, port: int, folder: Path, words: Sequence[str]) -> None:
    """Run one toy service until SIGTERM."""
    if "dies-at-start" in words:
        sys.stdout.write(f"the last words of {name}\n")
        sys.exit(7)
    child = subprocess.Popen(["sleep", "3600"])

    def stop(*_: object) -> None:
        with (folder / "stopped.txt").open("a") as file:
            file.write(f"{name}\n")
        child.kill()
        os._exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in words else stop)
    _Handler.wordy = "wordy" in words
    if "slow" in words:
        time.sleep(0.5)
    if "hungry" in words:
        (folder / f"{name}.{os.getpid()}").write_bytes(bytes(_MEAL_BYTES))
    with (folder / "started.txt").open("a") as file:
        file.write(f"{name} {os.getpid()} {child.pid}\n")
    sys.stdout.write(f'{{"event": "toy ready", "level": "info", "name": "{name}"}}\n')
    sys.stdout.flush()
    _Server(("127.0.0.1", port), _Handler).serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
