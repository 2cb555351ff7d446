"""Garments of outlined street photographs, the second domain of a training, and the values that each may have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from vitrine.catalogs.street_photographs import StreetPhotographs
from vitrine.garments import STREET_LABELS, kind_of_label
from vitrine.types import Flags, Pixels

# Context around a garment's box, as a share of its longer side: a jittered box shows some of it.
_CONTEXT: Final = 0.35
# Pieces smaller than this share of the garment are specks of the outline.
_SPECK: Final = 0.05
_ARTICLE_TYPE: Final = "articleType"


@dataclass(frozen=True, slots=True)
class StreetGarment:
    """A garment with its surroundings: `pixels` (H, W, 3) uint8 and `mask` (H, W) uint8, 1 on the garment.

    `share` is the garment's part of the photograph's area.
    """

    photograph: str
    label: str
    share: float
    pixels: Pixels
    mask: Pixels


def street_garments(
    photographs: StreetPhotographs, names: Iterable[str], *, least_share: float
) -> Iterator[StreetGarment]:
    """The outlined garments of the photographs `names` that cover `least_share` of their photograph or more.

    Only labels that may be an article type. All pixels of a label are one garment: both shoes of a pair. Raises
    CatalogMalformed if a photograph or mask cannot be read.
    """
    for name in names:
        photograph, mask = photographs.outlined(name)
        for value in np.unique(mask):
            label = photographs.labels[value]
            if label not in STREET_LABELS or not STREET_LABELS[label].article_types:
                continue
            outline = (mask == value).astype(np.uint8)
            share = float(outline.mean())
            if share >= least_share:
                yield _cut(name, label, share, photograph, _without_specks(outline))


def values_of_label(label: str, attribute: str) -> frozenset[str]:
    """The values of a catalogue attribute that a garment with this street label may have; empty if unknown."""
    if attribute == _ARTICLE_TYPE:
        return STREET_LABELS[label].article_types if label in STREET_LABELS else frozenset()
    return frozenset(kind_of_label(label).fields.get(attribute, ()))


def allowed_classes(labels: Sequence[str], attribute: str, names: Sequence[str]) -> Flags:
    """(len(labels), len(names)): whether a garment with this street label may have this value of the attribute."""
    by_label = {
        label: np.array([name in values for name in names], dtype=np.bool_)
        for label in set(labels)
        for values in (values_of_label(label, attribute),)
    }
    if not labels:
        return np.empty((0, len(names)), dtype=np.bool_)
    return np.stack([by_label[label] for label in labels])


def _without_specks(outline: Pixels) -> Pixels:
    _, pieces, statistics, _ = cv2.connectedComponentsWithStats(outline, connectivity=8)
    large = statistics[:, cv2.CC_STAT_AREA] >= _SPECK * int(outline.sum())
    large[0] = False  # what is not outlined
    return np.asarray(large[pieces], dtype=np.uint8)


def _cut(name: str, label: str, share: float, photograph: Pixels, outline: Pixels) -> StreetGarment:
    height, width = outline.shape
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    context = int(_CONTEXT * max(np.ptp(rows) + 1, np.ptp(columns) + 1))
    part = (
        slice(max(0, rows[0] - context), min(height, rows[-1] + 1 + context)),
        slice(max(0, columns[0] - context), min(width, columns[-1] + 1 + context)),
    )
    return StreetGarment(name, label, share, photograph[part].copy(), outline[part].copy())
