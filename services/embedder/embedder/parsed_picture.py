"""A picture on its way through a parser: it is decoded once, and what is made of it later starts from that decoding."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

from PIL import Image

from embedder.call import Upload
from embedder.model_cache import LoadedParser
from embedder.pipeline import Steps
from vitrine.images.checks import ImageLimits, check_image, decode_cost, jpeg_least_scale, jpeg_scale
from vitrine.images.cutout import cut_out_garment, is_on_white
from vitrine.images.decode import MAX_DECODED_PIXELS, decode_image
from vitrine.images.faces import blur_faces
from vitrine.images.garment_masks import Garment, Probabilities, enlarged, find_garments
from vitrine.images.regions import Region, check_region, region_decode_px
from vitrine.types import Pixels
from vitrine.vision.parser import STRIDE, Letterbox

# The short side to which a picture is decoded at least, so that small garments are sharp when they are cut out.
GARMENTS_SHORT_SIDE_PX: Final = 768
# And for a copy with blurred faces, which is searched and shown later.
ANONYMOUS_SHORT_SIDE_PX: Final = 1024
ANONYMOUS_MEDIA_TYPE: Final = "image/jpeg"
_QUALITY: Final = 90
_PIXEL_BYTES: Final = 3


class PictureToParse:
    """A picture file on its way through a parser."""

    def __init__(
        self,
        parser: LoadedParser,
        data: bytes,
        limits: ImageLimits,
        *,
        least_px: int = 0,
        region: Region | None = None,
    ) -> None:
        """`least_px` is the short side that the decoded picture has at least, or its `region`.

        Raises ImageRejected if the header shows that the picture or the region cannot be used.
        """
        self._parser = parser
        self._data = data
        self._limits = limits
        header = check_image(data, limits=limits)
        self._target_px = max(least_px, parser.parser.decode_px)
        if region is not None:
            check_region(header, region, limits=limits)
            self._target_px = region_decode_px(header, len(data), region, target_px=self._target_px, limits=limits)
        self.size = header.upright_size
        self.cost = decode_cost(header, len(data), short_side_px=self._target_px)
        scale = 1
        if header.format == "JPEG":
            scale = max(jpeg_least_scale(header, limits), jpeg_scale(header, self._target_px))
        # Of the decoded picture, which is kept from step to step.
        self.held_pixels = min(header.width * header.height // scale**2, MAX_DECODED_PIXELS)

    @property
    def held_bytes(self) -> int:
        return _PIXEL_BYTES * self.held_pixels

    async def parsed(self, steps: Steps) -> ParsedPicture:
        """Decode and parse it."""
        kept: list[tuple[Image.Image, Letterbox]] = []

        def prepare() -> list[Pixels]:
            image = decode_image(self._data, target_px=self._target_px, limits=self._limits)
            pixels, box = self._parser.parser.fit(image)
            kept.append((image, box))
            return [pixels]

        answer = await steps.run([Upload((self._parser,), prepare, self.cost)])
        (maps,) = answer.all_results()
        image, box = kept[0]
        return ParsedPicture(image, box.part(maps))


@dataclass(frozen=True, slots=True)
class ParsedPicture:
    """A decoded picture and its class probabilities (classes, h, w), of the picture alone."""

    image: Image.Image
    probabilities: Probabilities

    def garments(self) -> tuple[Garment, ...]:
        return find_garments(enlarged(self.probabilities, STRIDE))

    def cut_out(self, garment: Garment, *, of: int) -> Image.Image:
        """One garment of the `of` garments of the picture, on white. The picture itself if it shows a product so."""
        is_product = of == 1 and is_on_white(self.image)
        return self.image if is_product else cut_out_garment(self.image, garment)

    def without_faces(self) -> bytes | None:
        """A JPEG file without metadata; None if the picture shows no one."""
        blurred = blur_faces(self.image, enlarged(self.probabilities, STRIDE))
        if blurred is None:
            return None
        with io.BytesIO() as file:
            blurred.save(file, "JPEG", quality=_QUALITY)
            return file.getvalue()
