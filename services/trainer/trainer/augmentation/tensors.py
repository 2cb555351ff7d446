"""Transfer of NumPy arrays to a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def to_device(values: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Copy `values` to `device` without waiting for the GPU.

    CUDA stages memory that is not pinned before the call returns, so the caller may change `values` at once.
    """
    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)
