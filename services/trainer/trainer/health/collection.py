"""One pass over a served collection.

Qdrant has no search graph for a small collection and would compare every vector with all others, one query at a time:
their neighbours are computed here. Of a large one, vectors are queried with and dropped; a product keeps about 300
bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from qdrant_client import QdrantClient, models

from trainer.health.attributes import AttributeTally
from trainer.progress import Progress
from vitrine.evaluation.ranking import unit_rows
from vitrine.products import VARIANT_FIELD, point_id
from vitrine.qdrant.client import payloads_of, picture_vectors
from vitrine.qdrant.errors import qdrant_errors
from vitrine.types import Codes, Vectors

Keys = npt.NDArray[np.uint64]
Neighbours = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]

NEIGHBOURS: Final = 24
MOST_COMPARED: Final = 60_000
_COMPARED: Final = 256
_PAGE: Final = 128
_RETRIEVED: Final = 256
_SEARCH: Final = models.SearchParams(hnsw_ef=128)


@dataclass(frozen=True, slots=True)
class PictureHashes:
    """The pictures of all products: the beginning of the SHA-256 of each, its product's row and its number there."""

    keys: Keys
    rows: Neighbours
    numbers: Neighbours


@dataclass(frozen=True, slots=True)
class ScannedCollection:
    """N products by row.

    `labels` (N,) are codes of `label_names`, -1 without a value. `faces` (N,) and `variants` (N,) identify the first
    picture and the product that variants share, 0 if unknown. `neighbours` (N, K) are rows, best first, -1 where there
    are fewer; `scores` (N, K) are cosines. A product is looked for by its first picture and never its own neighbour.
    """

    ids: tuple[str, ...]
    labels: Codes
    label_names: tuple[str, ...]
    faces: Keys
    variants: Keys
    pictures: PictureHashes
    neighbours: Neighbours
    scores: Scores

    def __len__(self) -> int:
        return len(self.ids)


