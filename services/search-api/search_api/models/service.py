"""List releases and their collections, and make a release serve. Shared by the JSON routes and the pages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from search_api.context import Context
from vitrine.errors import CollectionIncomplete, ParameterInvalid, ReleaseCorrupt, ReleaseNotFound, ReleaseOfOtherKind
from vitrine.products import check_dataset_name
from vitrine.qdrant.naming import Serving, generation_of, model_of_release, parse_collection_name
from vitrine.qdrant.schema import CollectionInfo
from vitrine.releases import Manifest, ParserManifest, ReleaseStore

StoredManifest = Manifest | ParserManifest


@dataclass(frozen=True, slots=True)
class Indexed:
    """A collection of a release."""

    info: CollectionInfo
    serving: bool

    @property
    def dataset(self) -> str:
        return self.info.metadata.dataset


@dataclass(frozen=True, slots=True)
class KnownRelease:
    """A release that is stored, indexed or both. `either` is its manifest, None if it is not stored or unreadable."""

    id: str
    model: str
    stored: bool
    either: StoredManifest | None
    indexed: tuple[Indexed, ...]

    @property
    def manifest(self) -> Manifest | None:
        """The manifest of a release that embeds pictures."""
        return self.either if isinstance(self.either, Manifest) else None

    @property
    def parser(self) -> ParserManifest | None:
        """The manifest of a parser of garments."""
        return self.either if isinstance(self.either, ParserManifest) else None

    @property
    def kind(self) -> Literal["embedding", "parser"] | None:
        """What it does; None if that cannot be read."""
        if self.parser is not None:
            return "parser"
        return "embedding" if self.manifest is not None or self.indexed else None


@dataclass(frozen=True, slots=True)
class Activated:
    """What serves now, and the collection that served before."""

    serving: Serving
    previous_collection: str | None

    @property
    def previous(self) -> str | None:
        parsed = parse_collection_name(self.previous_collection) if self.previous_collection else None
        return parsed[1] if parsed else None


def collection_entry(info: CollectionInfo, *, serving: bool) -> dict[str, Any]:
    """The collection as a `CollectionOut`."""
    return {
        "dataset": info.metadata.dataset,
        "collection": info.name,
        "state": info.metadata.state,
        "products": info.points,
        "serving": serving,
    }


async def stored_manifests(context: Context) -> dict[str, StoredManifest | None]:
    """Manifests of stored releases of either kind by id; None if unreadable."""
    return await asyncio.to_thread(_manifests, context)


async def indexed_releases(context: Context) -> dict[str, tuple[Indexed, ...]]:
    """The collections of each release. Raises VectorStoreUnavailable."""
    servings, collections = await asyncio.gather(context.store.servings(fresh=True), context.store.collections())
    serving = {item.collection for item in servings}
    indexed: dict[str, tuple[Indexed, ...]] = {}
    for info in collections:
        parsed = parse_collection_name(info.name)
        if parsed is not None:
            indexed[parsed[1]] = (*indexed.get(parsed[1], ()), Indexed(info, info.name in serving))
    return indexed


def known_releases(
    stored: dict[str, StoredManifest | None], indexed: dict[str, tuple[Indexed, ...]]
) -> tuple[KnownRelease, ...]:
    """All releases that are stored or indexed, sorted by id."""
    return tuple(
        KnownRelease(
            id=release_id,
            model=model_of_release(release_id),
            stored=release_id in stored,
            either=stored.get(release_id),
            indexed=indexed.get(release_id, ()),
        )
        for release_id in sorted({*stored, *indexed})
    )


async def activate_release(
    context: Context, release_id: str, *, dataset: str | None, collection: str | None
) -> Activated:
    """Make a release serve its model, with the named collection or the newest that passed its checks.

    Raises ParameterInvalid, ReleaseNotFound, ReleaseOfOtherKind for a parser, CollectionIncomplete,
    VectorStoreUnavailable.
    """
    model = model_of_release(release_id)
    if await asyncio.to_thread(is_parser, context.releases, release_id):
        raise ReleaseOfOtherKind(
            f"the release {release_id!r} is a parser of garments: it serves no dataset, and the newest one is used by "
            "itself"
        )
    chosen = await _dataset_of(context, release_id, dataset)
    info = await _collection_of(context, chosen, release_id, collection)
    if info is None:
        if release_id not in await asyncio.to_thread(context.releases.ids):
            raise ReleaseNotFound(f"there is no release {release_id!r}") from None
        raise CollectionIncomplete(
            f"the release {release_id!r} is not indexed for the dataset {chosen!r}: index it first"
        ) from None
    if info.metadata.state != "ready":
        raise CollectionIncomplete(
            f"the collection {info.name!r} has not passed its checks: wait for its indexing job, or run it again"
        )
    serving = Serving(dataset=chosen, model=model, release_id=release_id, collection=info.name)
    previous = await context.store.activate(serving)
    await context.announce_change(chosen)
    return Activated(serving, previous)


def is_parser(store: ReleaseStore, release_id: str) -> bool:
    """Whether a stored release is a parser of garments; False if it cannot be read."""
    try:
        return isinstance(store.any_manifest(release_id), ParserManifest)
    except (ReleaseCorrupt, ReleaseNotFound, OSError):
        return False


def _manifests(context: Context) -> dict[str, StoredManifest | None]:
    found: dict[str, StoredManifest | None] = {}
    for release_id in context.releases.ids():
        try:
            found[release_id] = context.releases.any_manifest(release_id)
        except (ReleaseCorrupt, ReleaseNotFound):
            found[release_id] = None
    return found


async def _collection_of(context: Context, dataset: str, release_id: str, named: str | None) -> CollectionInfo | None:
    """The named collection of the release, else the last that passed its checks, else any.

    Raises ParameterInvalid if the named collection is not one of the release.
    """
    own = [
        info
        for info in await context.store.collections(fresh=True)
        if parse_collection_name(info.name) == (dataset, release_id)
    ]
    if named is not None:
        found = next((info for info in own if info.name == named), None)
        if found is None:
            listed = ", ".join(info.name for info in own) or "none"
            raise ParameterInvalid(f"{named[:80]!r} is not one of the release's collections: {listed}")
        return found
    return max(
        own,
        key=lambda info: (info.metadata.state == "ready", info.metadata.published_at or "", generation_of(info.name)),
        default=None,
    )


async def _dataset_of(context: Context, release_id: str, dataset: str | None) -> str:
    """The named or configured dataset, or the only one that the release is indexed for."""
    chosen = dataset if dataset is not None else context.settings.default_dataset
    if chosen is not None:
        return check_dataset_name(chosen)
    datasets = sorted(
        {
            info.metadata.dataset
            for info in await context.store.collections()
            if parse_collection_name(info.name) == (info.metadata.dataset, release_id)
        }
    )
    if len(datasets) == 1:
        return datasets[0]
    if not datasets:
        return await context.retrieval.dataset(None)
    raise ParameterInvalid(f"the release is indexed for several datasets; name one of: {', '.join(datasets)}")
