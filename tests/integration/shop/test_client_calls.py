"""The Python client with a whole system behind it, and the examples of its README."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.shop import DATASET, Shop, queries
from vitrine_client import MISSING, PRESENT, Filters, Not, Range, Upload, Vitrine, api_errors
from vitrine_client.models import IndexParams
from vitrine_local.cli import main

README = (Path(__file__).parents[3] / "clients" / "python" / "README.md").read_text()
EXAMPLES = re.findall(r"(<!-- not run -->\n)?^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def vitrine(shop: Shop) -> Iterator[Vitrine]:
    with Vitrine(shop.system.url("search_api")) as client:
        yield client


def test_the_client_finds_what_the_api_finds(shop: Shop, vitrine: Vitrine) -> None:
    query = queries(shop)[0]
    found = vitrine.search(shop.picture(query), dataset=DATASET, top_k=6)
    assert found.ranking == shop.search(query, topK=6)["ranking"]
    kept = Upload(vitrine.upload(shop.picture(query)).upload)
    rest = vitrine.search(kept, dataset=DATASET, top_k=3, offset=3, facets=["gender", "year"])
    assert rest.ranking == found.ranking[3:]
    assert set(rest.facets or {}) == {"gender", "year"}
    alike = vitrine.similar(query, dataset=DATASET, top_k=5)
    assert alike.ranking == vitrine.recommend([int(query)], dataset=DATASET, top_k=5).ranking
    assert len(vitrine.recommend([kept], [found.ranking[-1]], dataset=DATASET, top_k=5).results) == 5
    explained = vitrine.explain(shop.picture(query), found.ranking[1], dataset=DATASET)
    assert explained.picture.startswith("data:image/")
    assert vitrine.picture(found.results[0].image) == shop.picture(str(found.ranking[0]))


def test_filters_of_the_client_keep_what_they_say(shop: Shop, vitrine: Vitrine) -> None:
    filters: Filters = {"gender": ["Women", "Girls"], "year": Range(2011, 2015), "baseColour": Not("Red", "Black")}
    expected = {
        int(number)
        for number, row in shop.rows.items()
        if row["gender"] in {"Women", "Girls"}
        and 2011 <= int(row["year"]) <= 2015
        and row["baseColour"] not in {"Red", "Black"}
    }
    listed = {int(one.id) for one in vitrine.products.list(dataset=DATASET, filters=filters, page_size=7)}
    assert listed == expected
    assert {int(one.id) for one in vitrine.products.export(dataset=DATASET, filters=filters)} == expected
    found = vitrine.search(shop.picture(queries(shop)[1]), dataset=DATASET, filters=filters, top_k=200)
    assert {int(one) for one in found.ranking} == expected
    counts = vitrine.facets("gender", dataset=DATASET, filters={"year": Range(max=2012)}).facets["gender"]
    assert sum(one.count for one in counts) == sum(int(row["year"]) <= 2012 for row in shop.rows.values())
    with pytest.raises(api_errors.FilterInvalid):
        vitrine.search(shop.picture(queries(shop)[1]), dataset=DATASET, filters={"colour": "Red"})


def test_products_are_put_changed_deleted_and_listed_as_deleted(shop: Shop, vitrine: Vitrine) -> None:
    put = vitrine.products.put("client-1", shop.picture(queries(shop)[2]), {"gender": "Women"}, dataset=DATASET)
    assert put.product.attributes["gender"] == "Women"
    changed = vitrine.products.change("client-1", {"gender": None, "baseColour": "Pink"}, dataset=DATASET)
    assert changed.product.attributes == {"baseColour": "Pink"}
    assert vitrine.products.get("client-1", dataset=DATASET) == changed.product
    without: list[Filters] = [{"gender": MISSING}, {"gender": [MISSING, Not("Men")], "baseColour": PRESENT}]
    for untagged in without:
        assert [one.id for one in vitrine.products.list(dataset=DATASET, filters=untagged)] == ["client-1"]
        found = vitrine.search(shop.picture(queries(shop)[2]), dataset=DATASET, filters=untagged)
        assert found.ranking == ["client-1"]
    assert vitrine.products.delete("client-1", dataset=DATASET).id == "client-1"
    with pytest.raises(api_errors.ProductNotFound):
        vitrine.products.get("client-1", dataset=DATASET)
    number = queries(shop)[3]
    vitrine.products.delete(number, dataset=DATASET)
    try:
        assert int(number) in vitrine.datasets.deleted(DATASET).deleted
    finally:
        assert vitrine.products.restore(number, dataset=DATASET).id == int(number)
    assert DATASET in [one.dataset for one in vitrine.datasets.list()]


def test_a_job_is_started_followed_and_listed(shop: Shop, vitrine: Vitrine) -> None:
    params = IndexParams(
        dataset=DATASET, reader="synthetic", root=str(shop.root), release_id=shop.release,
        model=shop.release.rpartition("-")[0],
    )  # fmt: skip
    seen: list[str] = []
    job = vitrine.jobs.wait(vitrine.jobs.start(params).id, on_progress=lambda one: seen.append(one.state))
    assert (job.state, seen[-1]) == ("succeeded", "succeeded")
    assert job.progress is not None
    assert job.id in [one.id for one in vitrine.jobs.list(kind="index", state="succeeded")]
    with pytest.raises(api_errors.JobFinished):
        vitrine.jobs.cancel(job.id)
    assert vitrine.jobs.delete(job.id).id == job.id
    assert [one.release for one in vitrine.releases.models(dataset=DATASET)] == [shop.release]
    assert shop.release in [one.id for one in vitrine.releases.list()]
    assert vitrine.releases.activate(shop.release, dataset=DATASET).release == shop.release
    assert vitrine.status().services["search-api"]["up"]


def test_a_folder_is_searched_with_and_a_bad_picture_is_one_line(shop: Shop, vitrine: Vitrine, tmp_path: Path) -> None:
    folder = tmp_path / "queries"
    folder.mkdir()
    for query in queries(shop):
        (folder / f"{query}.jpg").write_bytes(shop.picture(query))
    (folder / "bad.jpg").write_bytes(b"no picture")
    counts = vitrine.search_to_file(folder, tmp_path / "out.jsonl", dataset=DATASET, top_k=2)
    assert (counts.done, counts.failed) == (len(queries(shop)), 1)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["error"]["code"] for line in lines if "error" in line] == ["image_format_unsupported"]


def test_the_command_searches_with_a_folder(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, output = tmp_path / "queries", tmp_path / "out.csv"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(shop.picture(queries(shop)[0]))
    (folder / "2.jpg").write_bytes(shop.picture(queries(shop)[1]))
    model = shop.release.rpartition("-")[0]
    line = ["search", str(folder), "--model", model, "--dataset", DATASET, "--k", "3", "--output", str(output)]
    line += ["--url", shop.system.url("search_api")]
    assert main([*line, "--filter", "yearMin=2011"]) == 0
    assert capsys.readouterr().out == f"2 pictures searched, 0 failed: {output}\n"
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["query"] for row in rows].count("1.jpg") == 3
    assert min(int(json.loads(row["attributes"])["year"]) for row in rows) >= 2011
    assert main(line) == 0
    assert capsys.readouterr().out == f"0 pictures searched, 0 failed, 2 there already: {output}\n"
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    assert main(["search", str(bad), *line[2:-3], str(tmp_path / "bad.jsonl"), *line[-2:]]) == 1
    assert "0 pictures searched, 1 failed" in capsys.readouterr().err


@pytest.mark.usefixtures("parser")
def test_the_examples_of_the_readme_run(shop: Shop, tmp_path: Path) -> None:
    """One after the other, each in a process of its own."""
    # The examples name no dataset, so no other one may be indexed. Uploads alone, of an earlier test, do no harm.
    for one in shop.api.get("/api/datasets").json()["datasets"]:
        if one["dataset"] != DATASET and one["collections"]:
            assert shop.api.delete(f"/api/datasets/{one['dataset']}").status_code == 200
    picture = shop.picture(queries(shop)[4])
    (tmp_path / "photo.jpg").write_bytes(picture)
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "1.jpg").write_bytes(picture)
    run = [text for not_run, text in EXAMPLES if not not_run]
    assert len(run) >= 6
    environment = {**os.environ, "VITRINE_URL": shop.system.url("search_api")}
    outputs = []
    for example in run:
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", example],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{example}\n{ended.stderr}"
        outputs.append(ended.stdout)
    assert any("1 searched, 0 failed" in text for text in outputs)
    assert any(text.startswith("filter_invalid") for text in outputs)
    assert httpx.get(f"{environment['VITRINE_URL']}/api/products/shop-1", trust_env=False).status_code == 404
