"""What the drawing of one garment is told: its cloth, its colours, who wears it, and the numbers of its design."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from PIL import Image

from vitrine_local.demo_catalog.colours import Colour

GENDERS: Final = ("Men", "Women", "Unisex", "Boys", "Girls")


def number(*parts: object) -> float:
    """A number from 0 to below 1 that depends on the parts alone: the same on every machine and in every version."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


@dataclass(frozen=True, slots=True)
class Style:
    """`cloth` covers the whole canvas. `design` decides every free choice; `piece` changes each measure a little, as
    two photographs of one design differ.
    """

    gender: str
    cloth: Image.Image
    pattern: str
    colour: Colour
    second: Colour
    trim: Colour
    design: str
    piece: str

    @property
    def is_feminine(self) -> bool:
        return self.gender in {"Women", "Girls"}

    @property
    def is_child(self) -> bool:
        return self.gender in {"Boys", "Girls"}

    def between(self, name: str, low: float, high: float) -> float:
        """A measure of the design, somewhere between two values."""
        chosen = number(self.design, name) + 0.2 * (number(self.piece, name) - 0.5)
        return low + (high - low) * min(max(chosen, 0.0), 1.0)

    def chance(self, name: str, share: float) -> bool:
        """Whether the design has a feature that `share` of all designs have."""
        return number(self.design, name) < share

    def pick(self, name: str, count: int) -> int:
        """One of `count` variants of the design, from 0."""
        return int(number(self.design, name) * count)
