"""The plan of an indexing job: what it indexes into which collection, and its products in batches.

The plan is written once, at the start of the job, compressed in Redis. A resumed job follows the same plan, even if the
catalogue's folder has changed since.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import redis

from vitrine.errors import Conflict, ParameterInvalid
from vitrine.jobs import JobRecord, keys
from vitrine.jobs.params.catalog import IndexParams
from vitrine.jobs.redis import broker_errors
from vitrine.kinds import kinds_from
from vitrine.products import AttributeKind, Product
from vitrine.qdrant.naming import Serving, collection_name
from vitrine.qdrant.schema import CollectionMetadata
from vitrine.uploads.store import Origin

_BATCHES_PER_WRITE: Final = 64
# The same hash has digests of the products that served when the job started, in chunks.
_SERVED: Final = "served:"
_DIGESTS_PER_CHUNK: Final = 20_000


@dataclass(frozen=True, slots=True)
class IndexTarget:
    """The parameters of an indexing job.

    `placed_in` is the collection it fills, None until that is decided. `source` is another collection of the same
    release, whose vectors it reuses. `kinds` are those of the planned products' attributes.
    """

    job_id: str
    dataset: str
    reader: str
    root: Path
    model: str
    release_id: str
    limit: int | None
    mapping: Mapping[str, str] | None = None
    allow_removal: bool = False
    full: bool = False
    download: bool = False
    placed_in: str | None = None
    source: str | None = None
    kinds: Mapping[str, AttributeKind] = field(default_factory=dict)

    @classmethod
    def of(cls, record: JobRecord) -> IndexTarget:
        """The target of a job. Raises ParameterInvalid if its parameters are not valid."""
        params = IndexParams.of(record)
        if params.release_id is None:
            raise ParameterInvalid(f"the index job {record.id} names no release")
        return cls(
            job_id=record.id,
            dataset=params.dataset,
            reader=params.reader_name,
            root=Path(params.root),
            model=params.model,
            release_id=params.release_id,
            limit=params.limit,
            mapping=params.mapping,
            allow_removal=params.allow_removal,
            full=params.full,
            download=params.download,
            placed_in=record.params.get("collection"),
            source=record.params.get("source_collection"),
            kinds=kinds_from(record.params.get("kinds") or {}),
        )

    @property
    def collection(self) -> str:
        """The collection that the job fills: the first generation until that is decided."""
        return self.placed_in or collection_name(self.dataset, self.release_id)

    @property
    def serving(self) -> Serving:
        return Serving(self.dataset, self.model, self.release_id, self.collection)

    @property
    def metadata(self) -> CollectionMetadata:
        return CollectionMetadata(
            dataset=self.dataset,
            model=self.model,
            release_id=self.release_id,
            catalog=self.reader,
            root=str(self.root),
            state="building",
            mapping=self.mapping or {},
            kinds=dict(self.kinds),
        )


@dataclass(frozen=True, slots=True)
class PlannedProduct:
    """A product of a plan. `origin` says where its picture is: in the catalogue or among the uploads."""

    product: Product
    origin: Origin


class PlanStore:
    """The plans of jobs. Every call raises BrokerUnavailable if Redis cannot answer."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def write(self, job_id: str, planned: Sequence[PlannedProduct], *, batch_size: int) -> int:
        """Store the plan in batches of `batch_size` products. Returns the number of batches."""
        key = keys.part(job_id, "plan")
        batches = enumerate(planned[start : start + batch_size] for start in range(0, len(planned), batch_size))
        with broker_errors():
            self._redis.delete(key)
            while some := list(islice(batches, _BATCHES_PER_WRITE)):
                self._redis.hset(key, mapping={str(number): _pack(batch) for number, batch in some})
        return -(-len(planned) // batch_size)

    def batch(self, job_id: str, number: int, *, dataset: str) -> list[PlannedProduct]:
        """The products of one batch. Raises Conflict if the plan is gone."""
        with broker_errors():
            packed = self._redis.hget(keys.part(job_id, "plan"), str(number))
        if packed is None:
            raise Conflict(f"the job {job_id} has no plan for its batch {number}: start it again")
        return _unpack(packed, dataset)

    def all(self, job_id: str, *, dataset: str) -> Iterator[PlannedProduct]:
        """The products of all batches, in order."""
        with broker_errors():
            stored = self._redis.hgetall(keys.part(job_id, "plan"))
        batches = {name: packed for name, packed in stored.items() if not _text(name).startswith(_SERVED)}
        for number in sorted(batches, key=int):
            yield from _unpack(batches[number], dataset)

    def write_served(self, job_id: str, digests: Mapping[str, str]) -> None:
        """Store a digest of each product that serves when the job starts, by product id."""
        items = list(digests.items())
        with broker_errors():
            for number, start in enumerate(range(0, len(items), _DIGESTS_PER_CHUNK)):
                packed = _compress(dict(items[start : start + _DIGESTS_PER_CHUNK]))
                self._redis.hset(keys.part(job_id, "plan"), f"{_SERVED}{number}", packed)

    def served(self, job_id: str) -> dict[str, str]:
        """The digests that `write_served` stored."""
        found: dict[str, str] = {}
        with broker_errors():
            for name in map(_text, self._redis.hkeys(keys.part(job_id, "plan"))):
                if name.startswith(_SERVED):
                    packed = self._redis.hget(keys.part(job_id, "plan"), name)
                    if isinstance(packed, bytes):
                        found |= json.loads(zlib.decompress(packed))
        return found

    def remove(self, job_id: str) -> None:
        with broker_errors():
            self._redis.delete(keys.part(job_id, "plan"))


def _pack(batch: Sequence[PlannedProduct]) -> bytes:
    rows = [
        [
            one.product.id,
            one.product.picture,
            one.origin,
            dict(one.product.attributes),
            one.product.more_pictures,
            one.product.variant_of,
        ]
        for one in batch
    ]
    return _compress(rows)


def _unpack(packed: bytes | str, dataset: str) -> list[PlannedProduct]:
    assert isinstance(packed, bytes)  # the client does not decode
    rows = json.loads(zlib.decompress(packed))
    return [_planned(dataset, *row) for row in rows]


def _planned(
    dataset: str,
    product_id: str,
    picture: str,
    origin: Origin,
    attributes: dict[str, Any],
    more_pictures: Sequence[str] = (),  # a plan of before has neither of these
    variant_of: str | None = None,
) -> PlannedProduct:
    return PlannedProduct(Product(dataset, product_id, picture, attributes, tuple(more_pictures), variant_of), origin)


def _compress(content: Any) -> bytes:
    return zlib.compress(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), level=1)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
