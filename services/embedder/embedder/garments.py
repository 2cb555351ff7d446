"""What is made of a picture's garments: their regions, their vectors, and the picture with blurred faces.

A call takes several steps: the picture is decoded once and goes through the parser; the garments are found and cut out;
those that are embedded go through the network. It is admitted once, with the cost of all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeVar

from PIL import Image

from embedder.admission import CallCost
from embedder.call import Answer, Caller, Space, Upload
from embedder.explanation import COVERING_S, VECTORS, OccludedPicture
from embedder.model_cache import LoadedParser, LoadedRelease
from embedder.parsed_picture import ANONYMOUS_SHORT_SIDE_PX, GARMENTS_SHORT_SIDE_PX, PictureToParse
from embedder.pipeline import Pipeline, Steps, is_heavy
from vitrine.embedding.found_garments import ALL_GARMENTS, FoundGarment, RegionsFound
from vitrine.errors import GarmentUnknown, ParameterInvalid
from vitrine.images.checks import DecodeCost, ImageLimits
from vitrine.images.cutout import cut_out_garment, is_on_white
from vitrine.images.garment_masks import MAX_GARMENTS, Garment, covering
from vitrine.images.regions import Region
from vitrine.images.views import View
from vitrine.types import Pixels

T = TypeVar("T")

# CPU seconds, beside the decoding: of finding the garments, of cutting one out, of each view, and of blurring and
# encoding a pixel.
_MASKS_S: Final = 0.015
_CUT_OUT_S: Final = 0.01
_VIEW_S: Final = 0.005
_BLURRED_PIXEL_S: Final = 60e-9
# Vectors of an ordinary call for all garments. One for more is a heavy call.
_ORDINARY_VECTORS: Final = MAX_GARMENTS
_EXPECTED_GARMENTS: Final = 4


@dataclass(frozen=True, slots=True)
class EmbeddedGarments:
    """The garments of a picture, and the answer for those `embedded`, view by view."""

    regions: RegionsFound
    embedded: tuple[int, ...]
    answer: Answer


def parse_garments(text: str) -> tuple[int, ...] | None:
    """The numbers of `1,3`; None for `all`. Raises ParameterInvalid."""
    if text == ALL_GARMENTS:
        return None
    parts = text.split(",")
    # Two digits, so that a number too large for any picture gets the error that names how many there are.
    if not all(part.isascii() and part.isdecimal() and len(part) <= 2 for part in parts):
        raise ParameterInvalid(f"garments {text[:60]!r}: give {ALL_GARMENTS}, or numbers as 1,3")
    numbers = tuple(map(int, parts))
    if len(numbers) > MAX_GARMENTS or len(set(numbers)) < len(numbers):
        raise ParameterInvalid(f"garments {text[:60]!r}: give up to {MAX_GARMENTS} different numbers")
    return numbers


class GarmentFinder:
    """A parser and the pipeline that its calls go through."""

    def __init__(
        self, pipeline: Pipeline, parser: LoadedParser, *, limits: ImageLimits, deadline_s: float, caller: Caller
    ) -> None:
        self._pipeline = pipeline
        self._parser = parser
        self._limits = limits
        self._deadline_s = deadline_s
        self._caller = caller

    async def regions(self, data: bytes) -> RegionsFound:
        """The garments of a picture. Raises ImageRejected, and as `Pipeline.run` does."""
        picture = PictureToParse(self._parser, data, self._limits)
        async with self._admitted(picture, extra_s=_MASKS_S) as steps:
            parsed = await picture.parsed(steps)
            garments = await _made(steps, parsed.garments, cost_s=_MASKS_S)
            return self._regions(picture, garments, steps)

    async def embed_cut_out(
        self,
        releases: Sequence[LoadedRelease],
        data: bytes,
        views: Sequence[View],
        *,
        region: Region | None = None,
        space: Space = "projected",
        keep_features: bool = False,
    ) -> Answer:
        """One vector for each view, release by release. The views of the garment are those of the most prominent one,
        or of the one that covers most of `region`. Without a garment, or if the picture stands on white already, they
        are those of the picture or its region. Raises as `regions` does.
        """
        picture = PictureToParse(self._parser, data, self._limits, least_px=GARMENTS_SHORT_SIDE_PX, region=region)
        extra_s = _MASKS_S + _CUT_OUT_S + _VIEW_S * len(views)
        async with self._admitted(picture, releases, vectors=len(views), extra_s=extra_s) as steps:
            parsed = await picture.parsed(steps)

            def fit() -> list[Pixels]:
                whole = parsed.image if region is None else parsed.image.crop(region.box(*parsed.image.size))
                garments = () if is_on_white(whole) else parsed.garments()
                garment = _most_prominent(garments) if region is None else covering(garments, region)
                own = whole if garment is None else cut_out_garment(parsed.image, garment, region=region)
                return [
                    pixels
                    for release in releases
                    for pixels in release.preprocessor.fit_views(whole, views, cut_out=lambda _: own)
                ]

            pixels = await _made(steps, fit, cost_s=extra_s)
            each = [release for release in releases for _ in views]
            return await _embedded(steps, each, pixels, space=space, keep_features=keep_features)

    async def embed_garments(
        self,
        release: LoadedRelease,
        data: bytes,
        numbers: tuple[int, ...] | None,
        views: Sequence[View],
        *,
        keep_features: bool = False,
    ) -> EmbeddedGarments:
        """The garments of a picture, and one vector for each view of those of `numbers`, or of every searchable one.

        Raises GarmentUnknown, and as `regions` does.
        """
        picture = PictureToParse(self._parser, data, self._limits, least_px=GARMENTS_SHORT_SIDE_PX)
        expected = _EXPECTED_GARMENTS if numbers is None else len(numbers)
        extra_s = _MASKS_S + (_CUT_OUT_S + _VIEW_S * len(views)) * expected
        async with self._admitted(picture, [release], vectors=expected * len(views), extra_s=extra_s) as steps:
            parsed = await picture.parsed(steps)

            def fit() -> tuple[tuple[Garment, ...], tuple[int, ...], list[Pixels]]:
                garments = parsed.garments()
                wanted = _chosen(garments, numbers)
                pixels: list[Pixels] = []
                for garment in wanted:
                    own = parsed.cut_out(garment, of=len(garments))
                    pixels += release.preprocessor.fit_views(own, views, cut_out=_as_it_is)
                return garments, tuple(garment.number for garment in wanted), pixels

            garments, embedded, pixels = await _made(steps, fit, cost_s=extra_s)
            answer = await _embedded(steps, [release] * len(pixels), pixels, keep_features=keep_features)
            return EmbeddedGarments(self._regions(picture, garments, steps), embedded, answer)

    async def explain(
        self, release: LoadedRelease, data: bytes, number: int, product: OccludedPicture
    ) -> tuple[OccludedPicture, Answer]:
        """(the garment of this number, the vectors of it and of the product, with covered parts).

        Raises GarmentUnknown, and as `regions` does.
        """
        picture = PictureToParse(self._parser, data, self._limits, least_px=GARMENTS_SHORT_SIDE_PX)
        extra_s = _MASKS_S + _CUT_OUT_S + COVERING_S + product.upload.cost.cpu_s
        async with self._admitted(picture, [release], vectors=2 * VECTORS, extra_s=extra_s) as steps:
            parsed = await picture.parsed(steps)

            def cut_out() -> Image.Image:
                garments = parsed.garments()
                (garment,) = _chosen(garments, (number,))
                return parsed.cut_out(garment, of=len(garments))

            cut = await _made(steps, cut_out, cost_s=_MASKS_S + _CUT_OUT_S)
            garment = OccludedPicture.of_image(release, cut)
            answer = await steps.run([garment.upload, product.upload])
            return garment, Answer(answer.results, answer.familiar, steps.timings_ms, answer.features)

    async def anonymous(self, data: bytes) -> tuple[bytes | None, dict[str, float]]:
        """(a JPEG of the picture with blurred faces, or None if it shows no one; the milliseconds of each stage).

        Raises as `regions` does.
        """
        picture = PictureToParse(self._parser, data, self._limits, least_px=ANONYMOUS_SHORT_SIDE_PX)
        extra_s = _MASKS_S + _BLURRED_PIXEL_S * picture.held_pixels
        async with self._admitted(picture, extra_s=extra_s) as steps:
            parsed = await picture.parsed(steps)
            blurred = await _made(steps, parsed.without_faces, cost_s=extra_s)
            return blurred, steps.timings_ms

    def _regions(self, picture: PictureToParse, garments: Sequence[Garment], steps: Steps) -> RegionsFound:
        self._pipeline.metrics.garments.observe(len(garments))
        width_px, height_px = picture.size
        found = tuple(map(_found, garments))
        return RegionsFound(self._parser.release_id, width_px, height_px, found, steps.timings_ms)

    def _admitted(
        self, picture: PictureToParse, releases: Sequence[LoadedRelease] = (), *, vectors: int = 0, extra_s: float
    ) -> AbstractAsyncContextManager[Steps]:
        decode_s = picture.cost.cpu_s + extra_s
        networks_s = self._parser.picture_s + vectors * sum(release.picture_s for release in releases)
        count = vectors * len(releases)
        cost = CallCost(decode_s, networks_s, max(1, count), heavy=is_heavy(decode_s, count, most=_ORDINARY_VECTORS))
        return self._pipeline.admitted(
            cost, deadline_s=self._deadline_s, caller=self._caller, held_bytes=picture.held_bytes
        )


async def _made(steps: Steps, make: Callable[[], T], *, cost_s: float) -> T:
    """What `make` returns, called in the decode pool as a step of its own."""
    made: list[T] = []

    def prepare() -> list[Pixels]:
        made.append(make())
        return []

    answer = await steps.run([Upload((), prepare, DecodeCost(cost_s, 0), stage="masks")])
    answer.all_results()
    return made[0]


async def _embedded(
    steps: Steps,
    releases: Sequence[LoadedRelease],
    pixels: list[Pixels],
    *,
    space: Space = "projected",
    keep_features: bool = False,
) -> Answer:
    """A vector for each of the pixels, by its release."""
    if not pixels:
        return Answer([], [], steps.timings_ms, [])
    upload = Upload(releases, lambda: pixels, DecodeCost(0.0, 0), stage="masks")
    answer = await steps.run([upload], space=space, keep_features=keep_features)
    return Answer(answer.results, answer.familiar, steps.timings_ms, answer.features)


def _as_it_is(garment: Image.Image) -> Image.Image:
    """The view `cutout` of a garment that is cut out."""
    return garment


def _most_prominent(garments: Sequence[Garment]) -> Garment | None:
    return next((garment for garment in garments if garment.kind.searchable), None)


def _chosen(garments: tuple[Garment, ...], numbers: tuple[int, ...] | None) -> list[Garment]:
    """The garments of the numbers, in their order. Raises GarmentUnknown."""
    if numbers is None:
        return [garment for garment in garments if garment.kind.searchable]
    by_number = {garment.number: garment for garment in garments}
    for number in numbers:
        if number not in by_number:
            has = (
                f"garments 1 to {len(garments)}" if len(garments) > 1 else ("one garment" if garments else "no garment")
            )
            raise GarmentUnknown(f"there is no garment {number}: the picture has {has}")
    return [by_number[number] for number in numbers]


def _found(garment: Garment) -> FoundGarment:
    return FoundGarment(
        number=garment.number,
        kind=garment.kind.name,
        title=garment.kind.title,
        probability=garment.probability,
        box=garment.box,
        outline=garment.outline,
        share=garment.share,
        searchable=garment.kind.searchable,
    )
