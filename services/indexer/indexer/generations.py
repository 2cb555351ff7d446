"""Which collection an indexing goes into. What serves is changed in place only where it was made as this indexing would
make it: with the same fields and types, number of components, reader and folder. Else a further generation is built
beside it and serves once it is whole and verified; until then the old one does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from indexer.parts import Parts
from indexer.target import Target
from indexer.vectors import CollectionFacts
from vitrine.jobs import JobKind
from vitrine.qdrant.collections import collection_name, generation_of, parse_collection_name
from vitrine.qdrant.fields import FieldType, widened


@dataclass(frozen=True, slots=True)
class Place:
    """The collection an indexing fills, the fields it is to have, and the one of the same release whose vectors can be
    taken over.
    """

    collection: str
    fields: Mapping[str, FieldType]
    source: str | None


def choose_place(parts: Parts, target: Target, *, dim: int, fields: Mapping[str, FieldType]) -> Place:
    """The place for an indexing whose products need `fields`. Choosing again ends the same, unless another job came
    between.
    """
    own = {
        name: facts
        for name, facts in parts.vectors.described().items()
        if parse_collection_name(name) == (target.dataset, target.release_id)
    }
    source = _newest(parts, own)
    if target.limit is not None and source is not None:
        # The products beside those that are asked for stay, so the fields must fit their values too.
        fields = widened(fields, own[source].fields)
    preferred = sorted(own, key=lambda name: (name == source, generation_of(name)), reverse=True)
    for name in preferred:
        if made_alike(own[name], target, dim=dim, fields=fields):
            return Place(name, fields, None if source == name else source)
    number = 1 + max(map(generation_of, (*own, *_others(parts, target))), default=0)
    return Place(collection_name(target.dataset, target.release_id, number), fields, source)


def made_alike(facts: CollectionFacts, target: Target, *, dim: int, fields: Mapping[str, FieldType]) -> bool:
    """Whether the target's indexing would make the collection as it is, so that it can be changed in place."""
    alike = (
        facts.dim == dim
        and facts.metadata.model == target.model
        and facts.metadata.catalog == target.reader
        and facts.metadata.root == str(target.root)
    )
    if facts.metadata.state == "building":
        # One that a crash left half made is completed, provided that what is there is right.
        return alike and all(fields.get(name) == kind for name, kind in facts.fields.items())
    return alike and facts.fields == fields


def newest_ready(collections: Mapping[str, CollectionFacts], dataset: str, release_id: str) -> str | None:
    """The collection of a release that passed its checks last."""
    ready = [
        (facts.metadata.published_at or "", generation_of(name), name)
        for name, facts in collections.items()
        if parse_collection_name(name) == (dataset, release_id) and facts.metadata.state == "ready"
    ]
    return max(ready)[2] if ready else None


def _newest(parts: Parts, own: Mapping[str, CollectionFacts]) -> str | None:
    """The collection of the release that serves, or else the one that was published last."""
    serving = [serving.collection for serving in parts.vectors.servings() if serving.collection in own]
    if serving:
        return serving[0]
    ready = [name for name, facts in own.items() if facts.metadata.state == "ready"]
    return max(ready, key=lambda name: (own[name].metadata.published_at or "", generation_of(name)), default=None)


def _others(parts: Parts, target: Target) -> Iterable[str]:
    """The collections that other jobs of this dataset and release are about to make."""
    for record in parts.jobs.unfinished((JobKind.INDEX,)):
        if record.id != target.job_id and record.params.get("release_id"):
            other = Target.of(record)
            if (other.dataset, other.release_id) == (target.dataset, target.release_id) and other.is_placed:
                yield other.collection
