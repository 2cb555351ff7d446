"""Lineage of a release: the products that it and its ancestors were trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from harness.releases import build_tiny_release, store_of
from vitrine.errors import ReleaseCorrupt
from vitrine.releases import SPLIT_FILE
from vitrine.releases.ancestry import lineage_of, weights_lineage
from vitrine.releases.lineage import Lineage
from vitrine.splits import SplitRule
from vitrine.vision.release_builder import fitted_on

RULE = SplitRule(attribute="articleType", seed=0)
SHOP = Lineage().with_split("shop", RULE, {"1": "train", "2": "validation", "3": "test", "4": "train"})
TRAINED = SHOP.with_products("shop", fitted=["1", "4"], chosen=["2"])


def test_a_lineage_is_read_back_unchanged() -> None:
    stored = TRAINED.with_unknown("what the weights of file:Gewänder were trained on").as_bytes()
    read = Lineage.parse(stored, release_id="m-0123456789")
    assert read.as_bytes() == stored
    assert read.rules == {"shop": RULE}
    assert read.unknown == ("what the weights of file:Gewänder were trained on",)
    assert read.parts_of("shop", ["1", "2", "3", "5"]) == {"1": "train", "2": "validation", "3": "test"}
    assert read.used("shop", ["1", "2", "3", "4", "5"]) == (2, 1)
    assert read.seen("shop", ["1", "2", "3", "5"]).tolist() == [True, True, False, False]
    assert read.used("another", ["1", "2"]) == (0, 0)


def test_a_lineage_is_compact_and_contains_no_product_id() -> None:
    ids = [f"secret-{number}" for number in range(10_000)]
    stored = Lineage().with_split("shop", RULE, dict.fromkeys(ids, "train")).with_products("shop", fitted=ids)
    assert len(stored.as_bytes()) < 9 * len(ids) + 1_000
    assert b"secret" not in stored.as_bytes()


def test_a_merged_lineage_contains_the_products_of_both() -> None:
    other = Lineage().with_products("shop", fitted=["3"]).with_products("street", chosen=["a"])
    both = TRAINED | other
    assert both.used("shop", ["1", "2", "3", "4"]) == (3, 1)
    assert both.used("street", ["a", "b"]) == (0, 1)
    assert both.parts_of("shop", ["3"]) == {"3": "test"}


def test_the_first_of_two_splits_of_a_dataset_is_kept() -> None:
    other = Lineage().with_split("shop", SplitRule(attribute="gender", seed=7), {"3": "train", "9": "test"})
    both = TRAINED | other.with_products("shop", fitted=["3"])
    assert both.rules == {"shop": RULE}
    assert both.parts_of("shop", ["3", "9"]) == {"3": "test"}, "a product of the other split alone has no part"
    assert both.used("shop", ["3"]) == (1, 0), "and what the other was fitted on is known"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"about": None}, "about"),
        ({"0.flags": np.zeros(1, dtype=np.uint8)}, "do not match"),
        ({"0.hashes": np.array([3, 2, 1, 0], dtype=np.uint64)}, "order"),
        ({"about": np.frombuffer(b'{"version": 99}', dtype=np.uint8)}, "update Vitrine"),
    ],
)
def test_a_damaged_file_is_reported(changes: dict[str, Any], message: str) -> None:
    tensors = {**load(TRAINED.as_bytes()), **changes}
    damaged = save({name: tensor for name, tensor in tensors.items() if tensor is not None})
    with pytest.raises(ReleaseCorrupt, match=message):
        Lineage.parse(damaged, release_id="m-0123456789")
    with pytest.raises(ReleaseCorrupt, match="m-0123456789"):
        Lineage.parse(b"no safetensors", release_id="m-0123456789")


def test_a_release_keeps_its_lineage_beside_its_manifest(tmp_path: Path) -> None:
    release_id = build_tiny_release(tmp_path / "releases", lineage=TRAINED)
    store = store_of(tmp_path / "releases")
    assert lineage_of(store, release_id).as_bytes() == TRAINED.as_bytes()
    (tmp_path / "releases" / release_id / SPLIT_FILE).write_bytes(SHOP.as_bytes())
    with pytest.raises(ReleaseCorrupt, match=SPLIT_FILE):
        store.local_folder(release_id)


def test_a_release_of_an_earlier_version_reports_what_is_unknown(tmp_path: Path) -> None:
    release_id = build_tiny_release(tmp_path / "releases")
    assert lineage_of(store_of(tmp_path / "releases"), release_id).unknown == (
        "which 64 products of blotches its projection was fitted on",
    )


def test_the_lineage_of_an_earlier_release_comes_from_its_parts_file_if_it_matches(tmp_path: Path) -> None:
    store, child = store_of(tmp_path / "releases"), build_tiny_release(tmp_path / "releases", parent="gone-0123456789")
    written = tmp_path / "releases" / child / "training"
    written.mkdir()
    train = [str(number) for number in range(64)]  # what the harness fits on
    (written / "parts.json").write_text(json.dumps({"ids": {"train": train, "validation": ["70"], "test": ["80"]}}))
    known = lineage_of(store, child)
    assert known.used("blotches", train) == (64, 0)
    assert known.used("blotches", ["70", "80"]) == (0, 1)
    assert known.unknown == ("what gone-0123456789 was fitted on, which is not in the store",)
    own = fitted_on("blotches", train, part="all", seed=0).model_dump(mode="json")
    (written / "parents.json").write_text(json.dumps({"gone-0123456789": own}))
    assert lineage_of(store, child).unknown == ()
    (written / "parents.json").write_text(json.dumps({"gone-0123456789": {**own, "count": 65}}))
    assert lineage_of(store, child).unknown == known.unknown
    (written / "parts.json").write_text(json.dumps({"ids": {"train": train[1:], "validation": [], "test": []}}))
    assert "which 64 products of blotches its projection was fitted on" in lineage_of(store, child).unknown


def test_weights_from_a_file_are_unknown_unless_they_belong_to_a_release_or_are_stated(tmp_path: Path) -> None:
    store = store_of(tmp_path / "releases")
    release_id = build_tiny_release(tmp_path / "releases", lineage=TRAINED)
    random = store.manifest(release_id).weights.sha256
    assert weights_lineage(store, "file:copy.safetensors", random) == Lineage(), "they are random, and known to be"
    release_id = build_tiny_release(tmp_path / "releases", lineage=TRAINED, weights="seed:1", parent=release_id)
    theirs = store.manifest(release_id).weights.sha256
    assert weights_lineage(store, "file:copy.safetensors", theirs).as_bytes() == TRAINED.as_bytes()
    other = "0" * 64
    assert weights_lineage(store, "file:net.safetensors", other).unknown == (
        "what the weights of file:net.safetensors were trained on",
    )
    stated = weights_lineage(store, "file:net.safetensors", other, stated="ImageNet")
    assert stated.unknown == ()
    assert stated.stated == ("the weights of file:net.safetensors were trained on: ImageNet",)
    assert weights_lineage(store, "seed:0", None) == weights_lineage(store, "pretrained:net", other) == Lineage()