class _Codes:
    """Whole numbers for texts, from 0 in the order of appearance."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def of(self, value: Any) -> int:
        """The code of a single text, -1 for anything else."""
        if not isinstance(value, str) or not value:
            return -1
        return self._codes.setdefault(value, len(self._codes))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._codes)


def scan_collection(
    client: QdrantClient,
    collection: str,
    *,
    label: str | None,
    tally: AttributeTally,
    progress: Progress,
    total: int,
    neighbours: int = NEIGHBOURS,
    most_compared: int = MOST_COMPARED,
) -> ScannedCollection:
    """Read every product once, count its attributes into `tally` and look for its neighbours. Those of at most
    `most_compared` products are computed here, others searched in Qdrant.

    Raises VectorStoreUnavailable, CollectionNotFound if the collection is dropped meanwhile, and what `progress`
    raises.
    """
    ids: list[str] = []
    labels, codes = [], _Codes()
    points, faces, variants = [], [], []
    hashes: list[int] = []
    rows: list[int] = []
    numbers: list[int] = []
    searched = total > most_compared
    vectors: list[Vectors] = []
    near: list[Keys] = []
    scores: list[Scores] = []
    started_s = time.monotonic()
    for records in _pages(client, collection):
        for record in records:
            payload = record.payload or {}
            row = len(ids)
            ids.append(str(payload.get("product_id")))
            tally.add(payload)
            labels.append(-1 if label is None else codes.of(payload.get(label)))
            points.append(_point_key(record.id))
            variants.append(_text_key(payload.get(VARIANT_FIELD)))
            digests = [_digest_key(one) for one in _digests(payload)]
            faces.append(digests[0] if digests else 0)
            hashes += digests
            rows += [row] * len(digests)
            numbers += range(len(digests))
        if searched:
            found = _nearest(client, collection, records, neighbours + 1)
            near.append(found[0])
            scores.append(found[1])
        else:
            vectors += [picture_vectors(record.vector)[0] for record in records]
        rate = len(ids) / max(time.monotonic() - started_s, 1e-3)
        left_s = max(0, total - len(ids)) / rate
        progress.progress(len(ids), max(total, len(ids)), eta_s=left_s, phase="finding neighbours")
    if near:
        found_rows = _rows_of(np.array(points, dtype=np.uint64), np.concatenate(near))
        kept_rows, kept_scores = _without_self(found_rows, np.concatenate(scores))
    else:
        kept_rows, kept_scores = nearest_of_all(vectors, neighbours, progress)
    return ScannedCollection(
        ids=tuple(ids),
        labels=np.array(labels, dtype=np.int64),
        label_names=codes.names,
        faces=np.array(faces, dtype=np.uint64),
        variants=np.array(variants, dtype=np.uint64),
        pictures=PictureHashes(
            np.array(hashes, dtype=np.uint64), np.array(rows, dtype=np.int32), np.array(numbers, dtype=np.int32)
        ),
        neighbours=kept_rows[:, :neighbours],
        scores=kept_scores[:, :neighbours],
    )


def nearest_of_all(vectors: Sequence[Vectors], count: int, progress: Progress) -> tuple[Neighbours, Scores]:
    """The rows (N, count) of the nearest of N vectors, best first, and their cosines; -1 where there are fewer."""
    rows = np.full((len(vectors), count), -1, dtype=np.int32)
    scores = np.full((len(vectors), count), -1.0, dtype=np.float32)
    most = min(count, len(vectors) - 1)
    if most < 1:
        return rows, scores
    every = unit_rows(np.stack(vectors))
    for start in range(0, len(every), _COMPARED):
        part = every[start : start + _COMPARED] @ every.T
        at = np.arange(len(part))
        part[at, at + start] = -np.inf
        best = np.argpartition(-part, most - 1, axis=1)[:, :most]
        found = np.take_along_axis(part, best, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        rows[start : start + _COMPARED, :most] = np.take_along_axis(best, order, axis=1)
        scores[start : start + _COMPARED, :most] = np.take_along_axis(found, order, axis=1)
        progress.progress(min(start + _COMPARED, len(every)), len(every), eta_s=None, phase="comparing vectors")
    return rows, scores


def read_payloads(
    client: QdrantClient, collection: str, dataset: str, ids: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    """The payloads of products, by product id. Those that were deleted meanwhile are missing."""
    found: dict[str, Mapping[str, Any]] = {}
    wanted = list(dict.fromkeys(ids))
    for start in range(0, len(wanted), _RETRIEVED):
        part = [point_id(dataset, one) for one in wanted[start : start + _RETRIEVED]]
        with qdrant_errors(collection):
            records = client.retrieve(collection, ids=part, with_payload=True)
        found |= {str(payload.get("product_id")): payload for payload in payloads_of(records).values()}
    return found


def _pages(client: QdrantClient, collection: str) -> Iterator[list[models.Record]]:
    following: Any = None
    while True:
        with qdrant_errors(collection):
            records, following = client.scroll(
                collection, limit=_PAGE, offset=following, with_payload=True, with_vectors=True
            )
        if records:
            yield records
        if following is None:
            return


def _nearest(
    client: QdrantClient, collection: str, records: Sequence[models.Record], count: int
) -> tuple[Keys, Scores]:
    """The keys of the nearest points (N, count), 0 where there are fewer, and their scores."""
    requests = [models.QueryRequest(query=_face(record.vector), limit=count, params=_SEARCH) for record in records]
    with qdrant_errors(collection):
        answers = client.query_batch_points(collection, requests)
    keys = np.zeros((len(records), count), dtype=np.uint64)
    scores = np.full((len(records), count), -1.0, dtype=np.float32)
    for row, answer in enumerate(answers):
        for column, point in enumerate(answer.points[:count]):
            keys[row, column] = _point_key(point.id)
            scores[row, column] = point.score
    return keys, scores


def _face(vector: Any) -> Any:
    """The vector of a point's first picture, in the form of the collection's vectors."""
    face = picture_vectors(vector)[0].tolist()
    return [face] if isinstance(vector[0], list) else face


def _rows_of(points: Keys, wanted: Keys) -> Neighbours:
    """The row of each wanted key, -1 for a point that was added after its place was read."""
    order = np.argsort(points)
    ordered = points[order]
    rows = np.full(wanted.shape, -1, dtype=np.int32)
    if not len(points):
        return rows
    for start in range(0, len(wanted), 65_536):
        part = wanted[start : start + 65_536]
        places = np.minimum(np.searchsorted(ordered, part), len(points) - 1)
        rows[start : start + 65_536] = np.where(ordered[places] == part, order[places], -1)
    return rows


def _without_self(rows: Neighbours, scores: Scores) -> tuple[Neighbours, Scores]:
    """Rows and scores with a product's own row and the missing ones moved to the end, as -1."""
    own = np.arange(len(rows), dtype=np.int32)[:, None]
    rows = np.where(rows == own, np.int32(-1), rows)
    order = np.argsort(rows < 0, axis=1, kind="stable")
    rows = np.take_along_axis(rows, order, axis=1)
    scores = np.take_along_axis(scores, order, axis=1)
    return rows, np.where(rows < 0, np.float32(-1.0), scores)


def _digests(payload: Mapping[str, Any]) -> list[Any]:
    several = payload.get("pictures_sha256")
    return several if isinstance(several, list) else [payload.get("picture_sha256")]


def _point_key(point: Any) -> int:
    """The first half of a point's UUID."""
    return int(str(point).replace("-", "")[:16], 16)


def _digest_key(digest: Any) -> int:
    try:
        return int(str(digest)[:16], 16)
    except ValueError:
        return 0


def _text_key(text: Any) -> int:
    """A key of a product id, 0 for none. Two of a million different ids share one by a chance of 1 in 10 million."""
    return 0 if text is None else int(point_id("", str(text)).replace("-", "")[:16], 16)
