"""An embedder whose network aborts the process on a plain magenta picture, like a defect in a native library.

Run by `python -m harness.aborting_embedder`.
"""

from __future__ import annotations

import io
import os
import sys

import numpy as np
import torch
from PIL import Image

from embedder.__main__ import main
from vitrine.types import Pixels
from vitrine.vision.network import ReleaseNetwork

_MAGENTA = (255, 0, 255)
_TOLERANCE = 8


def magenta_picture() -> bytes:
    """The picture that aborts the process."""
    buffer = io.BytesIO()
    Image.new("RGB", (60, 80), _MAGENTA).save(buffer, "PNG")
    return buffer.getvalue()


_submit = ReleaseNetwork.submit


def submit(self: ReleaseNetwork, pixels: Pixels, *, alone: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """A forward pass that aborts if one of its pictures is magenta."""
    distance = np.abs(pixels.astype(np.int16) - np.array(_MAGENTA, dtype=np.int16)).max(axis=(1, 2, 3))
    if (distance <= _TOLERANCE).any():
        os.abort()
    return _submit(self, pixels, alone=alone)


if __name__ == "__main__":
    ReleaseNetwork.submit = submit  # type: ignore[method-assign]
    sys.exit(main())
