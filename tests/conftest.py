"""For all tests: a clean environment, a share of the cores, the order of the run, one TLS context, and the real
catalogue.
"""

from __future__ import annotations

import os
import signal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from httpx._transports import default as httpx_transports

from harness.scheduling import SystemScheduling, rank_of, share_cores
from vitrine.vision.process import configure_process

REPOSITORY = Path(__file__).resolve().parent.parent

configure_process()  # tests run networks, as the embedder and the trainer do
share_cores()

# Every httpx client reads the certificates of the machine, which takes a hundred times as long as a call to this
# machine. Tests make thousands of clients, and none of them uses TLS.
httpx_transports.create_ssl_context = cache(httpx_transports.create_ssl_context)  # type: ignore[attr-defined]

# A shell that runs the tests in the background has them and their processes ignore Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SystemScheduling | None:
    return SystemScheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank_of(item.nodeid))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests may change what they test."""
    for name in list(os.environ):
        if name.startswith("VITRINE_") and not name.startswith("VITRINE_TEST_"):
            monkeypatch.delenv(name)
    for name in ("REDIS_URL", "QDRANT_URL", "QDRANT_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real catalogue pictures and weights, which may not be passed on and so is not in the repository."""
    folder = Path(os.environ.get("VITRINE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "fashion-product-60x80.zip").is_file():
        pytest.skip(f"the real catalogue is not at {folder}: set VITRINE_TEST_DATA to its folder")
    return folder
