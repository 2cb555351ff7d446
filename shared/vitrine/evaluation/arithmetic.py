"""The two operations that a ranking spends its time in, on a GPU where the process has one and on the CPU otherwise.

Torch is not loaded for it: a process that works with a GPU has it loaded, and the search API has none.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def products(queries: Vectors, gallery: Vectors) -> Vectors:
    """(Q, G) inner products of (Q, D) and (G, D), in single precision on either device."""
    torch = _torch()
    if torch is None:
        found: Vectors = queries @ gallery.T
    else:
        first, second = (torch.from_numpy(np.ascontiguousarray(one)).to(_device()) for one in (queries, gallery))
        found = (first @ second.T).cpu().numpy()
    # Noughts are added for the sake of -0.0, which equals 0.0 and has other bits.
    found += np.float32(0)
    return found


def sort_rows(keys: Rows) -> None:
    """Sort each row of (N, M) in its place, ascending."""
    torch = _torch()
    if torch is None:
        keys.sort(axis=1)
    else:
        ordered, _ = torch.sort(torch.from_numpy(keys).to(_device()), dim=1)
        keys[...] = ordered.cpu().numpy()


def _torch() -> Any | None:
    """Torch, where this process has loaded it and it sees a GPU."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None


def _device() -> str:
    return "cuda"
