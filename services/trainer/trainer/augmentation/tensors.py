"""Numbers drawn on the host, where they are needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def to_device(values: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """A tensor of `values` on `device`. The host does not wait for a GPU to take them: CUDA stages what is not pinned
    before the call returns, so that they may be changed at once.
    """
    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)
