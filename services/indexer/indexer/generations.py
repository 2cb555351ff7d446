"""The collections of a dataset and release: which one an indexing fills, and which ones are removed.

A serving collection is changed in place only if this indexing would create it the same: with attributes of the same
kinds, dimensions, reader, folder and layout. Otherwise a new generation is built beside it, and serves once it is
complete and verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from indexer.dependencies import Dependencies
from indexer.plan import IndexTarget
from vitrine.errors import VitrineError
from vitrine.jobs import JobKind
from vitrine.kinds import filterable, widened
from vitrine.products import AttributeKind
from vitrine.qdrant.naming import collection_name, generation_of, parse_collection_name
from vitrine.qdrant.profiles import DEFAULT_LAYOUT, Layout
from vitrine.qdrant.schema import CollectionInfo
from vitrine.telemetry import get_logger


@dataclass(frozen=True, slots=True)
class Generation:
    """The collection that an indexing fills, and its attributes. Vectors of `source`, another one, can be reused."""

    collection: str
    kinds: Mapping[str, AttributeKind]
    source: str | None
    several_pictures: bool = False
    variants: bool = False


def choose_generation(
    deps: Dependencies,
    target: IndexTarget,
    *,
    dim: int,
    kinds: Mapping[str, AttributeKind],
    several_pictures: bool = False,
    variants: bool = False,
) -> Generation:
    """Choose the collection for attributes of these `kinds`. The same again, unless another job came in between.

    `several_pictures` and `variants`: at least one product has several pictures, or variants.
    """
    own = {
        name: facts
        for name, facts in deps.vectors.described().items()
        if parse_collection_name(name) == (target.dataset, target.release_id)
    }
    source = _newest(deps, own)
    if target.limit is not None and source is not None:
        # The other products stay, so the kinds must fit their values too.
        kinds = widened(kinds, own[source].kinds)
        several_pictures = several_pictures or own[source].several_pictures
        variants = variants or own[source].variants
    preferred = sorted(own, key=lambda name: (name == source, generation_of(name)), reverse=True)
    for name in preferred:
        facts = own[name]
        if fits_in_place(
            facts,
            target,
            dim=dim,
            kinds=kinds,
            several_pictures=several_pictures,
            variants=variants,
            layout=deps.settings.layout,
        ):
            return Generation(name, kinds, None if source == name else source, facts.several_pictures, facts.variants)
    number = 1 + max(map(generation_of, (*own, *_planned_by_others(deps, target))), default=0)
    name = collection_name(target.dataset, target.release_id, number)
    return Generation(name, kinds, source, several_pictures, variants)


def fits_in_place(
    facts: CollectionInfo,
    target: IndexTarget,
    *,
    dim: int,
    kinds: Mapping[str, AttributeKind],
    several_pictures: bool = False,
    variants: bool = False,
    layout: Layout = DEFAULT_LAYOUT,
) -> bool:
    """Whether the target's indexing would create the collection the same, so that it can be changed in place.

    A collection for several pictures fits products with one as well, and one for variants fits products without.
    """
    same = (
        facts.dim == dim
        and facts.layout == layout
        and (facts.several_pictures or not several_pictures)
        and (facts.variants or not variants)
        and facts.metadata.model == target.model
        and facts.metadata.catalog == target.reader
        and facts.metadata.root == str(target.root)
        and dict(facts.metadata.mapping) == dict(target.mapping or {})
    )
    stored, wanted = filterable(facts.kinds), filterable(kinds)
    if facts.metadata.state == "building":
        # Left incomplete by a crash: it is completed if what is there is right.
        return same and all(wanted.get(name) is kind for name, kind in stored.items())
    return same and stored == wanted


def newest_ready(collections: Mapping[str, CollectionInfo], dataset: str, release_id: str) -> str | None:
    """The collection of a release that was published last."""
    own = {name: facts for name, facts in collections.items() if parse_collection_name(name) == (dataset, release_id)}
    return _last_published(own)


def remove_old(
    deps: Dependencies, target: IndexTarget, *, previous: str | None, neighbours: Iterable[str], aliased: set[str]
) -> None:
    """Remove the collections of this dataset and model that are no longer needed.

    Kept are those with an alias, `neighbours` (which augmented collections need), those that other jobs build, the
    `previous` one, and the newest others up to `keep_previous`.
    """
    others = _other_targets(deps, target)
    building = {other.collection for other in others} | {other.source for other in others if other.source}
    kept = {*aliased, *neighbours, *building, target.collection}
    own = {
        name: facts.metadata
        for name, facts in deps.vectors.described().items()
        if (facts.metadata.dataset, facts.metadata.model) == (target.dataset, target.model) and name not in kept
    }
    ready = sorted(
        (name for name, metadata in own.items() if metadata.state == "ready"),
        key=lambda name: (name == previous, own[name].published_at or ""),
        reverse=True,
    )
    for name in own:
        if name not in ready[: deps.settings.keep_previous]:
            deps.vectors.drop(name)
            get_logger("indexer").info("collection_removal", collection=name)


def remove_unfinished(deps: Dependencies, target: IndexTarget) -> None:
    """Remove what a failed or cancelled indexing has built, unless another job builds it, or it serves."""
    others = (record for record in deps.jobs.unfinished((JobKind.INDEX,)) if record.id != target.job_id)
    if any(IndexTarget.of(record).collection == target.collection for record in others):
        return
    try:
        if not deps.vectors.exists(target.collection):
            return
        metadata = deps.vectors.metadata(target.collection)
        aliased = deps.vectors.aliased()
        if metadata is not None and metadata.state == "building" and target.collection not in aliased:
            deps.vectors.drop(target.collection)
    except VitrineError as error:
        # The next indexing of this dataset and model removes it.
        get_logger("indexer").warning("clean_up_failure", collection=target.collection, code=error.code)


def _newest(deps: Dependencies, own: Mapping[str, CollectionInfo]) -> str | None:
    """The collection of the release that serves, or else the one that was published last."""
    serving = [serving.collection for serving in deps.vectors.servings() if serving.collection in own]
    return serving[0] if serving else _last_published(own)


def _last_published(collections: Mapping[str, CollectionInfo]) -> str | None:
    ready = [name for name, facts in collections.items() if facts.metadata.state == "ready"]
    return max(
        ready,
        key=lambda name: (collections[name].metadata.published_at or "", generation_of(name), name),
        default=None,
    )


def _planned_by_others(deps: Dependencies, target: IndexTarget) -> Iterable[str]:
    """The collections that other jobs of this dataset and release are about to create."""
    for other in _other_targets(deps, target):
        if (other.dataset, other.release_id) == (target.dataset, target.release_id) and other.placed_in is not None:
            yield other.placed_in


def _other_targets(deps: Dependencies, target: IndexTarget) -> list[IndexTarget]:
    return [
        IndexTarget.of(record)
        for record in deps.jobs.unfinished((JobKind.INDEX,))
        if record.id != target.job_id and record.params.get("release_id")
    ]
