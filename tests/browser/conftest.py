"""A real browser: Debian's Chromium, which `make test` installs where it may."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

# What keeps it from asking anything of the network, which the tests have no need of.
QUIET = ("disable-background-networking", "disable-component-update", "disable-sync", "no-first-run", "disable-quic")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium and its driver are not installed: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    profile: Path = tmp_path_factory.mktemp("chromium")
    sandbox = ("no-sandbox",) if os.geteuid() == 0 else ()
    for argument in (
        "headless=new",
        "disable-gpu",
        "window-size=1400,1000",
        f"user-data-dir={profile}",
        *QUIET,
        *sandbox,
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = Chrome(options=options, service=ChromeService(driver))
    try:
        yield started
    finally:
        started.quit()
