"""Make more outlined photographs to train a parser on (`--outlined` of its training).

    python -m tools.outlined_photographs outline --pictures FOLDER --network u2netp.onnx --to FOLDER
    python -m tools.outlined_photographs compose --root PATH [--larger PATH] [--grounds FOLDER] --count 1000 --to FOLDER

`outline` takes photographs of single garments, a folder with `images.csv` (columns `image` and `articleType`) and
`images/<image>.jpg`, and outlines each by a saliency network: U^2-Net (Qin et al., Pattern Recognition 106, 2020) or
another with its input and output, 320x320 in and a probability of each point out. `compose` lays garments of a
catalogue that nobody wears on drawn grounds, and on the corners of photographs of `--grounds`, which should show no
one; `--larger` is a folder with larger pictures of some products, `images/<id>.jpg`, and only these are taken.

`--to` gets the layout of outlined photographs: `photos/`, `masks/` and `labels.csv`. What has no street label for its
article type is left out, as is a garment that covers next to nothing of its photograph or next to everything.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image

from trainer.augmentation.background import Backgrounds
from trainer.augmentation.segmentation import foreground_mask, skinless_mask
from vitrine.catalogs import read_catalog
from vitrine.catalogs.registry import reader_for
from vitrine.errors import ImageRejected, VitrineError, WeightsUnusable
from vitrine.garments import STREET_LABELS, kind_of_label
from vitrine.images.decode import decode_image
from vitrine.types import Pixels

_INPUT_PX: Final = 320
# As torchvision's, of pixels from 0 to 1.
_MEAN: Final = np.array([0.485, 0.456, 0.406])
_STD: Final = np.array([0.229, 0.224, 0.225])
_LEAST_PROBABILITY: Final = 0.5
_SHARES: Final = (0.04, 0.92)  # of the photograph, that a garment may cover
_BACKGROUND: Final = "null"
_COMPOSED_PX: Final = (512, 384)  # height and width
_PART: Final = (0.35, 0.95)  # of the height or width, that a garment on a ground fills
_TURN_DEGREES: Final = 35.0
_WORN: Final = 0.02  # of a picture's foreground: more skin than this, and somebody wears it
_SHADOW: Final = (0.0, 0.5)
_SHADOW_PX: Final = 12

Outlined = tuple[str, Pixels, Pixels, str]  # name, photograph (H, W, 3), mask (H, W) of 0 and 1, street label


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(required=True)
    outline = ways.add_parser("outline", help="photographs of single garments, by a saliency network")
    outline.add_argument("--pictures", type=Path, required=True)
    outline.add_argument("--network", type=Path, required=True, help="an ONNX file")
    outline.set_defaults(make=lambda given: outlined(given.pictures, given.network))
    compose = ways.add_parser("compose", help="garments of a catalogue on other grounds")
    compose.add_argument("--root", type=Path, required=True, help="the catalogue's folder")
    compose.add_argument("--dataset", default="fashion-product")
    compose.add_argument("--larger", type=Path, help="a folder with larger pictures of some products")
    compose.add_argument("--grounds", type=Path, help="a folder of photographs whose corners are grounds too")
    compose.add_argument("--count", type=int, default=1000)
    compose.add_argument("--seed", type=int, default=0)
    compose.set_defaults(make=composed)
    for way in (outline, compose):
        way.add_argument("--to", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        kept = write(arguments.to, arguments.make(arguments))
    except (VitrineError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{kept} outlined photographs in {arguments.to}\n")
    return 0


def write(folder: Path, photographs: Iterator[Outlined]) -> int:
    """Write the layout of outlined photographs. Returns how many there are."""
    for part in ("photos", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    values = [_BACKGROUND, *sorted(STREET_LABELS)]
    count = 0
    for name, pixels, mask, label in photographs:
        if _SHARES[0] <= mask.mean() <= _SHARES[1]:
            Image.fromarray(pixels).save(folder / "photos" / f"{name}.jpg", quality=95)
            Image.fromarray(mask * np.uint8(values.index(label))).save(folder / "masks" / f"{name}.png")
            count += 1
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("index", "label"), *enumerate(values)])
    return count


def outlined(pictures: Path, network_file: Path) -> Iterator[Outlined]:
    """Photographs of single garments, each with what is salient in it."""
    try:
        network = cv2.dnn.readNetFromONNX(str(network_file))
    except cv2.error as error:
        raise WeightsUnusable(
            f"{network_file} cannot be read as an ONNX network: name another with --network"
        ) from error
    with (pictures / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["image"], label_of(row["articleType"])) for row in csv.DictReader(file)]
    for image, label in rows:
        picture = None if label is None else _decoded(pictures / "images" / f"{image}.jpg")
        mask = None if picture is None else salient(network, picture)
        if label is not None and picture is not None and mask is not None:
            yield image, picture, mask, label


def composed(given: argparse.Namespace) -> Iterator[Outlined]:
    """Garments of a catalogue that nobody wears, each on a ground. They are drawn by label, so that no kind is rare."""
    catalog = read_catalog(reader_for(given.dataset), given.root, dataset=given.dataset)
    random = np.random.default_rng(given.seed)
    by_label: dict[str, list[Path]] = {}
    for product in catalog.products:
        label = label_of(str(product.attributes.get("articleType")))
        path = catalog.picture_path(product) if given.larger is None else given.larger / "images" / f"{product.id}.jpg"
        if label is not None and path.is_file():
            by_label.setdefault(label, []).append(path)
    corners = [] if given.grounds is None else [_decoded(path) for path in sorted(given.grounds.glob("*.jpg"))]
    grounds = [Image.fromarray(one).resize(_COMPOSED_PX[::-1]) for one in corners if one is not None]
    backgrounds = Backgrounds(
        *_COMPOSED_PX,
        seed=given.seed,
        images=np.stack([np.asarray(one) for one in grounds]) if grounds else None,
        share=0.5,
    )
    labels = sorted(by_label)
    for number in range(given.count if labels else 0):
        label = labels[int(random.integers(len(labels)))]
        paths = by_label[label]
        picture = _decoded(paths[int(random.integers(len(paths)))])
        foreground = None if picture is None else foreground_mask(picture)
        if picture is None or foreground is None or not foreground.any():
            continue
        if skinless_mask(picture, foreground).sum() < (1 - _WORN) * foreground.sum():
            continue
        photograph, mask = laid_on(backgrounds.crop(backgrounds.draw(random)), picture, foreground, random)
        yield f"c{number}", photograph, mask, label


def laid_on(ground: Pixels, picture: Pixels, foreground: Pixels, random: np.random.Generator) -> tuple[Pixels, Pixels]:
    """A garment (h, w, 3) with its mask (h, w), 0 to 255, turned and scaled on a ground (H, W, 3), with a soft shadow.

    Returns the photograph (H, W, 3) and the garment's mask (H, W) of 0 and 1.
    """
    height, width = ground.shape[:2]
    rows, columns = np.flatnonzero(foreground.any(axis=1)), np.flatnonzero(foreground.any(axis=0))
    high, wide = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    scale = random.uniform(*_PART) * min(height / high, width / wide)
    angle = math.radians(random.uniform(-_TURN_DEGREES, _TURN_DEGREES))
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    slack = np.maximum(0.0, np.array([width - scale * wide, height - scale * high])) / 2
    middle = np.array([width, height]) / 2 + random.uniform(-1, 1, 2) * slack
    center = np.array([columns[0] + wide / 2, rows[0] + high / 2])
    matrix = np.concatenate([turn, (middle - turn @ center)[:, None]], axis=1)
    size = (width, height)
    alpha = cv2.warpAffine(foreground, matrix, size, flags=cv2.INTER_LINEAR).astype(np.float32)[..., None] / 255
    garment = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(255, 255, 255))
    shift = np.array([[1, 0, random.uniform(-6, 6)], [0, 1, random.uniform(2, 10)]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(alpha[..., 0], shift, size), (0, 0), _SHADOW_PX)[..., None]
    below = ground * (1 - random.uniform(*_SHADOW) * shadow)
    photograph = np.clip(below * (1 - alpha) + garment * alpha, 0, 255).astype(np.uint8)
    return photograph, (alpha[..., 0] > 0.5).astype(np.uint8)


def label_of(article_type: str) -> str | None:
    """Of the garments' street labels that may be this article type, the one with the fewest types; None without any."""
    labels = (label for label in STREET_LABELS.values() if kind_of_label(label.name).searchable)
    fitting = [label for label in labels if article_type in label.article_types]
    return min(fitting, key=lambda label: (len(label.article_types), label.name)).name if fitting else None


def salient(network: cv2.dnn.Net, pixels: Pixels) -> Pixels | None:
    """The largest piece (H, W) uint8, 1 on it, of what is salient in `pixels` (H, W, 3); None if nothing is."""
    small = cv2.resize(pixels, (_INPUT_PX, _INPUT_PX), interpolation=cv2.INTER_AREA) / 255
    network.setInput(((small - _MEAN) / _STD).transpose(2, 0, 1)[None].astype(np.float32))
    size = (pixels.shape[1], pixels.shape[0])
    probability = cv2.resize(network.forward()[0, 0], size, interpolation=cv2.INTER_LINEAR)
    _, pieces, statistics, _ = cv2.connectedComponentsWithStats((probability > _LEAST_PROBABILITY).astype(np.uint8))
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return np.asarray(pieces == 1 + int(areas.argmax()), dtype=np.uint8) if len(areas) else None


def _decoded(path: Path) -> Pixels | None:
    """(H, W, 3); None, with a line on standard error, if it cannot be read."""
    try:
        return np.asarray(decode_image(path.read_bytes()))
    except (OSError, ImageRejected) as error:
        sys.stderr.write(f"{path.name}: {error}\n")
        return None


if __name__ == "__main__":
    raise SystemExit(main())
