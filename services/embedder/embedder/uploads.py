"""What is made of a picture file or a region of it: its vectors in several views and for several releases, from one
decoding, and the cost of that, estimated from its header.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from embedder.call import Upload
from embedder.residency import Resident
from vitrine.errors import ImageRejected
from vitrine.images.checks import DecodeCost, check_image, decode_cost
from vitrine.images.decode import decode_image
from vitrine.images.regions import check_region, region_decode_px
from vitrine.images.views import Region, View
from vitrine.types import Pixels

# What cutting out and each further view take of a core, beside the decoding.
_CUT_OUT_S = 0.06
_VIEW_S = 0.005
_NOTHING = DecodeCost(0.0, 0)


def plain(resident: Resident, data: bytes) -> Upload:
    """One vector of the picture as it is. A file that cannot be used costs nothing and is refused when decoded."""
    try:
        cost = decode_cost(check_image(data, limits=resident.preprocessor.limits), len(data))
    except ImageRejected:
        cost = _NOTHING
    return Upload((resident,), lambda: [resident.preprocessor(data)], cost)


def viewed(
    residents: Sequence[Resident], data: bytes, views: Sequence[View], *, region: Region | None = None
) -> Upload:
    """One vector for each view of the picture, or of its `region`, release after release.

    Raises ImageRejected if the header shows that the picture or the region cannot be used.
    """
    limits = residents[0].preprocessor.limits  # the same for every release
    header = check_image(data, limits=limits)
    targets_px = [resident.preprocessor.decode_px_for(views) for resident in residents]
    cost = decode_cost(header, len(data))
    if region is not None:
        check_region(header, region, limits=limits)
        short_px = region_decode_px(header, len(data), region, target_px=max(targets_px), limits=limits)
        cost = decode_cost(header, len(data), short_side_px=short_px)
    extra_s = _VIEW_S * (len(views) - 1) + (_CUT_OUT_S if any(view.garment_alone for view in views) else 0.0)

    def prepare() -> list[Pixels]:
        decoded: dict[int, Image.Image] = {}
        pixels: list[Pixels] = []
        for resident, target_px in zip(residents, targets_px, strict=True):
            # Only a JPEG is decoded at a scale that depends on what it is wanted for.
            key = target_px if header.format == "JPEG" else 0
            if key not in decoded:
                decoded[key] = decode_image(data, target_px=target_px, limits=limits, region=region)
            pixels += resident.preprocessor.fit_views(decoded[key], views)
        return pixels

    seats = tuple(resident for resident in residents for _ in views)
    return Upload(seats, prepare, DecodeCost(cost.cpu_s + extra_s, cost.memory_bytes))
