"""How vectors travel: float32, little-endian, one row after the other. In a batch a picture that got no vector has a
row of NaN, and a header says which and why, so that rows and pictures keep the same order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vitrine.errors import EmbedderUnavailable, EmbeddingFailed, ImageRejected, VitrineError

REJECTED_HEADER: Final = "Vitrine-Rejected"
FAMILIAR_HEADER: Final = "Vitrine-Familiar"
DEADLINE_HEADER: Final = "X-Request-Deadline-Ms"
VECTOR_MEDIA_TYPE: Final = "application/octet-stream"
MAX_BATCH: Final = 256
MAX_DEADLINE_MS: Final = 600_000
_DTYPE: Final = np.dtype("<f4")
_TIMING: Final = re.compile(r"(?P<stage>[a-z_]+);dur=(?P<ms>[0-9.]+)")

Vector = npt.NDArray[np.float32]
BatchResult = Vector | ImageRejected | EmbeddingFailed


@dataclass(frozen=True, slots=True)
class Embedding:
    """A picture's vector, (dim,) float32 of length 1, the milliseconds each stage of the embedder took, and whether the
    picture shows something of its release's kind, where the release can tell.
    """

    vector: Vector
    timings_ms: Mapping[str, float]
    familiar: bool | None = None


def encode_batch(results: Sequence[Vector | VitrineError], *, dim: int) -> tuple[bytes, str]:
    """The body and the REJECTED_HEADER's value, `row:code` separated by commas, of a batch's answer."""
    rows = np.full((len(results), dim), np.nan, dtype=_DTYPE)
    rejected = []
    for number, result in enumerate(results):
        if isinstance(result, VitrineError):
            rejected.append(f"{number}:{result.code}")
        else:
            rows[number] = result
    return rows.tobytes(), ",".join(rejected)


def decode_batch(body: bytes, rejected: str, *, count: int) -> list[BatchResult]:
    """The results of a batch of `count` pictures, in order. Raises EmbedderUnavailable for any other answer."""
    if count == 0 or len(body) % (count * _DTYPE.itemsize):
        raise EmbedderUnavailable(f"the embedder answered {len(body)} bytes for {count} pictures")
    rows = np.frombuffer(body, dtype=_DTYPE).reshape(count, -1)
    errors: dict[int, ImageRejected | EmbeddingFailed] = {}
    for part in filter(None, rejected.split(",")):
        number, _, code = part.partition(":")
        errors[int(number)] = picture_error(code, "")
    return [errors.get(number, rows[number]) for number in range(count)]


def picture_error(code: str, detail: str) -> ImageRejected | EmbeddingFailed:
    """The error of one picture, from its code."""
    if code.startswith("image_"):
        reason = code.removeprefix("image_")
        return ImageRejected(reason, detail or f"the picture was rejected: {reason.replace('_', ' ')}")
    return EmbeddingFailed(detail or "the network gave no vector for the picture")


def server_timing(timings_ms: Mapping[str, float]) -> str:
    """The value of a Server-Timing header."""
    return ", ".join(f"{stage};dur={took_ms:.3f}" for stage, took_ms in timings_ms.items())


def parse_server_timing(header: str | None) -> dict[str, float]:
    return {match["stage"]: float(match["ms"]) for match in _TIMING.finditer(header or "")}
