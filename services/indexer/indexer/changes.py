"""What an indexing adds, changes and removes, by comparing what serves at its end with what served at its start, and
the stop before it removes much of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from indexer.parts import Parts
from indexer.target import Target
from vitrine.errors import RemovalRefused
from vitrine.products import ADDED_AT_FIELD, point_id

REMOVED_IDS_LISTED: Final = 200
_REMOVED_IDS_TOLD: Final = 10
_DIGEST_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Changes:
    """Counts of products, and the ids of those that were removed."""

    added: int
    changed: int
    removed: tuple[str, ...]

    def result(self) -> dict[str, Any]:
        """As a job's result has it; of very many removed ids the first."""
        return {
            "added": self.added,
            "changed": self.changed,
            "removed": len(self.removed),
            "removed_ids": list(self.removed[:REMOVED_IDS_LISTED]),
        }


def served_now(parts: Parts, target: Target) -> dict[str, str]:
    """A digest of every product that serves the dataset and model now, by product id."""
    for serving in parts.vectors.servings():
        if (serving.dataset, serving.model) == (target.dataset, target.model):
            return dict(_digests(parts, serving.collection))
    return {}


def check_removal(parts: Parts, target: Target, served: Collection[str], kept: Collection[str]) -> None:
    """Raise RemovalRefused where more of the products that serve would go than an indexing may remove unasked.

    `served` are product ids, `kept` the point ids of what will serve. What would go is put into the job's result.
    """
    if target.allow_removal:
        return
    gone = sorted(product_id for product_id in served if point_id(target.dataset, product_id) not in kept)
    if len(gone) <= parts.settings.removal_max_share * len(served):
        return
    result = {"would_remove": len(gone), "would_remove_ids": gone[:REMOVED_IDS_LISTED]}
    parts.jobs.update(target.job_id, lambda record: record.model_copy(update={"result": result}))
    shown = ", ".join(gone[:_REMOVED_IDS_TOLD])
    more = f" and {len(gone) - _REMOVED_IDS_TOLD:,} more" if len(gone) > _REMOVED_IDS_TOLD else ""
    raise RemovalRefused(
        f"this indexing would remove {len(gone):,} of the {len(served):,} products that serve {target.dataset!r}: "
        f"{shown}{more}. Nothing has been removed. If the catalogue and its pictures are as they should be, "
        "index again with --allow-removal (over HTTP: allowRemoval)"
    )


def changes_since(parts: Parts, target: Target, served: Mapping[str, str]) -> Changes:
    """What the target's collection has that `served` had not, has changed, and has no more."""
    if not served:
        return Changes(parts.vectors.count(target.collection), 0, ())
    left = dict(served)
    added = changed = 0
    for product_id, digest in _digests(parts, target.collection):
        before = left.pop(product_id, None)
        added += before is None
        changed += before is not None and before != digest
    return Changes(added, changed, tuple(sorted(left)))


def _digests(parts: Parts, collection: str) -> Iterator[tuple[str, str]]:
    for payload in parts.vectors.all_payloads(collection):
        yield str(payload["product_id"]), payload_digest(payload)


def payload_digest(payload: Mapping[str, Any]) -> str:
    """A short digest of a payload, picture included. A number and its text have the same one: a field that only changes
    its type does not change its products, and neither does the note of when they were added.
    """
    members = sorted((name, _text(value)) for name, value in payload.items() if name != ADDED_AT_FIELD)
    return hashlib.blake2b(repr(members).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
