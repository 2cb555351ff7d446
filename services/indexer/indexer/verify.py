"""The checks before a collection serves, and the comparison with the products that served before.

A collection must have exactly the expected products, a sample of them must find itself first, and approximate search
must find what exact search finds. An indexing may not remove many of the served products without permission.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qdrant_client import models

from indexer.dependencies import Dependencies
from indexer.plan import IndexTarget
from indexer.vectors import Vectors
from vitrine.errors import RemovalRefused, VerificationFailed
from vitrine.jobs.schedules import Change
from vitrine.kinds import text_of
from vitrine.products import ADDED_AT_FIELD, FILES_FIELD, PATHS_FIELD, VARIANT_FIELD, point_id
from vitrine.qdrant.schema import CollectionInfo

TOP: Final = 10
# Products with the same picture have the same score, in any order.
_TIE: Final = 1e-6
_BATCH: Final = 50
_QUERIES: Final = 100
_MAX_LISTED_IDS: Final = 200
_REMOVED_IDS_IN_ERROR: Final = 10
_DIGEST_BYTES: Final = 8
_IGNORED: Final = frozenset({ADDED_AT_FIELD, FILES_FIELD, PATHS_FIELD})


def verify(
    vectors: Vectors,
    collection: str,
    expected: Collection[str],
    *,
    sample: int,
    min_recall: float,
    info: CollectionInfo | None = None,
) -> float:
    """Check that the collection's points are exactly `expected`. Returns recall@10 against exact search, on a sample of
    products with all of their pictures. `info` describes the collection.

    Raises VerificationFailed.
    """
    count = vectors.count(collection)
    if count != len(expected):
        raise VerificationFailed(f"the collection {collection!r} has {count} products and should have {len(expected)}")
    chosen = random.Random(0).sample(sorted(expected), min(sample, len(expected)))  # noqa: S311 - a sample, no secret
    hits = wanted = 0
    for start in range(0, len(chosen), _BATCH):
        part = chosen[start : start + _BATCH]
        stored = vectors.vectors(collection, part)
        missing = [point for point in part if point not in stored]
        if missing:
            raise VerificationFailed(
                f"the collection {collection!r} lacks {len(missing)} of {len(part)} sampled products"
            )
        queries = [(point, vector.tolist()) for point in part for vector in stored[point]]
        for first in range(0, len(queries), _QUERIES):
            owners, pictures = zip(*queries[first : first + _QUERIES], strict=True)
            found = vectors.neighbours(collection, pictures, limit=TOP, exact=False, info=info)
            exact = vectors.neighbours(collection, pictures, limit=TOP, exact=True)
            for point, approximate, truth in zip(owners, found, exact, strict=True):
                if not _finds_itself(point, approximate):
                    raise VerificationFailed(f"a product of {collection!r} does not find itself first: point {point}")
                hits += _hits(approximate, truth)
                wanted += len(truth)
    recall = hits / wanted if wanted else 1.0
    if recall < min_recall:
        raise VerificationFailed(
            f"recall@{TOP} of the collection {collection!r} against exact search is {recall:.4f}, "
            f"and must be at least {min_recall}"
        )
    return recall


def _finds_itself(point: str, found: Sequence[models.ScoredPoint]) -> bool:
    """Whether the point has or shares the first place. If all results share it, the point may come after them."""
    if not found:
        return False
    first = [str(hit.id) for hit in found if found[0].score - hit.score <= _TIE]
    return point in first or len(first) == TOP


def _hits(found: Sequence[models.ScoredPoint], exact: Sequence[models.ScoredPoint]) -> int:
    """How many results are in the exact answer, or as near as its last one."""
    if not exact:
        return 0
    truth = {str(point.id) for point in exact}
    last = exact[-1].score
    return sum(str(point.id) in truth or point.score >= last - _TIE for point in found)


@dataclass(frozen=True, slots=True)
class Changes:
    """The ids of products, in order."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def of_kinds(self) -> dict[Change, tuple[str, ...]]:
        return {"added": self.added, "changed": self.changed, "removed": self.removed}

    def result(self) -> dict[str, Any]:
        """The fields of the job's result: the counts, and the first 200 ids of each."""
        kinds = self.of_kinds()
        counts = {kind: len(ids) for kind, ids in kinds.items()}
        return counts | {f"{kind}_ids": list(ids[:_MAX_LISTED_IDS]) for kind, ids in kinds.items()}


def served_now(deps: Dependencies, target: IndexTarget) -> dict[str, str]:
    """A digest of every product that now serves the dataset and model, by product id."""
    for serving in deps.vectors.servings():
        if (serving.dataset, serving.model) == (target.dataset, target.model):
            return dict(_digests(deps, serving.collection))
    return {}


def check_removal(deps: Dependencies, target: IndexTarget, served: Collection[str], kept: Collection[str]) -> None:
    """Raises RemovalRefused if more of the served products would be removed than is allowed by default.

    `served` are product ids, `kept` the point ids that will serve. The ids of the products that would be removed are
    written into the job's result.
    """
    if target.allow_removal:
        return
    gone = sorted(product_id for product_id in served if point_id(target.dataset, product_id) not in kept)
    if len(gone) <= deps.settings.removal_max_share * len(served):
        return
    deps.schedules.write_changes(target.job_id, {"removed": gone})
    result = {"would_remove": len(gone), "would_remove_ids": gone[:_MAX_LISTED_IDS]}
    deps.jobs.update(target.job_id, lambda record: record.model_copy(update={"result": result}))
    shown = ", ".join(gone[:_REMOVED_IDS_IN_ERROR])
    more = f" and {len(gone) - _REMOVED_IDS_IN_ERROR:,} more" if len(gone) > _REMOVED_IDS_IN_ERROR else ""
    raise RemovalRefused(
        f"this indexing would remove {len(gone):,} of the {len(served):,} products that serve {target.dataset!r}: "
        f"{shown}{more}. Nothing has been removed. If the catalogue and its pictures are as they should be, "
        "index again with --allow-removal (over HTTP: allowRemoval)"
    )


def changes_since(deps: Dependencies, target: IndexTarget, served: Mapping[str, str]) -> Changes:
    """Compare the target's collection with the digests of what served before."""
    left = dict(served)
    added, changed = [], []
    for product_id, digest in _digests(deps, target.collection):
        before = left.pop(product_id, None)
        if before is None:
            added.append(product_id)
        elif before != digest:
            changed.append(product_id)
    return Changes(tuple(sorted(added)), tuple(sorted(changed)), tuple(sorted(left)))


def payload_digest(payload: Mapping[str, Any]) -> str:
    """A digest of a payload, including the picture's hash.

    A value and its text have the same digest, so an attribute that only changes its kind does not change its products.
    The time when the product was added and the times of its files are ignored, and so is the product's own id in place
    of one that it shares with variants.
    """
    alone = {VARIANT_FIELD} if payload.get(VARIANT_FIELD) == payload.get("product_id") else set()
    ignored = _IGNORED | alone
    members = sorted((name, _text(value)) for name, value in payload.items() if name not in ignored)
    return hashlib.blake2b(repr(members).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _digests(deps: Dependencies, collection: str) -> Iterator[tuple[str, str]]:
    for payload in deps.vectors.all_payloads(collection):
        yield str(payload["product_id"]), payload_digest(payload)


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return str(value) if isinstance(value, list | dict) else text_of(value)
