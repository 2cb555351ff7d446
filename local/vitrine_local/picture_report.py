"""Check the pictures of a catalogue: formats, sizes, greyscale pictures, and those that cannot be decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from vitrine.catalogs.model import Catalog
from vitrine.errors import CatalogRootRefused, ImageRejected, PictureNotFound
from vitrine.images.checks import DEFAULT_LIMITS, ImageLimits, check_image
from vitrine.images.decode import decode_image
from vitrine.images.formats import FORMAT_NAMES, format_name
from vitrine.products import Product


@dataclass(frozen=True, slots=True)
class PictureReport:
    """Facts about the pictures of a catalogue. Sizes are (width, height) in pixels as stored."""

    checked: int
    formats: Counter[str]
    sizes: Counter[tuple[int, int]]
    usual_size: tuple[int, int] | None
    greyscale: tuple[str, ...]
    odd_size: tuple[tuple[str, tuple[int, int]], ...]
    rejected: tuple[tuple[str, str], ...]  # product id, reason
    rejected_formats: Counter[str]  # of the rejected pictures that are there, by the format seen


@dataclass(frozen=True, slots=True)
class _Checked:
    product_id: str
    format: str = ""
    size: tuple[int, int] = (0, 0)
    grey: bool = False
    rejected: str | None = None
    seen: str = ""


def inspect_pictures(
    catalog: Catalog, *, limits: ImageLimits = DEFAULT_LIMITS, progress: Callable[[int], None] | None = None
) -> PictureReport:
    """Decode every picture of a catalogue. `progress` is called after each picture with the number of pictures done.

    Pictures that cannot be read or decoded are listed with their reason: one of `vitrine.images.checks.REASONS`,
    "missing_picture" or "unsafe_picture".
    """
    checked_pictures: list[_Checked] = []
    # One thread: for small pictures, several would lose more time to the interpreter's lock than they gain.
    for product in catalog.products:
        checked_pictures.append(_check(catalog, product, limits))
        if progress is not None:
            progress(len(checked_pictures))
    good = [one for one in checked_pictures if one.rejected is None]
    sizes = Counter(one.size for one in good)
    usual = sizes.most_common(1)[0][0] if sizes else None
    return PictureReport(
        checked=len(checked_pictures),
        formats=Counter(one.format for one in good),
        sizes=sizes,
        usual_size=usual,
        greyscale=tuple(one.product_id for one in good if one.grey),
        odd_size=tuple((one.product_id, one.size) for one in good if one.size != usual),
        rejected=tuple((one.product_id, one.rejected) for one in checked_pictures if one.rejected is not None),
        rejected_formats=Counter(one.seen for one in checked_pictures if one.seen),
    )


def _check(catalog: Catalog, product: Product, limits: ImageLimits) -> _Checked:
    data = b""
    try:
        data = catalog.read_picture(product)
        header = check_image(data, limits=limits)
        decode_image(data, limits=limits)
    except ImageRejected as error:
        seen = format_name(data) if data else ""
        return _Checked(product.id, rejected=error.reason, seen=seen)
    except PictureNotFound:
        return _Checked(product.id, rejected="missing_picture")
    except CatalogRootRefused:
        return _Checked(product.id, rejected="unsafe_picture")
    return _Checked(product.id, FORMAT_NAMES[header.format], (header.width, header.height), header.grey)
