"""The parts of a dataset: 60 % train, 20 % validation, 20 % test, decided for each product alone by a hash of the seed
and its id. So a product keeps its part when others come or go, and no product can be in two parts.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

Part = Literal["train", "validation", "test"]
_BOUNDS: Final[tuple[tuple[float, Part], ...]] = ((0.6, "train"), (0.8, "validation"), (1.0, "test"))
_RANGE: Final = 1 << 64


def part_of(dataset: str, product_id: str, *, seed: int) -> Part:
    """The part a product belongs to under `seed`."""
    digest = hashlib.blake2b(f"{seed}\n{dataset}\n{product_id}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / _RANGE
    return next((part for bound, part in _BOUNDS if position < bound), "test")
