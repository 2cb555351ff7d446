"""What a parser finds in outlined photographs: garments, parts of garments, or nothing.

A found region is a garment if it overlaps one of its kind by a quarter of their union, a garment of another kind if it
overlaps one by half, a part if at least half of it lies on garments, else none. A true garment is an outlined one of
1 % of its photograph or more; it is found if a region of its kind overlaps it by a quarter. Both with and without the
regions that are parts of a larger garment (`vitrine.images.garment_masks`), and with those of a probability of 0.5.

    python -m benchmarks.parsed_garments --street PATH --store URL [--parser ID] [--training]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from benchmarks.tables import head, row
from vitrine.catalogs.street_photographs import StreetPhotographs, read_street_photographs
from vitrine.garments import BY_NAME, KINDS, kind_of_label
from vitrine.images.garment_masks import Garment, enlarged, find_garments
from vitrine.releases import PARSER_MODEL, ReleaseStore
from vitrine.telemetry import configure_logging
from vitrine.types import Flags, Pixels
from vitrine.vision.network import choose_device
from vitrine.vision.parser import STRIDE, Parser, load_parser

LEAST_SHARE: Final = 0.01
OUTCOMES: Final = ("a garment", "of another kind", "a part", "none")
_SAME_KIND: Final = 0.25
_OTHER_KIND: Final = 0.5
_ON_GARMENTS: Final = 0.5
# The probability from which the search page shows a garment.
_SHOWN_FROM: Final = 0.5
_WORN: Final = [kind.number for kind in KINDS if kind.searchable]


@dataclass(slots=True)
class Counts:
    """The regions by outcome, and the true garments, of which so many were found."""

    outcomes: Counter[str] = field(default_factory=Counter)
    true_garments: int = 0
    found: int = 0

    def add(self, regions: Sequence[Garment], outlines: Sequence[tuple[str, Flags]], kinds: Pixels) -> None:
        """Count the regions of a photograph. `outlines` are (kind, mask) of its true garments."""
        self.outcomes.update(outcome(region, kinds, outlines) for region in regions)
        self.true_garments += len(outlines)
        self.found += sum(any(matches(one, kind, mask) for one in regions) for kind, mask in outlines)


def main() -> int:
    configure_logging(service="benchmark")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--street", type=Path, required=True, help="the folder of outlined photographs")
    parser.add_argument("--store", default="file:.vitrine/releases", help="URL of the release store")
    parser.add_argument("--parser", help="the release that finds garments; by default the newest vitrine-parser")
    parser.add_argument("--training", action="store_true", help="the photographs for training, not those held out")
    arguments = parser.parse_args()
    store = ReleaseStore(arguments.store, cache_dir=Path("/tmp/vitrine-benchmark"))
    parser_id = arguments.parser or store.newest(PARSER_MODEL)
    if parser_id is None:
        raise SystemExit(f"{arguments.store} has no release of {PARSER_MODEL}: name a parser with --parser")
    photographs = read_street_photographs(arguments.street)
    names = photographs.for_training if arguments.training else sorted(photographs.held_out)
    counted = measure(photographs, names, load_parser(store, parser_id, choice=choose_device("cpu"), fused=False))
    print(f"{parser_id}, {len(names)} photographs, {counted['all'].true_garments} garments\n")
    print(head("regions", "found", *OUTCOMES, "true garments found"))
    for which, counts in counted.items():
        print(row(which, counts.outcomes.total(), *(counts.outcomes[name] for name in OUTCOMES), counts.found))
    return 0


def measure(photographs: StreetPhotographs, names: Sequence[str], parser: Parser) -> dict[str, Counts]:
    """The counts with parts, without them, and of the latter those that the page shows."""
    counted = {"all": Counts(), "without parts": Counts(), f"of them {_SHOWN_FROM} and more": Counts()}
    kinds_of_labels = np.array([kind_of_label(label).number for label in photographs.labels], dtype=np.uint8)
    for name in names:
        photograph, mask = photographs.outlined(name)
        pixels, box = parser.fit(Image.fromarray(photograph))
        probabilities = enlarged(box.part(parser.probabilities(pixels[None])[0]), STRIDE)
        size = (probabilities.shape[2], probabilities.shape[1])
        labels = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        outlines = [
            (KINDS[kinds_of_labels[label]].name, labels == label)
            for label in np.unique(labels)
            if KINDS[kinds_of_labels[label]].searchable and (mask == label).mean() >= LEAST_SHARE
        ]
        kept = find_garments(probabilities)
        shown = [one for one in kept if one.probability >= _SHOWN_FROM]
        found = (find_garments(probabilities, with_parts=True), kept, shown)
        for counts, regions in zip(counted.values(), found, strict=True):
            counts.add(regions, outlines, kinds_of_labels[labels])
    return counted


def outcome(region: Garment, kinds: Pixels, outlines: Sequence[tuple[str, Flags]]) -> str:
    """What a region is. `kinds` (h, w) are the true kinds of the photograph."""
    of_kind = [(KINDS[number].name, kinds == number) for number in _WORN if (kinds == number).any()]
    overlaps = [(kind, overlap(region, mask)) for kind, mask in [*outlines, *of_kind]]
    if any(kind == region.kind.name and value >= _SAME_KIND for kind, value in overlaps):
        return OUTCOMES[0]
    if any(value >= _OTHER_KIND for _, value in overlaps):
        return OUTCOMES[1]
    on_garments = np.isin(kinds[region.mask > 0], _WORN).mean()
    return OUTCOMES[2] if on_garments >= _ON_GARMENTS else OUTCOMES[3]


def matches(region: Garment, kind: str, mask: Flags) -> bool:
    return region.kind == BY_NAME[kind] and overlap(region, mask) >= _SAME_KIND


def overlap(region: Garment, mask: Flags) -> float:
    """The intersection over the union."""
    own = region.mask > 0
    return float((own & mask).sum() / max(1, (own | mask).sum()))


if __name__ == "__main__":
    sys.exit(main())
