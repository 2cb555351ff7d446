"""Small copies of the two DeepFashion benchmarks: lists and picture folders in the published layout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from harness.pictures import encoded, gradient

CATEGORIES: Final = ("Tee", "Blouse", "Dress", "Button-Down", "Ball Gown")
BLOUSE: Final = "img/Sheer_Pleated-Front_Blouse/img_00000001.jpg"
TEE: Final = "img/Striped_Tee/img_00000007.jpg"
DRESS: Final = "img/Maxi_Dress/img_00000001.jpg"
# Picture -> category number and part.
CATEGORY_ROWS: Final = {BLOUSE: "2", TEE: "1", DRESS: "3"}
CATEGORY_PARTS: Final = {BLOUSE: "train", TEE: "val", DRESS: "test"}
PICTURE: Final = encoded(gradient(24, 32), "JPEG")


def with_pictures(root: Path, *paths: str) -> Path:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PICTURE)
    return root


def with_list(root: Path, name: str, head: Iterable[str | int], rows: Iterable[str]) -> Path:
    """Write a list to this path: its header lines, then its rows."""
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in (*head, *rows)))
    return file


def category_benchmark(
    root: Path,
    rows: dict[str, str],
    parts: dict[str, str],
    *,
    annotations: str = "Anno_coarse",
    evaluation: str = "Eval",
) -> Path:
    """Category prediction: the category number and the part of each picture. The pictures are written separately."""
    names = [f"{name}    1" for name in CATEGORIES]
    with_list(root, f"{annotations}/list_category_cloth.txt", [len(names), "category_name  category_type"], names)
    pictures = [f"{path}     {number}" for path, number in rows.items()]
    with_list(root, f"{annotations}/list_category_img.txt", [len(rows), "image_name  category_label"], pictures)
    listed = [f"{path}     {part}" for path, part in parts.items()]
    with_list(root, f"{evaluation}/list_eval_partition.txt", [len(parts), "image_name  evaluation_status"], listed)
    return root


def whole_category_benchmark(root: Path) -> Path:
    """Three valid pictures of category prediction."""
    return with_pictures(category_benchmark(root, CATEGORY_ROWS, CATEGORY_PARTS), BLOUSE, TEE, DRESS)


def inshop_benchmark(root: Path, *rows: str, items: Iterable[str] | None = None, evaluation: str = "Eval") -> Path:
    """In-shop retrieval: rows of path, item and part. The pictures are written separately."""
    head = (len(rows), "image_name item_id evaluation_status")
    with_list(root, f"{evaluation}/list_eval_partition.txt", head, rows)
    if items is not None:
        listed = list(items)
        with_list(root, "Anno/list_item_inshop.txt", [len(listed)], listed)
    return root
