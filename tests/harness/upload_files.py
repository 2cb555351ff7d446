"""Uploaded products for tests, and the files that the store keeps of them."""

from __future__ import annotations

import io

from PIL import Image

from vitrine.products import AttributeValue, Product
from vitrine.uploads.store import UploadStore


def picture(shade: int = 0, image_format: str = "PNG") -> bytes:
    with io.BytesIO() as file:
        Image.new("RGB", (16, 16), (shade, 0, 0)).save(file, image_format)
        return file.getvalue()


def product(product_id: str = "1", dataset: str = "shop", **attributes: AttributeValue) -> Product:
    return Product(dataset, product_id, "", attributes)


def files(upload_store: UploadStore) -> list[str]:
    return sorted(
        path.relative_to(upload_store.root).as_posix() for path in upload_store.root.rglob("*") if path.is_file()
    )
