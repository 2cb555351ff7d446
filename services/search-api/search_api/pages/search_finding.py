"""The data of the search page: searchable datasets and models, the answer for a state, and sample products."""

from __future__ import annotations

import asyncio
import dataclasses
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from search_api.answers import PATH_PREFIX, search_answer
from search_api.cache import ExpiringCache
from search_api.context import Context
from search_api.pages.search_state import SearchState
from search_api.pages.search_view import facet_fields
from search_api.search.examples import Examples
from search_api.search.options import LEAST_PROBABILITY, ListOptions, SearchOptions, parameter_invalid
from search_api.search.query_embedding import Asked
from vitrine.errors import CollectionNotFound, DatasetNotFound, ModelUnknown
from vitrine.products import AttributeKind
from vitrine.qdrant.filters import FilterSpec
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.planner import Planner
from vitrine.qdrant.schema import CollectionInfo

PAGE_SIZE: Final = 20
LOOK_SIZE: Final = 5  # products of each garment
MOST_FOUND: Final = 1_000  # the limit of a collection's strict mode
SAMPLES: Final = 8
_SAMPLES_TTL_S: Final = 60.0
_SAMPLE_FIELDS: Final = ("articleType", "subCategory", "category", "masterCategory")


Answers = tuple[dict[str, Any], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Offer:
    """The searchable datasets and models, and the chosen ones."""

    datasets: tuple[str, ...]
    models: tuple[str, ...]
    serving: Serving
    info: CollectionInfo


async def offer(context: Context, state: SearchState) -> Offer:
    """Everything that is served. Defaults are the configured or first dataset, and the model published last.

    Raises DatasetNotFound and ModelUnknown.
    """
    servings = await context.store.servings() or await context.store.servings(fresh=True)
    datasets = tuple(sorted({one.dataset for one in servings}))
    if not datasets:
        raise DatasetNotFound("no dataset is indexed yet")
    configured = context.settings.default_dataset
    dataset = state.dataset or (configured if configured in datasets else datasets[0])
    if dataset not in datasets:
        raise DatasetNotFound(f"the dataset {dataset[:80]!r} is not indexed; there are: {', '.join(datasets)}")
    here = {one.model: one for one in servings if one.dataset == dataset}
    for model in (state.model, state.compare):
        if model is not None and model not in here:
            raise ModelUnknown(f"the model {model[:80]!r} does not serve {dataset!r}; there are: {', '.join(here)}")
    infos = await asyncio.gather(
        *(context.store.collection(one.collection) for one in here.values()), return_exceptions=True
    )
    described = {model: info for model, info in zip(here, infos, strict=True) if isinstance(info, CollectionInfo)}
    chosen = state.model or max(
        described, key=lambda model: (described[model].metadata.published_at or "", model), default=None
    )
    if chosen is None or chosen not in described:
        raise CollectionNotFound(f"what serves the dataset {dataset!r} has just been removed")
    return Offer(datasets, tuple(sorted(here)), here[chosen], described[chosen])


async def find(
    context: Context,
    state: SearchState,
    found: Offer,
    asked: Asked,
    *,
    picture: bytes | None = None,
    offset: int = 0,
    model: str | None = None,
    with_facets: bool = True,
) -> dict[str, Any]:
    """The answer for a state, as from the JSON API. `picture` is the state's upload, if already loaded.

    `model` overrides the chosen one, for a comparison. Raises the errors of a search, UploadNotFound and
    PictureNotFound.
    """
    asked = dataclasses.replace(asked, upload=state.upload)
    options: dict[str, Any] = {
        "dataset": found.serving.dataset,
        "model": model or found.serving.model,
        "topK": min(PAGE_SIZE, MOST_FOUND - offset),
        "offset": offset,
        "facets": ",".join(facet_fields(found.info.kinds)) if with_facets else "",
    }
    filters = list(state.filters)
    if picture is None and state.upload is not None:
        picture = await context.uploads.get(state.upload)
    try:
        if state.from_examples:
            return await context.search.recommend(_examples(state, options, picture), asked)
        if state.shows_look:
            least = 0.0 if state.uncertain else LEAST_PROBABILITY
            options |= {"regions": "auto", "minProbability": least, "topK": LOOK_SIZE, "offset": 0, "facets": ""}
        elif state.region is not None:
            options |= {"region": state.region, "kindFilters": state.kind_filters}
        cutout = state.cutout and state.garment is None and not state.shows_look
        wanted = SearchOptions.model_validate({**options, "cutout": cutout})
    except ValidationError as error:
        raise parameter_invalid(error) from None
    if picture is None:
        picture = (await context.pictures.get(found.serving.dataset, state.id or "")).data
    return await context.search.by_picture(picture, wanted, filters, asked)


async def find_all(
    context: Context, state: SearchState, found: Offer, asked: Asked, picture: bytes | None, *, with_facets: bool
) -> Answers:
    """(the answer, the other model's answer in a comparison)."""
    searches = [find(context, state, found, asked, picture=picture, with_facets=with_facets)]
    if state.compare is not None and state.compare != found.serving.model and not state.shows_look:
        searches.append(find(context, state, found, asked, picture=picture, model=state.compare, with_facets=False))
    answer, *others = await asyncio.gather(*searches)
    return answer, others[0] if others else None


def _examples(state: SearchState, options: dict[str, Any], picture: bytes | None) -> Examples:
    """The examples in the tray, with the query as one more liked example."""
    liked = [*state.positive]
    if picture is None and state.id is not None and state.id not in liked:
        liked.insert(0, state.id)
    return Examples(
        options=ListOptions.model_validate(options),
        filters=list(state.filters),
        positive=liked,
        negative=[one for one in state.negative if one not in liked],
        positive_pictures=[picture] if picture is not None else [],
        negative_pictures=[],
    )


class Samples:
    """A cache of a few varied products per collection, with their addresses behind each proxy."""

    def __init__(self) -> None:
        self._kept: ExpiringCache[tuple[str, str], dict[str, Any]] = ExpiringCache(ttl_s=_SAMPLES_TTL_S, max_entries=64)

    async def of(self, context: Context, found: Offer) -> dict[str, Any]:
        """An answer with one product of each of the most frequent kinds, if the collection has kinds."""
        return await self._kept.get((found.info.name, PATH_PREFIX.get()), lambda: self._load(context, found))

    async def _load(self, context: Context, found: Offer) -> dict[str, Any]:
        info = found.info
        # A random direction, seeded by the collection: any products will do.
        chance = np.random.default_rng(zlib.crc32(info.name.encode()))
        vector = chance.standard_normal(info.dim)
        direction: list[float] = (vector / np.linalg.norm(vector)).tolist()
        field = next((name for name in _SAMPLE_FIELDS if info.kinds.get(name) is AttributeKind.KEYWORD), None)
        planner = Planner()
        plan = planner.choose(FilterSpec(), expected_matches=info.points, points=info.points, measured=info.measured)
        params = planner.params(plan, top_k=SAMPLES, info=info)
        if field is None:
            points = await context.store.nearest(info.name, direction, condition=None, params=params, limit=SAMPLES)
        else:
            points = await context.store.nearest_by_group(
                info.name, direction, field=field, condition=None, params=params, limit=SAMPLES
            )
        return search_answer(found.serving, points, plan=plan, took_ms={})
