"""Batches of searches with the Python client: the files they write, how they go on, and what stops them."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from vitrine_client import PictureUnusable, Query, Vitrine, api_errors, queries_in
from vitrine_client.batches import COLUMNS, BatchProgress


class Searches:
    """A search API in the process. It finds two products for each picture, none for `EMPTY`, and refuses `BAD`."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.refusal: tuple[int, str] | None = None
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def client(self) -> Vitrine:
        return Vitrine("http://shop", transport=httpx.MockTransport(self._answer), max_retries=0)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self._of(request.read())
        finally:
            with self._lock:
                self.at_once -= 1

    def _of(self, body: bytes) -> httpx.Response:
        self.asked.append(body)
        status, code = self.refusal or ((400, "image_corrupt") if b"BAD" in body else (200, ""))
        if code:
            return httpx.Response(status, json={"code": code, "detail": f"it is {code}"})
        results = [
            {"id": number, "score": 0.5, "dataset": "d", "image": f"/i/{number}", "name": 'Top, "pink"\nand red'}
            for number in ((1, 2) if b"EMPTY" not in body else ())
        ]
        took = {"decode": 0, "embed": 0, "search": 0, "total": 0}
        answer = {
            "success": True, "ranking": [one["id"] for one in results], "results": results, "dataset": "d",
            "model": "m", "release": "r", "plan": "exact", "tookMs": took,
        }  # fmt: skip
        return httpx.Response(200, json=answer)


@pytest.fixture
def searches() -> Searches:
    return Searches()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "queries"
    (root / "women").mkdir(parents=True)
    (root / ".cache").mkdir()
    for name, content in {
        "1.jpg": "one", "2.PNG": "BAD", "women/3.webp": "three", "women/4.jpeg": "EMPTY", ".cache/5.jpg": "hidden",
        "notes.txt": "no picture",
    }.items():  # fmt: skip
        (root / name).write_text(content)
    return root


def lines(path: Path) -> dict[str, dict[str, Any]]:
    return {line["query"]: line for line in map(json.loads, path.read_text().splitlines())}


def rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def test_a_folder_is_its_pictures_in_order(folder: Path, tmp_path: Path) -> None:
    assert [query.name for query in queries_in(folder)] == ["1.jpg", "2.PNG", "women/3.webp", "women/4.jpeg"]
    with pytest.raises(PictureUnusable, match="is no folder"):
        queries_in(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureUnusable, match=r"has no picture \(looked for .*\.jpg"):
        queries_in(tmp_path / "empty")


def test_json_lines_have_a_line_for_each_picture_and_the_error_of_a_bad_one(
    searches: Searches, folder: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []

    def show(progress: BatchProgress) -> None:
        seen.append((progress.done, progress.failed))

    output = tmp_path / "out" / "results.jsonl"
    with searches.client() as vitrine:
        counts = vitrine.search_to_file(folder, output, on_progress=show, concurrency=2, top_k=2)
    assert (counts.total, counts.done, counts.failed, counts.skipped) == (4, 3, 1, 0)
    assert max(seen) == (3, 1)
    assert len(seen) == 4
    found = lines(output)
    assert found["2.PNG"] == {"query": "2.PNG", "error": {"code": "image_corrupt", "detail": "it is image_corrupt"}}
    assert [one["id"] for one in found["1.jpg"]["results"]] == [1, 2]
    assert found["women/4.jpeg"]["results"] == []
    assert searches.most_at_once <= 2


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_batch_goes_on_where_it_ended(searches: Searches, folder: Path, tmp_path: Path, suffix: str) -> None:
    """However much of the file was written, it is completed to the same set of results."""
    whole = tmp_path / f"whole{suffix}"
    with searches.client() as vitrine:
        vitrine.search_to_file(folder, whole, concurrency=1)
        data = whole.read_bytes()
        output = tmp_path / f"cut{suffix}"
        for length in (*range(0, len(data), 7), len(data)):
            output.write_bytes(data[:length])
            asked = len(searches.asked)
            counts = vitrine.search_to_file(folder, output, concurrency=1)
            assert counts.done + counts.failed + counts.skipped == 4
            assert len(searches.asked) - asked == 4 - counts.skipped
            assert output.read_bytes() == data, f"cut at {length}"
        assert counts.skipped == 4


def test_csv_has_a_row_for_each_result(searches: Searches, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.csv"
    with searches.client() as vitrine:
        vitrine.search_to_file(folder, output, concurrency=1)
    found = list(rows(output))
    assert tuple(found[0]) == COLUMNS
    assert [(row["query"], row["rank"], row["id"]) for row in found] == [
        ("1.jpg", "1", "1"), ("1.jpg", "2", "2"), ("2.PNG", "", ""), ("women/3.webp", "1", "1"),
        ("women/3.webp", "2", "2"), ("women/4.jpeg", "", ""),
    ]  # fmt: skip
    assert found[2]["error"] == "it is image_corrupt (image_corrupt)"
    assert found[0]["name"] == 'Top, "pink"\nand red'
    assert json.loads(found[0]["attributes"]) == {"name": 'Top, "pink"\nand red'}


def test_an_error_that_every_picture_would_meet_stops_the_batch(
    searches: Searches, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results.jsonl"
    searches.refusal = (403, "key_refused")
    with searches.client() as vitrine:
        with pytest.raises(api_errors.KeyRefused):
            vitrine.search_to_file(folder, output, concurrency=1)
        assert output.read_bytes() == b""
        assert len(searches.asked) <= 2
        searches.refusal = None
        assert vitrine.search_to_file(folder, output).done == 3


def test_any_iterable_of_paths_and_queries_is_a_batch(searches: Searches, folder: Path, tmp_path: Path) -> None:
    given: list[Path | Query] = [folder / "1.jpg", Query("mine", b"PICTURE"), Query("mine", b"again"), tmp_path / "no"]
    with searches.client() as vitrine:
        counts = vitrine.search_to_file((one for one in given), tmp_path / "results.jsonl")
    assert (counts.total, counts.done, counts.failed, counts.skipped) == (None, 2, 1, 1)
    found = lines(tmp_path / "results.jsonl")
    assert set(found) == {str(folder / "1.jpg"), "mine", str(tmp_path / "no")}
    assert found[str(tmp_path / "no")]["error"]["code"] == "picture_unusable"


def test_a_file_of_something_else_is_left_alone(searches: Searches, folder: Path, tmp_path: Path) -> None:
    for name, content in (("styles.csv", "id,name\r\n1,Top\r\n"), ("a.jsonl", '{"id": 1}\n'), ("b.txt", "")):
        (tmp_path / name).write_bytes(content.encode())
        with searches.client() as vitrine, pytest.raises(ValueError, match=r"line 1|columns|suffixes"):
            vitrine.search_to_file(folder, tmp_path / name)
        assert (tmp_path / name).read_bytes() == content.encode()
    assert searches.asked == []
