"""The bundled release: small, complete, without product pictures, and published to the data folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.picture_formats import every_format, turned
from vitrine.errors import ReleaseCorrupt
from vitrine.garments import KIND_NAMES
from vitrine.qdrant.naming import model_of_release
from vitrine.recipe_files import read_chain
from vitrine.recipes import changed, parse_recipe
from vitrine.releases import ReleaseStore
from vitrine.releases.ancestry import lineage_of
from vitrine.splits import SplitRule
from vitrine.types import Vectors
from vitrine.vision.network import choose_device, load_release
from vitrine.vision.parser import load_parser
from vitrine.vision.preprocess import Preprocessor
from vitrine_local import bundled
from vitrine_local.bundled import BUNDLED, MODEL, PARSER, bundled_store, install_bundled_releases
from vitrine_local.data_folder import DataFolder
from vitrine_local.demo_catalog.garment import draw_garment
from vitrine_local.demo_catalog.generate import generate_catalog
from vitrine_local.errors import DataFolderUnusable

REPOSITORY = Path(__file__).parents[2]
MOST_BYTES = 6_000_000


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    folder = DataFolder.at(tmp_path / "data")
    folder.create()
    return folder


def bundled_id(model: str = MODEL) -> str:
    [release_id] = [one for one in bundled_store().ids() if model_of_release(one) == model]
    return release_id


def test_it_is_small_and_contains_no_product_picture() -> None:
    [folder] = BUNDLED.glob(f"{MODEL}-*")
    assert (folder / "weights.safetensors").stat().st_size < MOST_BYTES
    assert {path.name for path in (folder / "training").iterdir()} == {
        "confusion-counts.png", "confusion-normalised.png", "confusion.json", "curves.png", "history.json",
        "parents.json", "parts.json", "projections.json", "queries.json", "recipe.json", "reliability.json",
        "reliability.png",
    }  # fmt: skip


def test_the_recipe_that_reproduces_it_is_in_the_repository() -> None:
    manifest = bundled_store().manifest(bundled_id())
    assert manifest.model == MODEL
    assert manifest.calibration is not None
    *before, last = (file.recipe for file in read_chain(REPOSITORY / "recipes" / "demo.toml"))
    assert before[0].model.weights == "seed:0", "from random weights, and nobody else's"
    assert manifest.parent is not None
    assert manifest.parent.rpartition("-")[0] == before[-1].name
    assert parse_recipe(dict(manifest.recipe or {})) == changed(last, release=manifest.parent)


def test_the_products_it_and_its_parents_were_trained_on_are_recorded() -> None:
    store, release_id = bundled_store(), bundled_id()
    parts = json.loads((BUNDLED / release_id / "training" / "parts.json").read_text())["ids"]
    lineage = lineage_of(store, release_id)
    assert lineage.unknown == ()
    assert lineage.rules["fashion-product"] == SplitRule(attribute="articleType", seed=0)
    assert lineage.used("fashion-product", parts["train"]) == (26_426, 0)
    assert lineage.used("fashion-product", parts["validation"]) == (0, len(parts["validation"]))
    assert lineage.used("fashion-product", parts["test"]) == (0, 0)
    splits = {(file.recipe.data, file.recipe.seed) for file in read_chain(REPOSITORY / "recipes" / "demo.toml")}
    assert len(splits) == 1, "each of the parents was trained on the same train part"


def test_it_is_published_to_a_folder_once(data: DataFolder) -> None:
    release_id = install_bundled_releases(data)
    store = ReleaseStore(f"file:{data.releases}", cache_dir=data.cache)
    assert store.ids() == sorted([release_id, bundled_id(PARSER)])
    weights = store.local_folder(release_id) / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    assert install_bundled_releases(data) == release_id
    assert weights.stat().st_mtime_ns == before
    history = json.loads((data.releases / release_id / "training" / "history.json").read_text())
    assert history["epochs"]


def test_a_damaged_installation_is_reported(data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(BUNDLED, tmp_path / "bundled")
    [folder] = copy.glob(f"{MODEL}-*")
    (folder / "projection.safetensors").write_bytes(b"")
    monkeypatch.setattr(bundled, "BUNDLED", copy)
    with pytest.raises(ReleaseCorrupt, match="projection"):
        install_bundled_releases(data)
    assert list(data.releases.glob(f"{MODEL}-*")) == []


def test_a_folder_that_cannot_be_written_is_reported(data: DataFolder) -> None:
    data.releases.rmdir()
    data.releases.write_text("a file where the folder was")
    with pytest.raises(DataFolderUnusable, match="releases"):
        install_bundled_releases(data)


def test_every_format_of_a_picture_finds_what_its_original_finds(tmp_path: Path) -> None:
    """By cosine: a file of each format and orientation lies beside the original, and before any other product."""
    store, release_id = bundled_store(), bundled_id()
    manifest = store.manifest(release_id)
    network = load_release(store.local_folder(release_id), manifest, choose_device("cpu", "float32"))
    prepare = Preprocessor(manifest.preprocessing)

    def vectors(files: Iterable[bytes]) -> Vectors:
        return network.vectors(np.stack([prepare(data) for data in files]))

    original = draw_garment("Tshirts", "Blue", "stripes", "Women", 3, (240, 320))
    files = every_format(original)
    for image_format in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"):
        for orientation in range(2, 9):
            files[f"{image_format} {orientation}"] = turned(original, image_format, orientation)
    catalog = generate_catalog(tmp_path / "shop", count=40, seed=5)
    others = vectors(catalog.picture_path(product).read_bytes() for product in catalog.products)
    base = vectors([files["png"]])[0]
    neighbours = np.argsort(-others @ base)[:3]
    for name, vector in zip(files, vectors(files.values()), strict=True):
        assert base @ vector > 0.95, name
        assert base @ vector > (others @ vector).max(), name
        assert np.argmax(others @ vector) in neighbours, name


def test_the_bundled_parser_is_small_and_finds_nothing_in_an_empty_picture() -> None:
    release_id = bundled_id(PARSER)
    assert (BUNDLED / release_id / "weights.safetensors").stat().st_size < MOST_BYTES
    assert not list((BUNDLED / release_id).rglob("sheet.*")), "it shows photographs of people"
    manifest = bundled_store().parser_manifest(release_id)
    assert manifest.classes == KIND_NAMES
    assert manifest.metrics["mean_iou"] > 0.4
    parser = load_parser(bundled_store(), release_id, choice=choose_device("cpu", "float32"), fused=False)
    pixels, box = parser.fit(Image.new("RGB", (600, 900), "white"))
    found = box.part(parser.probabilities(pixels[None]))[0].argmax(axis=0)
    assert (found == 0).mean() > 0.9, "there is nobody"
