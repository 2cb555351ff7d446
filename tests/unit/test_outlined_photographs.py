"""More outlined photographs for a parser: single garments by a saliency network, and catalogue garments on grounds."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools import outlined_photographs
from tools.outlined_photographs import label_of, laid_on, salient
from trainer.augmentation.segmentation import foreground_mask
from vitrine.catalogs.street_photographs import read_street_photographs
from vitrine.types import Pixels
from vitrine_local.demo_catalog.garment import draw_garment
from vitrine_local.demo_catalog.generate import generate_catalog


def drawn() -> tuple[Pixels, Pixels]:
    """A red square in a white picture (90, 60, 3), and its mask (90, 60), 0 to 255."""
    picture, mask = np.full((90, 60, 3), 255, dtype=np.uint8), np.zeros((90, 60), dtype=np.uint8)
    picture[30:60, 15:45], mask[30:60, 15:45] = (220, 20, 30), 255
    return picture, mask


def test_a_garment_on_a_ground_is_where_its_mask_says() -> None:
    ground = np.full((256, 192, 3), (40, 120, 60), dtype=np.uint8)
    for seed in range(8):
        photograph, mask = laid_on(ground, *drawn(), np.random.default_rng(seed))
        red = photograph[..., 0].astype(int) - photograph[..., 1] > 60
        assert photograph.shape == ground.shape
        assert 0.05 < mask.mean() < 0.95
        assert (red & (mask > 0)).sum() / (red | (mask > 0)).sum() > 0.9


def test_composed_photographs_can_be_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate_catalog(tmp_path / "shop", count=40, seed=5)
    arguments = ["--root", tmp_path / "shop", "--count", 30, "--to", tmp_path / "made"]
    monkeypatch.setattr(sys, "argv", ["outlined_photographs", "compose", *map(str, arguments)])
    assert outlined_photographs.main() == 0
    made = read_street_photographs(tmp_path / "made")
    assert len(made.names) > 10
    outlines = [made.outlined(name) for name in made.names]
    assert {photograph.shape for photograph, _ in outlines} == {(512, 384, 3)}
    for _, mask in outlines:
        [label] = {made.labels[value] for value in np.unique(mask)} - {"null"}
        assert 0.04 <= (mask > 0).mean() <= 0.92
        assert made.labels.index(label) > 0


@pytest.mark.parametrize(
    ("way", "given", "says"),
    [
        ("compose", ("--root", "nowhere"), "no catalogue folder"),
        ("outline", ("--pictures", "nowhere", "--network", "none.onnx"), "none.onnx cannot be read"),
    ],
)
def test_what_is_missing_is_named(
    way: str,
    given: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["outlined_photographs", way, *given, "--to", str(tmp_path / "made")])
    assert outlined_photographs.main() == 1
    assert says in capsys.readouterr().err


def test_only_article_types_of_garments_have_a_label() -> None:
    assert label_of("Caps") == "hat"
    assert label_of("Trousers") == "pants"
    assert label_of("Sunglasses") is None
    assert label_of("Perfume and Body Mist") is None


def test_a_saliency_network_outlines_a_garment_on_a_floor(real_data: Path) -> None:
    network = cv2.dnn.readNetFromONNX(str(real_data / "u2netp.onnx"))
    pixels = np.asarray(draw_garment("Tshirts", "Blue", "plain", "Women", 3, (240, 320)))
    shown = foreground_mask(pixels) > 127
    floor = np.where(shown[..., None], pixels, np.array((170, 130, 90), dtype=np.uint8)).astype(np.uint8)
    found = salient(network, floor)
    assert found is not None
    assert ((found > 0) & shown).sum() / ((found > 0) | shown).sum() > 0.85
