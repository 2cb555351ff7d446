"""What an indexing job will do, laid out once when it starts: its products in batches, kept in Redis, compressed. A job
that is taken up again works by the same plan, whatever happened to the catalogue's folder since.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import redis

from vitrine.errors import Conflict
from vitrine.jobs import keys
from vitrine.jobs.redis import broker_errors
from vitrine.products import Product
from vitrine.uploads.store import Origin

_WRITTEN_AT_ONCE = 64
# Digests of what served when the job began are kept in the same hash, in parts of so many products.
_SERVED = "served:"
_DIGESTS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Planned:
    """One product of a plan, and where its picture lies: in the catalogue, or with the uploads."""

    product: Product
    origin: Origin


class PlanStore:
    """The plans of jobs. Every call may raise BrokerUnavailable."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def write(self, job_id: str, planned: Sequence[Planned], *, batch: int) -> int:
        """Store the plan in batches of `batch` products and return how many there are."""
        key = keys.part(job_id, "plan")
        chunks = enumerate(_chunks(planned, batch))
        with broker_errors():
            self._redis.delete(key)
            while some := list(islice(chunks, _WRITTEN_AT_ONCE)):
                self._redis.hset(key, mapping={str(number): _packed(chunk) for number, chunk in some})
        return -(-len(planned) // batch)

    def batch(self, job_id: str, number: int, *, dataset: str) -> list[Planned]:
        """One batch. Raises Conflict where the plan is gone."""
        with broker_errors():
            packed = self._redis.hget(keys.part(job_id, "plan"), str(number))
        if packed is None:
            raise Conflict(f"the job {job_id} has no plan for its batch {number}: start it anew")
        return _unpacked(packed, dataset)

    def all(self, job_id: str, *, dataset: str) -> Iterator[Planned]:
        """Every product of the plan."""
        with broker_errors():
            stored = self._redis.hgetall(keys.part(job_id, "plan"))
        batches = {name: packed for name, packed in stored.items() if not _name_of(name).startswith(_SERVED)}
        for number in sorted(batches, key=int):
            yield from _unpacked(batches[number], dataset)

    def write_served(self, job_id: str, digests: Mapping[str, str]) -> None:
        """Store a digest of each product that serves when the job begins, by product id."""
        items = list(digests.items())
        with broker_errors():
            for number, start in enumerate(range(0, len(items), _DIGESTS_AT_ONCE)):
                packed = _compressed(dict(items[start : start + _DIGESTS_AT_ONCE]))
                self._redis.hset(keys.part(job_id, "plan"), f"{_SERVED}{number}", packed)

    def served(self, job_id: str) -> dict[str, str]:
        """What `write_served` stored."""
        found: dict[str, str] = {}
        with broker_errors():
            for name in map(_name_of, self._redis.hkeys(keys.part(job_id, "plan"))):
                if name.startswith(_SERVED):
                    packed = self._redis.hget(keys.part(job_id, "plan"), name)
                    if isinstance(packed, bytes):
                        found |= json.loads(zlib.decompress(packed))
        return found

    def remove(self, job_id: str) -> None:
        with broker_errors():
            self._redis.delete(keys.part(job_id, "plan"))


def _chunks(planned: Sequence[Planned], size: int) -> Iterable[Sequence[Planned]]:
    return (planned[start : start + size] for start in range(0, len(planned), size))


def _packed(chunk: Sequence[Planned]) -> bytes:
    rows = [[one.product.id, one.product.picture, one.origin, dict(one.product.attributes)] for one in chunk]
    return _compressed(rows)


def _compressed(content: Any) -> bytes:
    return zlib.compress(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), level=1)


def _name_of(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _unpacked(packed: bytes | str, dataset: str) -> list[Planned]:
    assert isinstance(packed, bytes)  # the client does not decode
    rows = json.loads(zlib.decompress(packed))
    return [
        Planned(Product(dataset, product_id, picture, attributes), origin)
        for product_id, picture, origin, attributes in rows
    ]
