"""The page of one product: its picture, attributes, similar products under the same filters, and near duplicates."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.answers import attributes_of, product
from search_api.context import Context, Ctx
from search_api.pages import catalogue_view as view
from search_api.pages.catalogue import catalogue_of, home_of
from search_api.pages.catalogue_state import CatalogueState
from search_api.pages.search_view import Link, chips, label_of
from search_api.pages.shown_values import is_currency, is_price, shown_value, with_currency
from search_api.pages.templating import render
from search_api.products.list_routes import VariantOptions, variants_of
from search_api.products.schemas import ProductId
from search_api.products.service import StoredProduct
from search_api.search.options import MAX_REACH, MatchOptions
from vitrine.errors import ParameterInvalid, ProductNotFound, VitrineError
from vitrine.products import STANDARD_ATTRIBUTES, AttributeKind, AttributeValue
from vitrine.qdrant.naming import Serving
from vitrine.web import requires

router = APIRouter(include_in_schema=False)
_ALIKE: Final = 24
_DUPLICATE_SCORE: Final = 0.98
_DUPLICATES: Final = 6
_VARIANTS: Final = 60
_DIFFERENCES: Final = 3
_VARYING: Final = re.compile(r"colou?r|size|material|pattern|length|style|fit", re.IGNORECASE)
_FILTERED_BY: Final = ("gender", "masterCategory", "articleType", "baseColour", "season", "usage")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A near duplicate. `found` has the (model, score) pairs that found it, best first."""

    shown: view.Shown
    found: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """Another variant of the product, and in which values it differs."""

    shown: view.Shown
    difference: str


@router.get("/products/{product_id:path}/more")
@requires("search")
async def more_alike(request: Request, context: Ctx, product_id: ProductId) -> Response:
    """The next similar products, after the first `offset`."""
    pairs = request.query_params.multi_items()
    state = CatalogueState.of(pairs)
    text = next((value for name, value in pairs if name == "offset"), "")
    if not text.isdecimal() or len(text) > 6:
        raise ParameterInvalid("'offset' is a number")
    serving = await view.serving_of(context, state.dataset)
    servings = await context.products.servings(serving.dataset)
    state = state.having(dataset=serving.dataset)
    return render(
        request, "product/_items.html", **await _alike(request, context, state, servings, product_id, offset=int(text))
    )


@router.api_route("/products/{product_id:path}", methods=["GET", "HEAD"])
@requires("search")
async def product_page(request: Request, context: Ctx, product_id: ProductId) -> Response:
    state = CatalogueState.of(request.query_params.multi_items())
    serving = await view.serving_of(context, state.dataset)
    state = state.having(dataset=serving.dataset)
    values: dict[str, Any] = {
        "home": home_of(request),
        "catalogue": catalogue_of(request),
        "dataset": serving.dataset,
        "state": state,
        "product_id": product_id,
        "api": view.api_of(home_of(request), serving.dataset, product_id),
        "max_bytes": context.settings.max_body_bytes,
    }
    try:
        stored = await context.products.get(serving.dataset, product_id)
    except ProductNotFound:
        if not await asyncio.to_thread(context.upload_store.is_deleted, serving.dataset, product_id):
            raise
        return render(request, "product/removed.html", status=404, **values)
    servings = await context.products.servings(serving.dataset)
    prepared = await context.retrieval.prepare(serving, [])
    attributes = attributes_of(stored.payload)
    alike, duplicates, fields, variants = await asyncio.gather(
        _alike(request, context, state, servings, product_id),
        _duplicates(request, context, servings, product_id),
        view.form_fields(context, prepared, attributes),
        variants_of(context, product_id, VariantOptions(dataset=serving.dataset, limit=_VARIANTS), []),
    )
    one = product(stored.payload)
    here = f"{home_of(request)}products/{quote(product_id, safe='')}"
    return render(
        request,
        "product/page.html",
        product=view.shown(stored.payload, state, home_of(request)),
        picture=one["image"],
        pictures=one.get("pictures", []),
        listed=_listed(attributes, prepared.info.kinds),
        models=[one.model for one in servings],
        narrowings=_narrowings(attributes, state, here),
        chips=chips(state, here),
        here=here,
        origin=stored.payload.get("origin"),
        added_at_s=_added_at_s(stored),
        duplicates=duplicates,
        variants=_variants(attributes, variants.payloads, state, home_of(request)),
        more_variants=max(0, variants.total - _VARIANTS),
        fields=fields,
        **alike,
        **values,
    )


