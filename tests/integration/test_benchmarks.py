"""The benchmarks run and print their tables. The speeds themselves are not tested."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration import unrelated_pictures
from benchmarks.scale_catalogue import Catalogue
from harness.drawn_street import drawn_street
from harness.releases import TINY_MODEL, build_tiny_release
from harness.tiny_parser import build_tiny_parser, drawn_person
from harness.training import drawn_catalog
from harness.waiting import HUNG_AFTER_S
from vitrine.products import AttributeKind
from vitrine.releases import Calibration

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--models", TINY_MODEL, "--weights", f"{TINY_MODEL}=seed:0,input_px=64", "--count", "24", "--seconds", "0.5",
    "--clients", "2", "--batch", "8", "--batches", "4", "--device", "cpu", "--litserve", "first",
]  # fmt: skip

Rows = list[dict[str, str]]


def run_benchmark(name: str, *options: object, folder: Path) -> str:
    """Run a benchmark in `folder`, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *map(str, options)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=HUNG_AFTER_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_embedder_benchmark_prints_rates_client_cpu_and_ratios(tmp_path: Path) -> None:
    file = tmp_path / "tables.md"
    printed = run_benchmark("embedder", *SMALL, "--output", file, folder=tmp_path)
    assert file.read_text(encoding="utf-8") == printed
    assert "random weights" in printed
    baselines, cells, ratios = tables_of(printed)

    assert [row["without HTTP"] for row in baselines] == ["bare forward", "offline loop"]
    assert all(float(row["mean"]) > 0 for row in baselines)

    calls = [(row["server"], row["call"], row["clients"]) for row in cells]
    kinds = [("embedder", "single"), ("embedder", "batch of 8"), ("LitServe", "single")]
    assert calls == [(*kind, "2") for kind in kinds]
    for row in cells:
        assert float(row["pictures/s"]) > 0
        assert float(row["p50 ms"]) > 0
        assert float(row["client CPU s"]) > 0
        assert row["failed"] == "0"

    goals = {re.sub(r" \(.*?\)", "", row["ratio"]): row["goal"] for row in ratios}
    assert goals["HTTP batch ÷ offline loop"] == "≥ 0.90"
    assert goals["HTTP batch ÷ bare forward"] == "-"
    assert goals["embedder's best ÷ LitServe's best"] == "≥ 1.20"


@pytest.mark.slow
def test_training_benchmark_prints_the_rates_of_the_loop_and_of_the_bare_pass(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=60)
    recipe = ROOT / "recipes" / "drawn.toml"
    printed = run_benchmark(
        "training", "--root", catalog.root, "--rounds", 1, "--seconds", 0.5, recipe, folder=tmp_path
    )
    (row,) = tables_of(printed)[0]
    assert row["recipe"] == "drawn"
    assert all(float(row[name]) > 0 for name in ("loop, pictures/s", "bare forward + backward", "loop ÷ bare"))


@pytest.mark.slow
def test_retrieval_benchmark_measures_a_release_with_every_projection(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=120)
    release_id = build_tiny_release(tmp_path / "releases")
    printed = run_benchmark(
        "retrieval", "--root", catalog.root, "--dataset", "synthetic", "--store", f"file:{tmp_path / 'releases'}",
        "--relevance", "subCategory", "--photographs", catalog.root, f"tiny={release_id}", folder=tmp_path,
    )  # fmt: skip
    rows = tables_of(printed)[0]
    assert [row["projection"] for row in rows] == ["not whitened", "whitened", "the feature itself"]
    assert {row["release"] for row in rows} == {"tiny"}
    for row in rows:
        # The photographs are the catalogue's own pictures, so each has its own picture in the gallery.
        assert float(row["P@15, photographs"]) > float(row["P@15"]) > 0
        assert 0 < float(row["mAP, unseen"]) <= 1


@pytest.mark.slow
def test_people_benchmark_measures_street_garments_in_every_way_and_gallery(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=90)
    street = drawn_street(tmp_path / "people", count=10)
    (tmp_path / "sharp" / "images").mkdir(parents=True)
    for product in catalog.products[:7]:
        picture = (catalog.root / product.picture).read_bytes()
        (tmp_path / "sharp" / "images" / f"{product.id}.jpg").write_bytes(picture)
    release_id = build_tiny_release(tmp_path / "releases")
    printed = run_benchmark(
        "people", "--root", catalog.root, "--dataset", "synthetic", "--store", f"file:{tmp_path / 'releases'}",
        "--street", street.root, "--parser", build_tiny_parser(tmp_path / "releases"), "--sharp", tmp_path / "sharp",
        f"tiny={release_id}", folder=tmp_path,
    )  # fmt: skip
    assert printed.startswith(f"8 street garments, {len(catalog.products)} products; P@15")
    rows = tables_of(printed)[0]
    ways = ["true outline", "box", "as the parser finds it"]
    assert [(row["gallery"], row["shown"]) for row in rows] == [
        (gallery, way) for gallery in ("as it is", "7 sharp") for way in ways
    ]
    for row in rows[:2]:
        assert 0 < float(row["of all"]) < float(row["of its kind"]) <= 1
    # The same pictures as "sharp" ones change nothing.
    assert [list(row.values())[3:] for row in rows[:3]] == [list(row.values())[3:] for row in rows[3:]]


