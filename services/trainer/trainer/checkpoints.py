"""What a job has extracted so far, one file a chunk, so that a killed job goes on where it was. A chunk's file appears
whole or not at all, and one that does not fit the job is as good as none.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from vitrine.jobs import BatchOutcome


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk's features: `rows` (N, raw_dim) float32 of the products at `positions` (N,) in the sample."""

    positions: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float32]
    outcome: BatchOutcome


class Checkpoints:
    """The chunks of one job below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, number: int, *, raw_dim: int) -> Chunk | None:
        """The chunk, or None where it was not finished."""
        arrays_path, outcome_path = self._paths(number)
        try:
            outcome = BatchOutcome.model_validate_json(outcome_path.read_bytes())
            arrays = load_file(arrays_path)
        except (OSError, ValueError, SafetensorError):
            return None
        positions, rows = arrays.get("positions"), arrays.get("rows")
        if positions is None or rows is None or rows.shape != (len(positions), raw_dim):
            return None
        return Chunk(positions, rows, outcome)

    def save(self, number: int, chunk: Chunk) -> None:
        """Keep a chunk. Its outcome is written last: with it the chunk counts."""
        self._folder.mkdir(parents=True, exist_ok=True)
        arrays_path, outcome_path = self._paths(number)
        aside = arrays_path.with_suffix(".tmp")
        save_file({"positions": chunk.positions, "rows": chunk.rows}, aside)
        _settle(aside, arrays_path)
        aside = outcome_path.with_suffix(".tmp")
        aside.write_text(chunk.outcome.model_dump_json(), encoding="utf-8")
        _settle(aside, outcome_path)

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _paths(self, number: int) -> tuple[Path, Path]:
        return self._folder / f"{number}.safetensors", self._folder / f"{number}.json"


def _settle(aside: Path, target: Path) -> None:
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(target)
