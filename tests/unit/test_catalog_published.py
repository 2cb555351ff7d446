"""The published Fashion Product catalogue, read completely."""

from __future__ import annotations

import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.registry import select
from vitrine.splits import stratified_split


@pytest.fixture(scope="module")
def real_catalog(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("catalogue")
    with zipfile.ZipFile(real_data / "fashion-product-60x80.zip") as archive:
        archive.extractall(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def published(real_catalog: Path) -> Catalog:
    return read_catalog("fashion-product", real_catalog)


PICTURELESS = ["12347", "39401", "39403", "39410", "39425"]
MALFORMED = [
    "3413", "3418", "3428", "4854", "23100", "23101", "23103", "23107", "23108", "23109", "23110", "23111", "23112",
    "23114", "23115", "23116", "23117", "23118", "23124", "23127", "44065", "59768",
]  # fmt: skip


# The 22 classes of the reference system's evaluation.
CLASSES = {
    "Tshirts": 7_068, "Shirts": 3_215, "Casual Shoes": 2_846, "Sports Shoes": 2_036, "Tops": 1_762, "Heels": 1_323,
    "Flip Flops": 916, "Sandals": 897, "Formal Shoes": 637, "Jeans": 608, "Shorts": 547, "Trousers": 530, "Flats": 500,
    "Dresses": 464, "Track Pants": 304, "Sweatshirts": 285, "Sweaters": 277, "Jackets": 258, "Nightdress": 189,
    "Leggings": 177, "Night suits": 141, "Skirts": 128,
}  # fmt: skip


@pytest.mark.real_data
def test_the_published_catalogue_is_read_with_all_its_issues(published: Catalog) -> None:
    catalog = published
    assert (catalog.rows, len(catalog.products)) == (44_446, 44_441)

    def with_fault(kind: str) -> list[str]:
        return sorted((str(issue.product_id) for issue in catalog.issues if issue.kind == kind), key=int)

    assert with_fault("missing_picture") == PICTURELESS
    assert with_fault("malformed_row") == MALFORMED
    assert set(catalog.issue_counts()) <= {"missing_picture", "malformed_row", "empty_field", "repaired_year"}
    ids = {product.id for product in catalog.products}
    assert set(PICTURELESS).isdisjoint(ids)
    assert set(MALFORMED) <= ids
    counts = catalog.attribute_counts()
    assert counts["gender"] == {"Men": 22_160, "Women": 18_632, "Unisex": 2_164, "Boys": 830, "Girls": 655}
    assert counts["masterCategory"]["Apparel"] == 21_395
    assert len(counts["subCategory"]) == 45
    assert all(isinstance(year, int) for year in counts["year"])
    assert all(catalog.picture_path(product).is_file() for product in catalog.products[::1000])


@pytest.mark.real_data
def test_the_subset_of_22_classes_has_the_published_counts(published: Catalog) -> None:
    chosen = select(published.products, "fashion-22")
    assert len(chosen) == 25_108
    assert Counter(product.attributes["articleType"] for product in chosen) == CLASSES


@pytest.mark.real_data
def test_the_subset_divides_into_parts_that_each_have_every_class(published: Catalog) -> None:
    chosen = select(published.products, "fashion-22")
    parts = stratified_split(chosen, attribute="articleType", seed=0)
    counts = Counter((parts[product.id], product.attributes["articleType"]) for product in chosen)
    assert Counter(parts.values()) == {"train": 15_066, "validation": 5_021, "test": 5_021}
    for name, count in CLASSES.items():
        assert counts["validation", name] == counts["test", name] == round(count / 5)
        assert counts["train", name] == count - 2 * round(count / 5)
