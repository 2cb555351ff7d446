"""`vitrine catalog inspect` on the DeepFashion benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.deepfashion import category_benchmark, inshop_benchmark, with_pictures
from vitrine_local.cli import main

TEE, DRESS, GONE = "img/Striped_Tee/img_1.jpg", "img/Maxi_Dress/img_1.jpg", "img/Gone/img_1.jpg"
FRONT = "img/WOMEN/Dresses/id_00000002/02_1_front.jpg"


def test_inspect_counts_categories_and_lists_issues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    category_benchmark(tmp_path, {TEE: "1", DRESS: "9", GONE: "1"}, {TEE: "train", DRESS: "val", GONE: "test"})
    with_pictures(tmp_path, f"Img/{TEE}", f"Img/{DRESS}")
    line = ["catalog", "inspect", str(tmp_path), "--dataset", "deepfashion-category"]
    assert main([*line, "--pictures"]) == 0
    text = capsys.readouterr().out
    assert "deepfashion-category (deepfashion-category): 2 products in 3 rows" in text
    assert "unknown_category: 1 (no article type is known for this category; it is left out; kept)" in text
    assert "missing_picture: 1 (there is no such picture; left out)" in text
    assert "2 pictures: JPEG 2; usual size 24x32" in text
    assert main([*line, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["attributes"]["articleType"] == {"Tshirts": 1}
    assert answer["attributes"]["partition"] == {"train": 1, "val": 1}


def test_the_reader_may_differ_from_the_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inshop_benchmark(with_pictures(tmp_path, FRONT), f"{FRONT} id_00000002 query")
    line = ["catalog", "inspect", str(tmp_path), "--dataset", "my-shop", "--reader", "deepfashion-inshop"]
    assert main(line) == 0
    assert "my-shop (deepfashion-inshop): 1 product in 1 row" in capsys.readouterr().out


def test_a_folder_without_the_lists_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", "inspect", str(tmp_path), "--dataset", "deepfashion-category"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "it should be Anno_coarse/list_category_cloth.txt" in err
