"""Outline the one garment in each photograph by a saliency network, as more photographs to train a parser on.

    python -m tools.outline_photographs --pictures FOLDER --network u2netp.onnx --to FOLDER

`--pictures` is a folder with `images.csv` (columns `image` and `articleType`) and `images/<image>.jpg`. `--to` gets the
layout of outlined photographs: `photos/`, `masks/` and `labels.csv`. The network is U^2-Net (Qin et al., Pattern
Recognition 106, 2020) or another with its input and output: 320x320 in, a probability of each point out. A photograph
is left out if the network finds next to nothing in it or next to everything, or if no street label may be its article
type.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image

from vitrine.errors import ImageRejected
from vitrine.garments import STREET_LABELS
from vitrine.images.decode import decode_image
from vitrine.types import Pixels

_INPUT_PX: Final = 320
# As torchvision's, of pixels from 0 to 1.
_MEAN: Final = np.array([0.485, 0.456, 0.406])
_STD: Final = np.array([0.229, 0.224, 0.225])
_LEAST_PROBABILITY: Final = 0.5
_SHARES: Final = (0.04, 0.92)  # of the photograph, that a garment may cover
_BACKGROUND: Final = "null"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--network", type=Path, required=True, help="an ONNX file")
    parser.add_argument("--to", type=Path, required=True)
    arguments = parser.parse_args()
    network = cv2.dnn.readNetFromONNX(str(arguments.network))
    with (arguments.pictures / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["image"], row["articleType"]) for row in csv.DictReader(file)]
    labels = {article_type: label_of(article_type) for _, article_type in rows}
    values = [_BACKGROUND, *sorted({label for label in labels.values() if label is not None})]
    for folder in ("photos", "masks"):
        (arguments.to / folder).mkdir(parents=True, exist_ok=True)
    kept = 0
    for image, article_type in rows:
        label, source = labels[article_type], arguments.pictures / "images" / f"{image}.jpg"
        if label is None:
            continue
        try:
            picture = decode_image(source.read_bytes())
        except (OSError, ImageRejected) as error:
            sys.stderr.write(f"{source.name}: {error}\n")
            continue
        mask = outline(network, np.asarray(picture))
        if mask is None:
            continue
        picture.save(arguments.to / "photos" / f"{image}.jpg", quality=95)
        Image.fromarray(mask * np.uint8(values.index(label))).save(arguments.to / "masks" / f"{image}.png")
        kept += 1
    with (arguments.to / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("index", "label"), *enumerate(values)])
    sys.stdout.write(f"{kept} of {len(rows)} photographs are outlined in {arguments.to}\n")
    return 0


def label_of(article_type: str) -> str | None:
    """The street label with the fewest article types of those that may be this one; None if there is none."""
    fitting = [label for label in STREET_LABELS.values() if article_type in label.article_types]
    return min(fitting, key=lambda label: (len(label.article_types), label.name)).name if fitting else None


def outline(network: cv2.dnn.Net, pixels: Pixels) -> Pixels | None:
    """The largest piece (H, W) uint8, 1 on it, of what is salient in `pixels` (H, W, 3); None if it is no garment."""
    small = cv2.resize(pixels, (_INPUT_PX, _INPUT_PX), interpolation=cv2.INTER_AREA) / 255
    network.setInput(((small - _MEAN) / _STD).transpose(2, 0, 1)[None].astype(np.float32))
    size = (pixels.shape[1], pixels.shape[0])
    probability = cv2.resize(network.forward()[0, 0], size, interpolation=cv2.INTER_LINEAR)
    salient = (probability > _LEAST_PROBABILITY).astype(np.uint8)
    _, pieces, statistics, _ = cv2.connectedComponentsWithStats(salient)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    if not len(areas) or not _SHARES[0] <= areas.max() / salient.size <= _SHARES[1]:
        return None
    return np.asarray(pieces == 1 + int(areas.argmax()), dtype=np.uint8)


if __name__ == "__main__":
    raise SystemExit(main())
