"""The benchmarks run and print what they promise. How fast anything is, is not looked at here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.calibration_parts.nonsense import nonsense
from harness.releases import TINY_MODEL, build_tiny_release
from harness.training import drawn_catalog
from harness.waiting import HUNG_AFTER_S
from vitrine.releases import Calibration

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
EMBEDDER_BENCHMARK = BENCHMARKS / "embedder.py"
SMALL = [
    "--models", TINY_MODEL, "--weights", f"{TINY_MODEL}=seed:0,input_px=64", "--count", "24", "--seconds", "0.5",
    "--clients", "2", "--batch", "8", "--batches", "4", "--device", "cpu", "--litserve", "first",
]  # fmt: skip

Rows = list[dict[str, str]]


@pytest.mark.slow
def test_embedder_benchmark_tells_rates_client_cpu_and_ratios(tmp_path: Path) -> None:
    file = tmp_path / "tables.md"
    command = [sys.executable, str(EMBEDDER_BENCHMARK), *SMALL, "--output", str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HUNG_AFTER_S, check=False)
    assert done.returncode == 0, done.stderr
    assert file.read_text(encoding="utf-8") == done.stdout
    assert "random weights" in done.stdout
    yardsticks, cells, ratios = tables_of(done.stdout)

    assert [row["without HTTP"] for row in yardsticks] == ["bare forward", "offline loop"]
    assert all(float(row["mean"]) > 0 for row in yardsticks)

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
def test_training_benchmark_tells_the_loops_rate_beside_the_bare_one(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=60)
    recipe = BENCHMARKS.parent / "recipes" / "drawn.toml"
    command = [sys.executable, str(BENCHMARKS / "training.py"), "--root", str(catalog.root), "--rounds", "1"]
    done = subprocess.run(
        [*command, "--seconds", "0.5", str(recipe)], cwd=tmp_path, capture_output=True, text=True, timeout=HUNG_AFTER_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = tables_of(done.stdout)[0]
    assert row["recipe"] == "drawn"
    assert all(float(row[name]) > 0 for name in ("loop, pictures/s", "bare forward + backward", "loop ÷ bare"))


@pytest.mark.slow
def test_retrieval_benchmark_measures_a_release_in_every_way_of_projecting(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=120)
    release_id = build_tiny_release(tmp_path / "releases")
    command = [
        sys.executable, str(BENCHMARKS / "retrieval.py"), "--root", str(catalog.root), "--dataset", "synthetic",
        "--store", f"file:{tmp_path / 'releases'}", "--relevance", "subCategory", "--photographs", str(catalog.root),
        f"tiny={release_id}",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HUNG_AFTER_S, check=False)
    assert done.returncode == 0, done.stderr
    rows = tables_of(done.stdout)[0]
    assert [row["projection"] for row in rows] == ["not whitened", "whitened", "the feature itself"]
    assert {row["release"] for row in rows} == {"tiny"}
    for row in rows:
        # The catalogue itself as photographs: each has its own picture in the gallery.
        assert float(row["P@15, photographs"]) > float(row["P@15"]) > 0
        assert 0 < float(row["mAP, unseen"]) <= 1


@pytest.mark.slow
def test_calibration_benchmark_tells_what_is_answered_with_nothing(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=120)
    sure = Calibration(attribute="subCategory", scores=(0.0, 1.0), probabilities=(0.9, 0.9), pairs=200)
    unsure = Calibration(attribute="subCategory", scores=(0.0, 1.0), probabilities=(0.1, 0.1), pairs=200)
    ids = [
        build_tiny_release(tmp_path / "releases", name=name, calibration=calibration)
        for name, calibration in (("sure", sure), ("unsure", unsure), ("silent", None))
    ]
    command = [
        sys.executable, "-m", "benchmarks.calibration", "--root", str(catalog.root), "--dataset", "synthetic",
        "--store", f"file:{tmp_path / 'releases'}", "--photographs", str(catalog.root),
        "--out", str(tmp_path / "drawn"), *ids,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}, capture_output=True, text=True,
        timeout=HUNG_AFTER_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [list(row.values())[1:] for row in tables_of(done.stdout)[0]]
    # The catalogue itself as photographs.
    assert [row[1:] for row in told] == [["0.0%"] * 3, ["100.0%"] * 3, ["-"] * 3]
    document = json.loads((tmp_path / "drawn" / ids[0] / "reliability.json").read_text())
    assert float(told[0][0]) == pytest.approx(document["expected_calibration_error"], abs=0.00051), "both are rounded"
    assert (tmp_path / "drawn" / ids[0] / "reliability.png").stat().st_size > 5_000


def test_pictures_that_show_no_garment_differ_and_are_the_same_every_time() -> None:
    pictures = nonsense(40)
    assert len({picture.tobytes() for picture in pictures}) == 40
    assert [picture.tobytes() for picture in nonsense(40)] == [picture.tobytes() for picture in pictures]


def tables_of(text: str) -> list[Rows]:
    """Each markdown table of a text as its rows, by the names of its head."""
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
def test_evaluation_benchmark_tells_ours_beside_the_plain_program_and_that_they_agree(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "evaluation.py"), "--queries", "20", "--naive-queries", "2"]
    done = subprocess.run(
        [*command, "--sizes", "3"], cwd=tmp_path, capture_output=True, text=True, timeout=HUNG_AFTER_S, check=False
    )
    assert done.returncode == 0, done.stderr
    (rows,) = tables_of(done.stdout)
    assert [row["what"] for row in rows] == [
        "ours, 128 components", "ours, all 3 sizes", "the plain program, 128 components",
    ]  # fmt: skip
    assert all(float(row["seconds"]) > 0 for row in rows)
    difference = re.search(r"largest difference of a query's values: (\S+)", done.stdout)
    assert difference is not None
    assert float(difference[1]) < 1e-9