async def _alike(
    request: Request,
    context: Context,
    state: CatalogueState,
    servings: list[Serving],
    product_id: str,
    *,
    offset: int = 0,
) -> dict[str, Any]:
    """Similar products under the state's filters, by the state's model or the first one. An error is returned, not
    raised, so that the rest of the page is shown.
    """
    model = state.model or servings[0].model
    try:
        options = MatchOptions(dataset=state.dataset, model=model, top_k=min(_ALIKE, MAX_REACH - offset), offset=offset)
        answer = await context.search.similar(product_id, options, list(state.filters), started_s=time.perf_counter())
    except VitrineError as error:
        if offset:
            raise
        return {"items": [], "scores": {}, "following": None, "model": model, "trouble": error.problem()}
    reached = offset + len(answer["results"])
    following = None
    if len(answer["results"]) == _ALIKE and reached < MAX_REACH:
        place = f"{home_of(request)}products/{quote(product_id, safe='')}/more"
        following = f"{place}{state.query(('offset', str(reached)))}"
    return {
        "items": [view.shown_product(one, state, home_of(request)) for one in answer["results"]],
        "scores": {str(one["id"]): one.get("confidence") for one in answer["results"]},
        "following": following,
        "model": model,
        "trouble": None,
    }


async def _duplicates(request: Request, context: Context, servings: list[Serving], product_id: str) -> list[Duplicate]:
    """Products that any of the dataset's models finds nearly identical."""

    async def of(serving: Serving) -> dict[str, Any]:
        options = MatchOptions(
            dataset=serving.dataset, model=serving.model, top_k=_DUPLICATES, min_score=_DUPLICATE_SCORE
        )
        return await context.search.similar(product_id, options, [], started_s=time.perf_counter())

    answers = await asyncio.gather(*(of(one) for one in servings), return_exceptions=True)
    found: dict[str, tuple[dict[str, Any], list[tuple[str, float]]]] = {}
    for answer in answers:
        if isinstance(answer, VitrineError):  # this collection is being replaced; the others can still answer
            continue
        if isinstance(answer, BaseException):
            raise answer
        for one in answer["results"]:
            found.setdefault(str(one["id"]), (one, []))[1].append((answer["model"], one["score"]))
    plain = CatalogueState()
    duplicates = [
        Duplicate(view.shown_product(one, plain, home_of(request)), tuple(sorted(models, key=lambda pair: -pair[1])))
        for one, models in found.values()
    ]
    return sorted(duplicates, key=lambda one: -one.found[0][1])[:_DUPLICATES]


def _variants(
    attributes: dict[str, AttributeValue], others: Sequence[Mapping[str, Any]], state: CatalogueState, home: str
) -> list[Variant]:
    """The other variants, with the values in which they differ from the product."""
    found = []
    for payload in others:
        own = attributes_of(payload)
        differing = [
            name for name in own if name != "name" and own[name] != attributes.get(name) and not is_currency(name, own)
        ]
        # A colour or size says more than what is left, such as a stock number.
        differing = [name for name in differing if _VARYING.search(name)] or differing
        texts = [
            with_currency(name, own) if f"{name}Currency" in own else shown_value(own[name])
            for name in differing[:_DIFFERENCES]
        ]
        shown = view.shown(payload, state, home)
        found.append(Variant(shown, " · ".join(texts) or shown.name))
    return found


def _listed(attributes: dict[str, AttributeValue], kinds: Mapping[str, AttributeKind]) -> list[tuple[str, str]]:
    """The attributes with their labels and in words, the standard ones first."""
    order: list[str] = [name for name in STANDARD_ATTRIBUTES if name in attributes and name != "name"]
    order += sorted(name for name in attributes if name not in order and name != "name")
    return [
        (label_of(name), with_currency(name, attributes))
        if is_price(name, attributes)
        else (label_of(name), shown_value(attributes[name], kinds.get(name)))
        for name in order
        if not is_currency(name, attributes)
    ]


def _narrowings(attributes: dict[str, AttributeValue], state: CatalogueState, here: str) -> list[Link]:
    """Chips that narrow the similar products to those that share a value with the product."""
    found = []
    for name in _FILTERED_BY:
        value = attributes.get(name)
        if isinstance(value, str) and value and (name, value) not in state.filters:
            found.append(Link(value, here + state.filtering(name, value).query()))
    return found


def _added_at_s(stored: StoredProduct) -> float | None:
    moment = stored.payload.get("added_at_ms")
    return moment / 1000 if isinstance(moment, int) else None
