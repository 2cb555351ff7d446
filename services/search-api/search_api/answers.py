"""Turn points of a collection into the products of an answer, with the confidence of each match.

Answers are plain dicts that are encoded as JSON without pydantic, because this is the hot path. `search.schemas`
documents the same shape; a test compares the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

import pydantic_core
from qdrant_client import models
from starlette.responses import Response

from search_api.cache import ExpiringCache
from vitrine.errors import ParameterInvalid, ReleaseCorrupt, ReleaseNotFound
from vitrine.evaluation.calibration import Curve
from vitrine.products import ANSWER_NAMES, PAYLOAD_NAMES, PICTURES_FIELD, VARIANT_FIELD, AttributeValue, public_id
from vitrine.qdrant.naming import Serving
from vitrine.releases import CATALOGUE_PICTURES, ReleaseStore

# Path below which a proxy serves the API. It prefixes every address in answers; `PathPrefix` sets it per request.
PATH_PREFIX: Final = ContextVar("path_prefix", default="")
# A release never changes, so its calibration cannot go stale; the lifetime only frees memory.
_TTL_S: Final = 3600.0
_MOST_RELEASES: Final = 256
# A score above every cosine, which no product reaches.
_UNREACHABLE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Confidence:
    """The probability that a match of one search is right, measured on queries of the kind `calibrated_for`.

    It is unknown without a calibration curve, and 0 for an out-of-distribution query (`strange`).
    """

    curve: Curve | None = None
    calibrated_for: str = CATALOGUE_PICTURES
    strange: bool = False
    label: str | None = None  # the field whose values the release's classifier predicts

    def asked(self, familiar: bool | None) -> Confidence:
        """The confidence, given the verdict of the OOD detector; None if the release has no detector."""
        return replace(self, strange=familiar is False)

    def of(self, score: float) -> float | None:
        """0 to 1."""
        if self.curve is None:
            return None
        return 0.0 if self.strange else round(float(self.curve.confidence(score)), 4)

    def answer_members(self) -> dict[str, str]:
        """The members that an answer with confidences has beside its results."""
        return {} if self.curve is None else {"calibratedFor": self.calibrated_for}

    def min_score(self, min_score: float | None, min_confidence: float | None) -> float | None:
        """The stricter of the two bounds, as a score."""
        if self.curve is None or min_confidence is None:
            return min_score
        needed = None if self.strange and min_confidence > 0 else self.curve.least_score(min_confidence)
        bound = _UNREACHABLE if needed is None else needed
        return bound if min_score is None else max(bound, min_score)


UNKNOWN: Final = Confidence()


class Confidences:
    """The calibrations of releases, each read once."""

    def __init__(self, releases: ReleaseStore) -> None:
        self._releases = releases
        self._known: ExpiringCache[str, Confidence] = ExpiringCache(ttl_s=_TTL_S, max_entries=_MOST_RELEASES)

    async def of(self, release_id: str, *, min_confidence: float | None, refined: bool = False) -> Confidence:
        """The confidence of searches with a release. It has no curve if the release is not stored or not calibrated, or
        if the search is refined, because its scores are then on another scale.

        Raises ParameterInvalid if `min_confidence` is set and there is no curve.
        """
        known = await self._known.get(release_id, lambda: self._load(release_id))
        if refined:
            known = Confidence(label=known.label)
        if known.curve is None and min_confidence is not None:
            why = (
                "confidence is known for plain searches only: leave out 'expand', 'rerank' and 'fuse'"
                if refined
                else f"the release {release_id!r} is not calibrated: make one that is (POST /api/jobs/tune)"
            )
            raise ParameterInvalid(f"'minConfidence' cannot be applied: {why}")
        return known

    async def _load(self, release_id: str) -> Confidence:
        try:
            manifest = await asyncio.to_thread(self._releases.manifest, release_id)
        except (ReleaseNotFound, ReleaseCorrupt):
            return UNKNOWN
        found = manifest.calibration
        label = manifest.label
        if found is None:
            return Confidence(label=label)
        curve = Curve.of(found.scores, found.probabilities)
        return Confidence(curve, found.calibrated_for or CATALOGUE_PICTURES, label=label)


class JsonAnswer(Response):
    """A JSON answer from plain values."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return pydantic_core.to_json(content)


def image_url(dataset: str, product_id: str, picture: int = 0) -> str:
    """The path of one of the product's pictures on the host of the API, by default the face."""
    which = f"&picture={picture}" if picture else ""
    return f"{PATH_PREFIX.get()}/api/images/{_quoted(product_id)}?dataset={_quoted(dataset)}{which}"


def _quoted(text: str) -> str:
    # Fast path: nearly all names need no quoting, and one search returns many.
    return text if text.isalnum() and text.isascii() else quote(text, safe="")


def attributes_of(payload: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """The product's attributes."""
    return {
        # Collections indexed before these names were reserved still have them.
        f"{name}_" if name in ANSWER_NAMES else name: value
        for name, value in payload.items()
        if name not in PAYLOAD_NAMES
    }


def product(payload: Mapping[str, Any], variants: int = 0) -> dict[str, Any]:
    """A product in an answer, with how many more variants it has."""
    product_id, dataset = str(payload["product_id"]), str(payload["dataset"])
    count = len(payload.get(PICTURES_FIELD) or ())
    pictures = {"pictures": [image_url(dataset, product_id, one) for one in range(count)]} if count > 1 else {}
    of = payload.get(VARIANT_FIELD)
    variant_of = {"variantOf": public_id(of)} if isinstance(of, str) and of != product_id else {}
    return {
        "id": public_id(product_id),
        "dataset": dataset,
        "image": image_url(dataset, product_id),
        **pictures,
        **variant_of,
        **({"variants": variants} if variants else {}),
        **attributes_of(payload),
    }


def scored(
    point: models.ScoredPoint, confidence: Confidence, matched: int | None = None, variants: int = 0
) -> dict[str, Any]:
    """A result: a product with its cosine similarity and, if known, its confidence, the picture that matched, and how
    many more variants match.
    """
    shown = product(point.payload or {})
    likely = confidence.of(point.score)
    told: dict[str, Any] = {} if likely is None else {"confidence": likely}
    if matched is not None:
        told["matchedPicture"] = {"index": matched, "image": shown["pictures"][matched]}
    if variants:
        told["variants"] = variants
    return {"id": shown.pop("id"), "score": round(point.score, 6), **told, **shown}


def search_answer(
    serving: Serving,
    points: Iterable[models.ScoredPoint],
    matched: Mapping[str, int] | None = None,
    variants: Mapping[str, int] | None = None,
    *,
    plan: str,
    took_ms: Mapping[str, float],
    confidence: Confidence = UNKNOWN,
) -> dict[str, Any]:
    """The answer of every call that finds products. `matched` has the picture of a point that matched, from 0, and
    `variants` how many more variants of it match.
    """
    matched, variants = matched or {}, variants or {}
    results = [
        scored(point, confidence, matched.get(str(point.id)), variants.get(str(point.id), 0)) for point in points
    ]
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


def with_members(answer: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with the members of `more` that are not empty. A count of 0 is kept."""
    return answer | {name: value for name, value in more.items() if value or value == 0}
