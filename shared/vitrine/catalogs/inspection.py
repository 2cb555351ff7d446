"""A look into the pictures of a catalogue: how many are greyscale, of an odd size, or cannot be decoded, by id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from vitrine.catalogs.model import Catalog
from vitrine.catalogs.roots import read_picture
from vitrine.errors import CatalogRootRefused, ImageRejected, PictureNotFound
from vitrine.images.checks import DEFAULT_LIMITS, ImageLimits, check_image
from vitrine.images.decode import decode_image
from vitrine.products import Product


@dataclass(frozen=True, slots=True)
class PictureReport:
    """What the pictures of a catalogue are like. Sizes are (width, height) in pixels as stored."""

    checked: int
    formats: Counter[str]
    sizes: Counter[tuple[int, int]]
    usual_size: tuple[int, int] | None
    greyscale: tuple[str, ...]
    odd_size: tuple[tuple[str, tuple[int, int]], ...]
    rejected: tuple[tuple[str, str], ...]  # product id, reason


@dataclass(frozen=True, slots=True)
class _Look:
    product_id: str
    format: str = ""
    size: tuple[int, int] = (0, 0)
    grey: bool = False
    rejected: str | None = None


def inspect_pictures(
    catalog: Catalog, *, limits: ImageLimits = DEFAULT_LIMITS, progress: Callable[[int], None] | None = None
) -> PictureReport:
    """Decode every picture of a catalogue once. `progress` is called with the number done after each picture.

    A picture that cannot be read or decoded is listed with its reason (`vitrine.images.decode.REASONS`,
    "missing_picture" or "unsafe_picture"); it raises nothing.
    """
    looks: list[_Look] = []
    # One thread: at thumbnail size several would spend more on handing over the interpreter than they gain.
    for product in catalog.products:
        looks.append(_look(catalog, product, limits))
        if progress is not None:
            progress(len(looks))
    good = [look for look in looks if look.rejected is None]
    sizes = Counter(look.size for look in good)
    usual = sizes.most_common(1)[0][0] if sizes else None
    return PictureReport(
        checked=len(looks),
        formats=Counter(look.format for look in good),
        sizes=sizes,
        usual_size=usual,
        greyscale=tuple(look.product_id for look in good if look.grey),
        odd_size=tuple((look.product_id, look.size) for look in good if look.size != usual),
        rejected=tuple((look.product_id, look.rejected) for look in looks if look.rejected is not None),
    )


def _look(catalog: Catalog, product: Product, limits: ImageLimits) -> _Look:
    try:
        data = read_picture(catalog.root, product.picture)
        header = check_image(data, limits=limits)
        decode_image(data, limits=limits)
    except ImageRejected as error:
        return _Look(product.id, rejected=error.reason)
    except PictureNotFound:
        return _Look(product.id, rejected="missing_picture")
    except CatalogRootRefused:
        return _Look(product.id, rejected="unsafe_picture")
    return _Look(product.id, header.format, (header.width, header.height), header.grey)
