"""Cutting garments out of photographs with a parser, and blurring faces, for the trainer and for measurements."""

from __future__ import annotations

from PIL import Image

from vitrine.images.cutout import cut_out_garment, is_on_white
from vitrine.images.faces import blur_faces
from vitrine.images.garment_masks import Garment, Probabilities, enlarged, find_garments
from vitrine.releases import ReleaseStore
from vitrine.vision.network import DeviceChoice
from vitrine.vision.parser import STRIDE, Parser, load_parser


class GarmentCutter:
    """Cuts the most prominent garment out of photographs, as the embedder does for the view `cutout`. Thread-safe."""

    def __init__(self, parser: Parser, release_id: str) -> None:
        self.release_id = release_id
        self._parser = parser

    @classmethod
    def load(cls, store: ReleaseStore, release_id: str, choice: DeviceChoice, *, fused: bool = True) -> GarmentCutter:
        """Without `fused` it is loaded faster and works slower. Raises ReleaseNotFound, ReleaseOfOtherKind,
        ReleaseCorrupt, WeightsUnusable.
        """
        return cls(load_parser(store, release_id, choice=choice, fused=fused), release_id)

    def garments(self, image: Image.Image) -> tuple[Garment, ...]:
        """The garments of an upright RGB picture, the most prominent first."""
        return find_garments(self._probabilities(image))

    def without_faces(self, image: Image.Image) -> Image.Image:
        """The picture with blurred faces; itself if it shows no one."""
        return blur_faces(image, self._probabilities(image)) or image

    def __call__(self, image: Image.Image) -> Image.Image:
        """The garment on white; the picture itself if it has none, or if it stands on white already."""
        if is_on_white(image):
            return image
        garment = next((one for one in self.garments(image) if one.kind.searchable), None)
        return image if garment is None else cut_out_garment(image, garment)

    def _probabilities(self, image: Image.Image) -> Probabilities:
        pixels, box = self._parser.fit(image)
        return enlarged(box.part(self._parser.probabilities(pixels[None])[0]), STRIDE)
