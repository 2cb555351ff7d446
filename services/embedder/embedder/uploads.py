"""What is made of a picture file: its vectors in several views and for several releases, from one decoding, and the
cost of that, estimated from its header.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from embedder.call import Upload
from embedder.residency import Resident
from vitrine.errors import ImageRejected
from vitrine.image_checks import DecodeCost, check_image, decode_cost
from vitrine.images import decode_image
from vitrine.views import View
from vitrine.vision.preprocess import Pixels

# What cutting out and each further view take of a core, beside the decoding.
_CUT_OUT_S = 0.06
_VIEW_S = 0.005
_NOTHING = DecodeCost(0.0, 0)


def plain(resident: Resident, data: bytes) -> Upload:
    """One vector of the picture as it is. A file that cannot be used costs nothing and is refused when decoded."""
    try:
        cost = decode_cost(check_image(data), len(data))
    except ImageRejected:
        cost = _NOTHING
    return Upload((resident,), lambda: [resident.preprocessor(data)], cost)


def viewed(residents: Sequence[Resident], data: bytes, views: Sequence[View]) -> Upload:
    """One vector for each view, release after release. Raises ImageRejected if the header is refused."""
    header = check_image(data)
    cost = decode_cost(header, len(data))
    extra_s = _VIEW_S * (len(views) - 1) + (_CUT_OUT_S if any(view.garment_alone for view in views) else 0.0)

    def prepare() -> list[Pixels]:
        decoded: dict[int, Image.Image] = {}
        pixels: list[Pixels] = []
        for resident in residents:
            target_px = resident.preprocessor.decode_px_for(views)
            # Only a JPEG is decoded at a scale that depends on what it is wanted for.
            key = target_px if header.format == "JPEG" else 0
            if key not in decoded:
                decoded[key] = decode_image(data, target_px=target_px)
            pixels += resident.preprocessor.fit_views(decoded[key], views)
        return pixels

    seats = tuple(resident for resident in residents for _ in views)
    return Upload(seats, prepare, DecodeCost(cost.cpu_s + extra_s, cost.memory_bytes))