@pytest.mark.slow
def test_calibration_benchmark_prints_the_error_and_what_is_rejected(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=120)
    sure = Calibration(attribute="subCategory", scores=(0.0, 1.0), probabilities=(0.9, 0.9), pairs=200)
    unsure = Calibration(attribute="subCategory", scores=(0.0, 1.0), probabilities=(0.1, 0.1), pairs=200)
    ids = [
        build_tiny_release(tmp_path / "releases", name=name, calibration=calibration)
        for name, calibration in (("sure", sure), ("unsure", unsure), ("silent", None))
    ]
    printed = run_benchmark(
        "calibration", "--root", catalog.root, "--dataset", "synthetic", "--store", f"file:{tmp_path / 'releases'}",
        "--photographs", catalog.root, "--out", tmp_path / "drawn", *ids, folder=tmp_path,
    )  # fmt: skip
    figures = [list(row.values())[1:] for row in tables_of(printed)[0]]
    # The photographs are the catalogue itself.
    assert [row[1:] for row in figures] == [["0.0%"] * 3, ["100.0%"] * 3, ["-"] * 3]
    document = json.loads((tmp_path / "drawn" / ids[0] / "reliability.json").read_text())
    error = float(figures[0][0])
    assert error == pytest.approx(document["expected_calibration_error"], abs=0.00051), "both are rounded"
    assert (tmp_path / "drawn" / ids[0] / "reliability.png").stat().st_size > 5_000


@pytest.mark.slow
def test_regions_benchmark_prints_each_stage_and_their_sum(tmp_path: Path) -> None:
    parser_id = build_tiny_parser(tmp_path / "releases")
    (tmp_path / "photographs").mkdir()
    for number, worn in enumerate((("dress",), ("upper", "trousers"))):
        drawn_person(*worn).save(tmp_path / "photographs" / f"{number}.jpg")
    printed = run_benchmark(
        "regions", "--store", f"file:{tmp_path / 'releases'}", "--pictures", tmp_path / "photographs",
        "--size", "240x320", folder=tmp_path,
    )  # fmt: skip
    assert parser_id in printed
    assert "1.5 garments each" in printed
    (rows,) = tables_of(printed)
    assert [row["stage"] for row in rows] == [
        "decode", "fit", "network", "masks", "**regions**", "decode to cut out", "cut out one", "blur faces",
    ]  # fmt: skip
    assert all(float(row["ms, median"]) > 0 for row in rows)


def test_pictures_without_a_garment_differ_and_are_the_same_in_every_run() -> None:
    pictures = unrelated_pictures(40)
    assert len({picture.tobytes() for picture in pictures}) == 40
    assert [picture.tobytes() for picture in unrelated_pictures(40)] == [picture.tobytes() for picture in pictures]


def test_scale_benchmark_prints_rates_recall_and_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    vectors = random.normal(size=(40, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kinds = dict.fromkeys(("gender", "masterCategory", "articleType"), AttributeKind.KEYWORD)
    payloads = [
        {
            "product_id": str(number),
            "gender": ("Men", "Women")[number % 2],
            "masterCategory": "Apparel",
            "articleType": f"type {number % 10}",
        }
        for number in range(40)
    ]
    Catalogue(vectors, payloads, kinds).save(tmp_path / "catalogue.npz")
    options = (
        "--points",
        1_000,
        "--profile",
        "memory",
        "--catalogue",
        "catalogue.npz",
        "--queries",
        3,
        "--least",
        0.99,
    )
    printed = run_benchmark("scale", *options, folder=tmp_path)
    rates, searches, memory = tables_of(printed)
    assert int(rates[0]["products/s"].replace(",", "")) > 0
    found = {row["filter"]: (row["products"], float(row["recall@10"])) for row in searches}
    assert found == {
        "none": ("1,000", 1.0),
        "Men": ("500", 1.0),
        "Women": ("500", 1.0),
        "Men, Apparel": ("500", 1.0),
        "Women, Apparel": ("500", 1.0),
        "type 0 or type 1": ("200", 1.0),
    }
    assert [row["memory"] for row in memory] == ["resident", "of it, not mapped files"]


def tables_of(text: str) -> list[Rows]:
    """The rows of each Markdown table in a text, as dictionaries by column name."""
    tables: list[Rows] = []
    heads: list[str] | None = None
    for line in text.splitlines():
        if not line.startswith("|"):
            heads = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if heads is None:
            heads = cells
            tables.append([])
        elif not set(line) <= set("|-:"):
            tables[-1].append(dict(zip(heads, cells, strict=True)))
    return tables


@pytest.mark.slow
def test_evaluation_benchmark_agrees_with_the_naive_implementation(tmp_path: Path) -> None:
    printed = run_benchmark("evaluation", "--queries", 20, "--naive-queries", 2, "--sizes", 3, folder=tmp_path)
    (rows,) = tables_of(printed)
    assert [row["what"] for row in rows] == [
        "ours, 128 components", "ours, all 3 sizes", "naive, 128 components",
    ]  # fmt: skip
    assert all(float(row["seconds"]) > 0 for row in rows)
    difference = re.search(r"largest difference of a query's values: (\S+)", printed)
    assert difference is not None
    assert float(difference[1]) < 1e-9
