"""The table of garment kinds and street labels, and the manifests of parsers."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from vitrine.errors import ReleaseCorrupt, ReleaseNotFound, ReleaseOfOtherKind
from vitrine.garments import BACKGROUND, BY_NAME, KIND_NAMES, KINDS, SKIN, STREET_LABELS, kind_of_label
from vitrine.releases import ParserManifest, ParserNetwork, Preprocessing, ReleaseStore, WeightsOrigin


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(f"file:{tmp_path / 'releases'}", cache_dir=tmp_path / "cache")


def manifest(weights: Path) -> ParserManifest:
    return ParserManifest(
        model="vitrine-parser",
        network=ParserNetwork(timm_name="mobilenetv2_100", levels=(1, 2, 3), channels=32),
        weights=WeightsOrigin(
            source="seed:0",
            sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
            size_bytes=weights.stat().st_size,
        ),
        preprocessing=Preprocessing(
            input_px=96,
            input_width_px=64,
            resize_px=96,
            fit="pad",
            interpolation="bilinear",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            decode_rules_version=1,
        ),
        classes=KIND_NAMES,
    )


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"weights")
    return path


def test_the_twelve_kinds_are_numbered_from_the_background_to_skin() -> None:
    assert KIND_NAMES == (
        "background", "upper", "outer", "dress", "trousers", "skirt", "shorts", "shoes", "bag", "hat", "scarf", "skin",
    )  # fmt: skip
    assert [kind.number for kind in KINDS] == list(range(12))
    assert {kind.name for kind in KINDS if not kind.searchable} == {BACKGROUND, SKIN}


def test_every_street_label_counts_as_a_kind_and_unknown_ones_as_background() -> None:
    assert {label.kind for label in STREET_LABELS.values()} <= set(KIND_NAMES)
    assert kind_of_label("leggings") is BY_NAME["trousers"]
    assert kind_of_label("hair") is BY_NAME[SKIN]
    assert kind_of_label("necklace") is BY_NAME[BACKGROUND]


def test_the_article_types_of_street_labels_are_those_of_the_published_map(real_data: Path) -> None:
    with (real_data / "people-articleTypes.csv").open(newline="") as file:
        published = {row["label"]: frozenset(row["articleTypes"].split("|")) for row in csv.DictReader(file)}
    assert {name: label.article_types for name, label in STREET_LABELS.items() if label.article_types} == published


def test_a_parser_is_stored_and_read_back_like_any_release(store: ReleaseStore, weights: Path) -> None:
    made = manifest(weights)
    release_id = store.publish(made, weights=weights)
    assert release_id == made.release_id
    assert store.ids() == [release_id]
    assert store.parser_manifest(release_id) == made
    assert store.newest("vitrine-parser") == release_id
    assert (store.local_folder(release_id) / "weights.safetensors").read_bytes() == b"weights"


def test_a_parser_is_refused_where_vectors_are_needed(store: ReleaseStore, weights: Path) -> None:
    release_id = store.publish(manifest(weights), weights=weights)
    with pytest.raises(ReleaseOfOtherKind, match="is a parser of garments and has no vectors"):
        store.manifest(release_id)
    with pytest.raises(ReleaseNotFound):
        store.parser_manifest("vitrine-parser-0123456789")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"kind":"parser"}', b'{"kind":["parser"]}', b"\xff", b"[" * 100_000, b'"parser"']
)
def test_a_manifest_that_cannot_be_read_is_reported(store: ReleaseStore, data: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "releases" / "vitrine-parser-0123456789"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(data)
    with pytest.raises(ReleaseCorrupt, match="vitrine-parser-0123456789"):
        store.any_manifest("vitrine-parser-0123456789")


def test_a_changed_parser_is_detected_by_its_id(store: ReleaseStore, weights: Path, tmp_path: Path) -> None:
    release_id = store.publish(manifest(weights), weights=weights)
    path = tmp_path / "releases" / release_id / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "metrics": {"mean_iou": 1.0}}))
    with pytest.raises(ReleaseCorrupt, match="belongs to"):
        store.parser_manifest(release_id)
