"""The limit on the pixels of a picture, in the settings of every service."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.pictures import encoded, gradient
from vitrine.errors import ImageRejected, SettingsInvalid
from vitrine.images.checks import DEFAULT_LIMITS, check_image
from vitrine.images.decode import decode_image
from vitrine.images.thumbnails import make_thumbnail
from vitrine.settings import EXIT_SETTINGS, CommonSettings, load_settings
from vitrine_local.cli import main
from vitrine_local.demo_catalog.generate import generate_catalog

SERVICES = ("embedder", "indexer", "trainer", "search_api")


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_setting_and_refuses_an_unsafe_value(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: type[CommonSettings] = importlib.import_module(f"{service}.settings").Settings
    assert load_settings(kind).image_limits == DEFAULT_LIMITS
    monkeypatch.setenv("VITRINE_MAX_PIXELS", "1000000")
    assert load_settings(kind).image_limits.max_pixels == 1_000_000
    for value in ("32000001", "1000000000000", "4095", "0", "-1", "many", "1.5"):
        monkeypatch.setenv("VITRINE_MAX_PIXELS", value)
        with pytest.raises(SettingsInvalid, match="max_pixels"):
            load_settings(kind)


def test_a_service_does_not_start_with_an_unsafe_value(tmp_path: Path) -> None:
    environment = {**os.environ, "VITRINE_MAX_PIXELS": "64000000", "VITRINE_RELEASES_URL": f"file:{tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-m", "search_api"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == EXIT_SETTINGS
    assert "VITRINE_MAX_PIXELS can be at most 32000000" in done.stderr


def test_a_picture_above_the_limit_is_refused_with_it_and_one_at_the_limit_is_not() -> None:
    limits = CommonSettings(max_pixels=10_000).image_limits
    larger, fits = encoded(gradient(101, 100), "PNG"), encoded(gradient(100, 100), "PNG")
    for refuse in (
        lambda: check_image(larger, limits=limits),
        lambda: decode_image(larger, limits=limits),
        lambda: make_thumbnail(larger, 64, limits=limits),
    ):
        with pytest.raises(ImageRejected, match=r"101 x 100 pixels.* 10000 in all") as refused:
            refuse()
        assert refused.value.reason == "too_large"
    assert decode_image(fits, limits=limits).size == (100, 100)


def test_inspecting_a_catalogue_rejects_the_pictures_that_indexing_rejects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_catalog(tmp_path / "shop", count=4, seed=0)
    command = ["catalog", "inspect", "--dataset", "synthetic", str(tmp_path / "shop"), "--pictures"]
    assert main(command) == 0
    assert "cannot be used: 0" in capsys.readouterr().out
    monkeypatch.setenv("VITRINE_MAX_PIXELS", "10000")
    assert main(command) == 0
    assert "cannot be used: 4" in capsys.readouterr().out
    monkeypatch.setenv("VITRINE_MAX_PIXELS", "64000000")
    assert main(command) != 0
    assert "VITRINE_MAX_PIXELS can be at most 32000000" in capsys.readouterr().err
