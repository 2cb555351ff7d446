"""The wire format of the embedder: parameters and headers of requests, and the encoding of answers.

Vectors are float32, little-endian, row by row. In a batch, a picture without a vector has a row of NaN, and a header
gives its number, the error's code and its detail. For one picture in several views the first row is their mean,
followed by a row for each view; the rows of a second release follow, and a header gives the shapes. Predicted labels
are in a header, as ASCII JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, unquote

import httpx
import numpy as np
from pydantic import SecretStr

from vitrine.embedding.errors import error_of_answer, picture_error
from vitrine.errors import EmbedderUnavailable, EmbeddingFailed, ImageRejected, ParameterInvalid, VitrineError
from vitrine.images.regions import Region, region_text
from vitrine.telemetry import REQUEST_ID_HEADER, current_request_id
from vitrine.types import Vectors

Space = Literal["projected", "raw"]

REJECTED_HEADER: Final = "Vitrine-Rejected"
FAMILIAR_HEADER: Final = "Vitrine-Familiar"
SHAPES_HEADER: Final = "Vitrine-Shapes"
PREDICTED_HEADER: Final = "Vitrine-Predicted"
# Servers refuse headers of 64 kB; details beyond this are left out.
_MAX_REJECTED_CHARS: Final = 16_000
_MAX_DETAIL_CHARS: Final = 200
MAX_PREDICTIONS: Final = 20
_MAX_PREDICTED_CHARS: Final = 4_096
# An opaque name of the caller (the embedder is fair between callers), and the class of work.
CALLER_HEADER: Final = "Vitrine-Caller"
WORK_HEADER: Final = "Vitrine-Work"
MAX_CALLER_CHARS: Final = 64
DEADLINE_HEADER: Final = "X-Request-Deadline-Ms"
VECTOR_MEDIA_TYPE: Final = "application/octet-stream"
MAX_BATCH: Final = 256
MAX_DEADLINE_MS: Final = 600_000
_DTYPE: Final = np.dtype("<f4")
_SHAPE: Final = re.compile(r"(?P<rows>[1-9][0-9]{0,4})x(?P<dim>[1-9][0-9]{0,5})")
_TIMING: Final = re.compile(r"(?P<stage>[a-z_]+);dur=(?P<ms>[0-9.]+)")

BatchResult = Vectors | ImageRejected | EmbeddingFailed


@dataclass(frozen=True, slots=True)
class Prediction:
    """A label of a release's classifier, and its probability."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding of a picture: `vector` (dim,) float32 of length 1, the mean of `views` (N, dim).

    `timings_ms` are the milliseconds of each stage of the embedder. `familiar` is whether the picture is in
    distribution, None if the release has no detector. `predicted` are the most likely labels, most likely first, if
    they were requested and the release has a classifier.
    """

    vector: Vectors
    timings_ms: Mapping[str, float]
    familiar: bool | None
    views: Vectors
    predicted: tuple[Prediction, ...] = ()


def mean_of(vectors: Vectors) -> Vectors:
    """The normalised mean of (N, dim) vectors of length 1; the first vector if the mean is zero or N is 1."""
    first: Vectors = vectors[0]
    mean = vectors.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    if len(vectors) == 1 or not length > 0:
        return first
    result: Vectors = (mean / length).astype(np.float32)
    return result


def encode_views(of_releases: Sequence[Vectors]) -> tuple[bytes, str]:
    """(body, value of SHAPES_HEADER) for the (N, dim) views of one picture by each release."""
    blocks = [views if len(views) == 1 else np.vstack([mean_of(views)[None], views]) for views in of_releases]
    shapes = ",".join(f"{len(block)}x{block.shape[1]}" for block in blocks)
    return b"".join(block.astype(_DTYPE).tobytes() for block in blocks), shapes


def decode_views(body: bytes, shapes: str) -> list[tuple[Vectors, Vectors]]:
    """(mean, views) of each release. Raises EmbedderUnavailable if the answer cannot be decoded."""
    found: list[tuple[Vectors, Vectors]] = []
    start = 0
    for shape in shapes.split(","):
        match = _SHAPE.fullmatch(shape)
        if match is None:
            raise EmbedderUnavailable("the embedder's answer has no shape: does it have another version?")
        rows, dim = int(match["rows"]), int(match["dim"])
        end = start + rows * dim * _DTYPE.itemsize
        block = np.frombuffer(body[start:end], dtype=_DTYPE)
        if block.size != rows * dim:
            raise EmbedderUnavailable(f"the embedder answered {len(body)} bytes for {shapes}")
        vectors = block.reshape(rows, dim).astype(np.float32, copy=False)
        found.append((vectors[0], vectors[1:] if rows > 1 else vectors))
        start = end
    return found


def encode_familiar(familiar: Sequence[bool | None]) -> str:
    """The value of FAMILIAR_HEADER, a word for each release."""
    return ",".join("unknown" if one is None else "yes" if one else "no" for one in familiar)


def decode_familiar(header: str, *, count: int) -> list[bool | None]:
    words = header.split(",") + [""] * count
    return [{"yes": True, "no": False}.get(word) for word in words[:count]]


def encode_predicted(predicted: Sequence[Prediction]) -> str:
    """The value of PREDICTED_HEADER: `[[label,probability],...]` in ASCII. Labels beyond its length are left out."""
    shown = [[one.label, one.probability] for one in predicted]
    while True:
        # json.dumps does not escape DEL, which is not allowed in a header.
        text = json.dumps(shown, separators=(",", ":")).replace("\x7f", "\\u007f")
        if len(text) <= _MAX_PREDICTED_CHARS or not shown:
            return text
        shown.pop()


def decode_predicted(header: str) -> tuple[Prediction, ...]:
    """Decode PREDICTED_HEADER; an empty value has no labels. Raises EmbedderUnavailable."""
    if not header:
        return ()
    try:
        return tuple(Prediction(str(label), float(probability)) for label, probability in json.loads(header))
    except (ValueError, TypeError) as error:
        raise EmbedderUnavailable("the embedder's labels cannot be read: does it have another version?") from error


def encode_batch(results: Sequence[Vectors | VitrineError], *, dim: int) -> tuple[bytes, str]:
    """(body, value of REJECTED_HEADER) of a batch. The value is `row:code:detail` separated by commas; the details are
    percent-encoded.
    """
    rows = np.full((len(results), dim), np.nan, dtype=_DTYPE)
    rejected = []
    detail_chars = 0
    for number, result in enumerate(results):
        if isinstance(result, VitrineError):
            detail = quote(result.detail[:_MAX_DETAIL_CHARS], safe=" ")
            detail_chars += len(detail)
            fits = bool(detail) and detail_chars <= _MAX_REJECTED_CHARS
            rejected.append(f"{number}:{result.code}:{detail}" if fits else f"{number}:{result.code}")
        else:
            rows[number] = result
    return rows.tobytes(), ",".join(rejected)


def decode_batch(body: bytes, rejected: str, *, count: int) -> list[BatchResult]:
    """The results of a batch of `count` pictures, in order. Raises EmbedderUnavailable if they cannot be decoded."""
    if count == 0 or len(body) % (count * _DTYPE.itemsize):
        raise EmbedderUnavailable(f"the embedder answered {len(body)} bytes for {count} pictures")
    rows = np.frombuffer(body, dtype=_DTYPE).reshape(count, -1)
    errors: dict[int, ImageRejected | EmbeddingFailed] = {}
    for part in filter(None, rejected.split(",")):
        number, code, *detail = part.split(":", maxsplit=2)
        errors[int(number)] = picture_error(code, unquote("".join(detail)))
    return [errors.get(number, rows[number]) for number in range(count)]


def server_timing(timings_ms: Mapping[str, float]) -> str:
    """The value of a Server-Timing header."""
    return ", ".join(f"{stage};dur={took_ms:.3f}" for stage, took_ms in timings_ms.items())


def parse_server_timing(header: str | None) -> dict[str, float]:
    return {match["stage"]: float(match["ms"]) for match in _TIMING.finditer(header or "")}


def embed_parameters(
    release_id: str,
    *,
    space: Space = "projected",
    also: str = "",
    views: str = "",
    region: Region | None = None,
    predict: int = 0,
    parser_id: str = "",
    garments: str = "",
) -> dict[str, str]:
    """The query parameters of a call for vectors. Defaults are left out."""
    optional = _named(
        also=also,
        views=views,
        parser=parser_id,
        garments=garments,
        region="" if region is None else region_text(region),
        predict=str(predict) if predict else "",
    )
    return {"release": release_id, "space": space, **optional}


def bearer(api_key: SecretStr | None) -> dict[str, str]:
    """The header with the API key; empty without one."""
    return {"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}


def _named(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def picture_parts(pictures: Sequence[bytes]) -> list[tuple[str, tuple[str, bytes, str]]]:
    """The multipart body of a batch. Raises ParameterInvalid unless there are 1 to 256 pictures."""
    if not 1 <= len(pictures) <= MAX_BATCH:
        raise ParameterInvalid(f"a batch has 1 to {MAX_BATCH} pictures, not {len(pictures)}")
    return [("image", (f"{number}", data, VECTOR_MEDIA_TYPE)) for number, data in enumerate(pictures)]


def request_headers(left_s: float | None, caller: str, work: str = "") -> dict[str, str]:
    """The headers of one request. `left_s` are the seconds until its caller stops waiting."""
    found = {"Accept": VECTOR_MEDIA_TYPE, **_named(**{CALLER_HEADER: caller, WORK_HEADER: work})}
    request_id = current_request_id()
    if request_id is not None:
        found[REQUEST_ID_HEADER] = request_id
    if left_s is not None:
        found[DEADLINE_HEADER] = str(max(1, int(left_s * 1000)))
    return found


def checked_answer(answer: httpx.Response) -> httpx.Response:
    """Return a successful answer. Raises the error of any other."""
    if answer.status_code in (200, 204):
        return answer
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    raise error_of_answer(answer.status_code, answer.headers, problem)


def embeddings_of(answer: httpx.Response) -> list[Embedding]:
    """Decode the answer of `/v1/embed`, for each release. Raises EmbedderUnavailable."""
    found = decode_views(answer.content, answer.headers.get(SHAPES_HEADER, ""))
    timings_ms = parse_server_timing(answer.headers.get("server-timing"))
    familiar = decode_familiar(answer.headers.get(FAMILIAR_HEADER, ""), count=len(found))
    # Only the first release predicts labels.
    predicted = [decode_predicted(answer.headers.get(PREDICTED_HEADER, "")), *((),) * (len(found) - 1)]
    return [
        Embedding(vector, timings_ms, known, views, labels)
        for (vector, views), known, labels in zip(found, familiar, predicted, strict=True)
    ]
