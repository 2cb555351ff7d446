"""The Fashion Product catalogue as it was published, read whole."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitrine.catalogs import read_catalog


@pytest.fixture(scope="module")
def real_catalog(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("catalogue")
    with zipfile.ZipFile(real_data / "fashion-product-60x80.zip") as archive:
        archive.extractall(folder)
    yield folder
    shutil.rmtree(folder)


PICTURELESS = ["12347", "39401", "39403", "39410", "39425"]
MALFORMED = [
    "3413", "3418", "3428", "4854", "23100", "23101", "23103", "23107", "23108", "23109", "23110", "23111", "23112",
    "23114", "23115", "23116", "23117", "23118", "23124", "23127", "44065", "59768",
]  # fmt: skip


@pytest.mark.real_data
def test_the_published_catalogue_is_read_with_all_its_faults(real_catalog: Path) -> None:
    catalog = read_catalog("fashion-product", real_catalog)
    assert (catalog.rows, len(catalog.products)) == (44_446, 44_441)

    def with_fault(kind: str) -> list[str]:
        return sorted((str(fault.product_id) for fault in catalog.faults if fault.kind == kind), key=int)

    assert with_fault("missing_picture") == PICTURELESS
    assert with_fault("malformed_row") == MALFORMED
    assert set(catalog.fault_counts()) <= {"missing_picture", "malformed_row", "empty_field", "repaired_year"}
    ids = {product.id for product in catalog.products}
    assert set(PICTURELESS).isdisjoint(ids)
    assert set(MALFORMED) <= ids
    counts = catalog.attribute_counts()
    assert counts["gender"] == {"Men": 22_160, "Women": 18_632, "Unisex": 2_164, "Boys": 830, "Girls": 655}
    assert counts["masterCategory"]["Apparel"] == 21_395
    assert len(counts["subCategory"]) == 45
    assert all(isinstance(year, int) for year in counts["year"])
    assert all(catalog.picture_path(product).is_file() for product in catalog.products[::1000])
