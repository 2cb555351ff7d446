"""Points of a collection as products of an answer. Plain dicts, written as JSON without a detour through models: the
result path is the hot one, and the models of `schemas` document the same shape (a test holds the two together).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import pydantic_core
from qdrant_client import models
from starlette.responses import Response

from search_api.confidence import UNKNOWN, Confidence
from vitrine.collections import Serving
from vitrine.products import AttributeValue, public_id
from vitrine.reserved import ANSWER_NAMES, PAYLOAD_NAMES


class JsonAnswer(Response):
    """A JSON answer from plain values."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return pydantic_core.to_json(content)


def image_url(dataset: str, product_id: str) -> str:
    """Where the product's picture is, relative to the API."""
    return f"/api/images/{_quoted(product_id)}?dataset={_quoted(dataset)}"


def _quoted(text: str) -> str:
    # Nearly all names need no quoting, and a search makes many of them.
    return text if text.isalnum() and text.isascii() else quote(text, safe="")


def attributes_of(payload: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """The product's attributes."""
    return {
        # What was indexed before these names were reserved still has them.
        f"{name}_" if name in ANSWER_NAMES else name: value
        for name, value in payload.items()
        if name not in PAYLOAD_NAMES
    }


def product(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A product as answers show it."""
    product_id, dataset = str(payload["product_id"]), str(payload["dataset"])
    return {
        "id": public_id(product_id),
        "dataset": dataset,
        "image": image_url(dataset, product_id),
        **attributes_of(payload),
    }


def scored(point: models.ScoredPoint, confidence: Confidence) -> dict[str, Any]:
    """A found product, with its cosine similarity, and how likely it is right where that is known."""
    shown = product(point.payload or {})
    likely = confidence.of(point.score)
    told = {} if likely is None else {"confidence": likely}
    return {"id": shown.pop("id"), "score": round(point.score, 6), **told, **shown}


def search_answer(
    serving: Serving,
    points: Iterable[models.ScoredPoint],
    *,
    plan: str,
    took_ms: Mapping[str, float],
    confidence: Confidence = UNKNOWN,
) -> dict[str, Any]:
    """The answer to everything that finds products."""
    results = [scored(point, confidence) for point in points]
    return {
        "success": True,
        "ranking": [result["id"] for result in results],
        "results": results,
        **confidence.answer_members(),
        "dataset": serving.dataset,
        "model": serving.model,
        "release": serving.release_id,
        "plan": plan,
        "tookMs": {stage: round(took, 3) for stage, took in took_ms.items()},
    }
