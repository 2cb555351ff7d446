"""Drawn people in drawn places, and a very small parser that knows them.

Every kind of garment has its own colour, so the parser is fitted in a few seconds.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import nn

from harness.releases import store_of
from vitrine.garments import BY_NAME, KIND_NAMES
from vitrine.images.decode import DECODE_RULES_VERSION
from vitrine.releases import PARSER_MODEL, ParserManifest, ParserNetwork, Preprocessing, WeightsOrigin, file_sha256
from vitrine.types import Pixels
from vitrine.vision.backbones import save_weights
from vitrine.vision.cpu_graph import on_cores
from vitrine.vision.parser import STRIDE, GarmentNetwork
from vitrine.vision.preprocess import Normalise

COLOURS: Final = {
    "upper": (40, 70, 200),
    "outer": (110, 60, 20),
    "dress": (200, 30, 40),
    "trousers": (90, 30, 130),
    "skirt": (150, 230, 70),
    "shorts": (240, 110, 190),
    "shoes": (20, 20, 24),
    "bag": (240, 140, 10),
    "hat": (235, 225, 50),
    "scarf": (40, 210, 215),
    "skin": (225, 175, 150),
}
_GROUNDS: Final = ((255, 255, 255), (90, 130, 110), (128, 128, 128), (150, 140, 130), (70, 90, 80), (200, 205, 210))
_STEPS: Final = 120
_BATCH: Final = 4
_HEIGHT_PX, _WIDTH_PX = 96, 64
_RULES: Final = Preprocessing(
    input_px=_HEIGHT_PX,
    input_width_px=_WIDTH_PX,
    resize_px=_HEIGHT_PX,
    fit="pad",
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    decode_rules_version=DECODE_RULES_VERSION,
)


def drawn_person(
    *worn: str, size: tuple[int, int] = (240, 320), at: float = 0.5, ground: tuple[int, int, int] = _GROUNDS[1]
) -> Image.Image:
    """A person who wears these kinds, in the middle at this fraction of the width."""
    image, _ = _drawn([(worn, at)], size=size, ground=ground, seed=0)
    return image


def drawn_people(*people: tuple[str, ...], size: tuple[int, int] = (480, 320)) -> Image.Image:
    """Several persons beside each other."""
    places = [(worn, (number + 0.5) / len(people)) for number, worn in enumerate(people)]
    image, _ = _drawn(places, size=size, ground=_GROUNDS[1], seed=0)
    return image


def build_tiny_parser(store_folder: Path, *, name: str = PARSER_MODEL) -> str:
    """Store a parser that finds the garments of drawn people. Returns its release's id."""
    network = _fitted()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        save_weights(network, weights)
        manifest = ParserManifest(
            model=name,
            network=_spec(),
            weights=WeightsOrigin(source="seed:0", sha256=file_sha256(weights), size_bytes=weights.stat().st_size),
            preprocessing=_RULES,
            classes=KIND_NAMES,
        )
        return store_of(store_folder).publish(manifest, weights=weights)


def _spec() -> ParserNetwork:
    return ParserNetwork(timm_name="test_efficientnet", levels=(1, 2, 3, 4), channels=24)


@cache
def _fitted() -> nn.Module:
    """Fitted once in a process; the same on every machine to rounding."""
    with torch.random.fork_rng(), on_cores(1):
        torch.manual_seed(0)
        network = GarmentNetwork(_spec(), len(KIND_NAMES)).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=_STEPS)
        normalise = Normalise(_RULES)
        for step in range(_STEPS):
            pictures, classes = zip(*(_scene(_BATCH * step + number) for number in range(_BATCH)), strict=True)
            logits = network(normalise(torch.from_numpy(np.stack(pictures))))
            target = torch.from_numpy(np.stack(classes)).long()[:, ::STRIDE, ::STRIDE]
            loss = nn.functional.cross_entropy(logits, target)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()


def _scene(seed: int) -> tuple[Pixels, Pixels]:
    """A random person in a random place: pixels (H, W, 3) and classes (H, W)."""
    rng = np.random.default_rng(seed)
    below = [["dress"], ["upper", "trousers"], ["upper", "skirt"], ["upper", "shorts"], ["outer", "upper", "trousers"]]
    worn = [kind for kind in below[rng.integers(len(below))] if rng.random() < 0.9]
    worn += [kind for kind in ("shoes", "bag", "hat", "scarf") if rng.random() < 0.5]
    ground = _GROUNDS[rng.integers(len(_GROUNDS))]
    people = [(tuple(worn), float(rng.uniform(0.3, 0.7)))] if rng.random() < 0.95 else []
    image, classes = _drawn(people, size=(_WIDTH_PX, _HEIGHT_PX), ground=ground, seed=seed)
    return np.asarray(image), np.asarray(classes)


def _drawn(
    people: list[tuple[tuple[str, ...], float]], *, size: tuple[int, int], ground: tuple[int, int, int], seed: int
) -> tuple[Image.Image, Image.Image]:
    """(picture, classes)."""
    width, height = size
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 6, (height, width, 1)) if ground != _GROUNDS[0] else np.zeros((height, width, 1))
    image = Image.fromarray(np.clip(np.array(ground) + grain, 0, 255).astype(np.uint8))
    classes = Image.new("L", size, 0)
    unit = height / 160 * float(rng.uniform(0.85, 1.0)) if seed else height / 160
    for worn, at in people:
        for kind, box in _parts(worn):
            left, top, right, bottom = (round(side * unit) for side in box)
            place = (round(at * width) + left, top, round(at * width) + right, bottom)
            colour = tuple(int(c) for c in np.clip(np.array(COLOURS[kind]) + rng.normal(0, 6, 3), 0, 255))
            draw = "ellipse" if kind in ("skin", "shoes") and box[3] - box[1] < 40 else "rectangle"
            for canvas, fill in ((image, colour), (classes, BY_NAME[kind].number)):
                getattr(ImageDraw.Draw(canvas), draw)(place, fill=fill)
    return image.filter(ImageFilter.GaussianBlur(0.5)), classes


def _parts(worn: tuple[str, ...]) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Rectangles of a person 160 units high around the middle, the later ones on top."""
    parts: list[tuple[str, tuple[int, int, int, int]]] = [
        ("skin", (-9, 10, 9, 36)),
        ("skin", (-14, 34, 14, 80)),
        ("skin", (-12, 80, -3, 146)),
        ("skin", (3, 80, 12, 146)),
        ("skin", (-28, 58, -20, 84)),
        ("skin", (20, 58, 28, 84)),
    ]
    boxes = {
        "upper": [(-22, 36, 22, 82)],
        "trousers": [(-18, 80, -2, 142), (2, 80, 18, 142), (-18, 80, 18, 96)],
        "skirt": [(-22, 80, 22, 116)],
        "shorts": [(-18, 80, 18, 104)],
        "dress": [(-22, 36, 22, 118)],
        "outer": [(-28, 35, -10, 100), (10, 35, 28, 100)],
        "shoes": [(-18, 140, -2, 152), (2, 140, 18, 152)],
        "bag": [(22, 80, 42, 104)],
        "hat": [(-13, 4, 13, 16)],
        "scarf": [(-10, 34, 10, 48)],
    }
    for kind in sorted(worn, key=list(boxes).index):
        parts += [(kind, box) for box in boxes[kind]]
    return parts
