"""Maps of a network's frozen first modules, computed once per augmented copy of a picture and kept in a file.

Most of a network's time goes into its first modules, which see the largest maps. Fine-tuning that freezes them repeats
the same work in every epoch. Here each picture is augmented a few times (`copies`), each copy passes the frozen modules
once, and the epochs train the rest on the kept maps, in turn. Needs a network whose modules run one after another, as
timm's EfficientNets, MobileNets and RegNets do; that is checked with a picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainer.augmentation.tensors import to_device
from trainer.data.loader import Batch, BatchLoader
from vitrine.atomic_write import atomic_open
from vitrine.errors import ParameterInvalid
from vitrine.types import Pixels, Rows
from vitrine.vision.preprocess import Normalise

Maps = npt.NDArray[np.float16]
# Pictures per pass of the frozen modules.
_PASS: Final = 32
_TOLERANCE: Final = 1e-3
_SIDE_PX: Final = 64


class Divided(nn.Module):
    """A backbone as two chains of its own modules: the `frozen` first ones and the `trained` rest, which may be empty:
    then only the embedding and the losses are trained.

    Raises ParameterInvalid if the modules do not run one after another, or if the first one is not frozen.
    """

    def __init__(self, backbone: nn.Module, frozen: Sequence[str]) -> None:
        super().__init__()
        self.frozen, self.trained = chains(backbone, frozen)
        self._check(backbone)

    def _check(self, backbone: nn.Module) -> None:
        modes = [(module, module.training) for module in backbone.modules()]
        backbone.eval()
        random = torch.Generator().manual_seed(0)
        device = next(backbone.parameters()).device
        picture = torch.rand((1, 3, _SIDE_PX, _SIDE_PX), generator=random).to(device)
        with torch.no_grad():
            expected = backbone(picture)
            try:
                found = self.trained(self.frozen(picture))
            except (RuntimeError, TypeError) as error:
                raise ParameterInvalid(f"the modules of this network do not run one after another: {error}") from error
        for module, mode in modes:
            module.training = mode
        if found.shape != expected.shape or not torch.allclose(found, expected, atol=_TOLERANCE, rtol=_TOLERANCE):
            raise ParameterInvalid("the modules of this network do not run one after another: leave out maps")


class MapLoader:
    """Batches of maps, or of pooled features, instead of pixels: (N, C, H, W) or (N, C) float32. `pixels` are those of
    `loader`.

    The maps of `rows` are computed at the first use and kept in `path`; a run that is resumed reads them again if `key`
    is the same.
    """

    def __init__(
        self,
        loader: BatchLoader,
        divided: Divided,
        normalise: Normalise,
        rows: Rows,
        *,
        copies: int,
        path: Path,
        key: str,
        device: torch.device,
        precision: Callable[[], AbstractContextManager[object]],
        step: Callable[[int, int], None],
    ) -> None:
        self._loader = loader
        self._divided = divided
        self._normalise = normalise
        self._rows = np.unique(rows)
        self._copies = copies
        self._path = path
        self._key = hashlib.sha256(f"{key} {copies} {len(self._rows)}".encode() + self._rows.tobytes()).hexdigest()
        self._device = device
        self._precision = precision
        self._step = step
        self._maps = self._kept()

    @property
    def pixels(self) -> Pixels:
        return self._loader.pixels

    def epoch(self, batches: Sequence[Rows], epoch: int, *, first: int = 0) -> Generator[Batch, None, None]:
        """The batches from number `first` on, of the copy of this epoch."""
        copy = self._maps[epoch % self._copies]
        for number in range(first, len(batches)):
            places = np.searchsorted(self._rows, batches[number])
            yield Batch(number, batches[number], to_device(copy[places], self._device).float())

    def _kept(self) -> Maps:
        """(copies, rows, C, H, W) or (copies, rows, C), memory-mapped."""
        index = self._path.with_suffix(".json")
        if not index.exists() or json.loads(index.read_text("utf-8"))["key"] != self._key:
            shape = self._compute()
            with atomic_open(index) as file:  # written last: it marks the maps as complete
                file.write(json.dumps({"key": self._key, "shape": shape}).encode())
        entry: dict[str, Any] = json.loads(index.read_text("utf-8"))
        shape = (self._copies, len(self._rows), *entry["shape"])
        return np.memmap(self._path, dtype=np.float16, mode="r", shape=shape)

    def _compute(self) -> tuple[int, ...]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        parts = np.split(self._rows, range(_PASS, len(self._rows), _PASS))
        total, done, shape = self._copies * len(self._rows), 0, ()
        frozen = self._divided.frozen.eval()
        with atomic_open(self._path) as file:
            for copy in range(self._copies):
                for batch in self._loader.epoch(parts, copy):
                    with torch.inference_mode(), self._precision():
                        maps = frozen(self._normalise(batch.pixels.to(self._device)))
                    shape = tuple(maps.shape[1:])
                    file.write(maps.cpu().half().contiguous().numpy().tobytes())
                    done += len(batch.rows)
                    self._step(done, total)
        return shape


def chains(backbone: nn.Module, frozen: Sequence[str]) -> tuple[nn.Sequential, nn.Sequential]:
    """The first modules of a backbone, those that are `frozen`, and the rest. Raises ParameterInvalid as `Divided`."""
    chain = _chain(backbone)
    first = 0
    while first < len(chain) and _covered(chain[first][0], frozen):
        first += 1
    if not first:
        raise ParameterInvalid(
            f"maps are those of the network's first modules, and model.frozen lacks the first one: {chain[0][0]}"
        )
    parts = [nn.Sequential(*(module for _, module in part)) for part in (chain[:first], chain[first:])]
    return parts[0], parts[1]


def _chain(backbone: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that run one after another, by name: the children, and the children of sequences among them."""
    chain: list[tuple[str, nn.Module]] = []
    for name, child in backbone.named_children():
        if type(child) is nn.Sequential:
            chain += [(f"{name}.{inner}", module) for inner, module in child.named_children()]
        else:
            chain.append((name, child))
    return chain


def _covered(name: str, frozen: Sequence[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in frozen)
