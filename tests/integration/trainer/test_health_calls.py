"""A health report as a user makes it, on a drawn catalogue with planted faults."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qdrant_client import models

from harness.system import System
from vitrine.catalogs import read_catalog
from vitrine.products import AttributeKind
from vitrine.qdrant.aliases import switch_alias
from vitrine.qdrant.client import create_collection
from vitrine.qdrant.naming import Serving, alias_name, model_of_release
from vitrine.qdrant.schema import CollectionMetadata
from vitrine_local.cli import main

pytestmark = pytest.mark.slow

DATASET = "faulty"
KINDS = {"articleType": AttributeKind.KEYWORD, "baseColour": AttributeKind.KEYWORD}
DIM = 16


@pytest.fixture(scope="module")
def planted(system: System) -> dict[str, str]:
    """A served collection whose vectors follow the article types, with one fault of each kind. Returns their ids."""
    root = Path(shutil.copytree(system.catalog(count=240, seed=3), system.catalogs / "faulty"))
    products = list(read_catalog("synthetic", root, dataset=DATASET).products)
    common = [kind for kind, _ in Counter(one.attributes["articleType"] for one in products).most_common(3)]
    kept = [one for one in products if one.attributes["articleType"] in common]
    first, second, third = ([one for one in kept if one.attributes["articleType"] == kind] for kind in common)
    with Image.open(root / first[0].picture) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / first[1].picture, quality=90)
    shutil.copyfile(root / second[0].picture, root / second[1].picture)
    chance = np.random.default_rng(0)
    centres = {kind: chance.normal(size=DIM) for kind in common}
    points = []
    for one in kept:
        vector = centres[str(one.attributes["articleType"])] + 0.2 * chance.normal(size=DIM)
        payload = {**one.payload(), "picture_sha256": hashlib.sha256((root / one.picture).read_bytes()).hexdigest()}
        if one.id == third[0].id:
            payload["articleType"] = common[0]
        if one.id == third[1].id:
            payload["baseColour"] = f" {third[2].attributes['baseColour']} "
        points.append((one, vector, payload))
    vectors = {one.id: vector for one, vector, _ in points}
    release = system.release()
    serving = Serving(DATASET, model_of_release(release), release, "")
    metadata = CollectionMetadata(DATASET, serving.model, release, "synthetic", str(root), "ready", expected=len(kept))
    name = create_collection(system.store, metadata, dim=DIM, kinds=KINDS)
    for copy, original in ((first[1].id, first[0].id), (second[1].id, second[0].id)):
        vectors[copy] = vectors[original] + 0.001
    system.store.upsert(
        name,
        [
            models.PointStruct(id=one.point_id, vector=vectors[one.id].tolist(), payload=payload)
            for one, _, payload in points
        ],
    )
    switch_alias(system.store, Serving(DATASET, serving.model, release, name))
    assert alias_name(DATASET, serving.model)
    return {
        "mirrored": first[1].id, "same": second[1].id, "wrong": third[0].id, "spelled": third[1].id,
        "given": str(common[0]), "true": str(common[2]),
    }  # fmt: skip


def test_the_report_finds_each_planted_fault_and_the_page_shows_it(
    system: System, planted: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["catalog", "report", "--dataset", DATASET, "--url", system.url("search_api"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    document = json.loads(Path(record["result"]["report"]).read_text())
    suspects = {str(one["id"]): one for one in document["labels"]["suspects"]}
    assert (suspects[planted["wrong"]]["given"], suspects[planted["wrong"]]["suggested"]) == (
        planted["given"], planted["true"],
    )  # fmt: skip
    groups = {group["kind"]: {str(one["id"]) for one in group["members"]} for group in document["duplicates"]["groups"]}
    assert planted["mirrored"] in groups["mirrored"]
    assert planted["same"] in groups["same file"]
    assert any(one["attribute"] == "baseColour" for one in document["twins"]["groups"])
    page = system.api.get(f"/models/health/{record['id']}")
    assert page.status_code == 200
    assert f"/products/{planted['wrong']}" in page.text
    assert main(["catalog", "report", "--dataset", DATASET, "--url", system.url("search_api")]) == 0
    assert planted["wrong"] in capsys.readouterr().out


def test_a_dataset_that_is_not_indexed_or_a_wrong_label_is_refused(
    system: System, planted: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = ["--url", system.url("search_api")]
    assert main(["catalog", "report", "--dataset", "unknown", *url]) == 1
    assert "index it first" in capsys.readouterr().err
    assert main(["catalog", "report", "--dataset", DATASET, "--label", "shape", *url]) == 1
    assert "articleType, baseColour" in capsys.readouterr().err
