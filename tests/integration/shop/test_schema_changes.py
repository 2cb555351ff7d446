"""One shop on several days: its columns change their type, come and go, its pictures disappear. Every filter is right
after each indexing, searches are answered all the while, and nothing goes unsaid.
"""

from __future__ import annotations

import contextlib
import csv
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.releases import picture
from harness.shop import Shop
from harness.system import MODEL
from vitrine.jobs import JobRecord, JobState
from vitrine.qdrant.naming import collection_name, parse_collection_name
from vitrine.uploads.store import UploadStore

MONDAY = [["0", "36", "20", "Slim"], ["1", "37", "21", "Loose"], ["2", "38", "22", "Slim"], ["3", "36", "23", "Loose"]]
TUESDAY = [*MONDAY, ["4", "37.5", "29.95", "Slim"]]
WEDNESDAY = [*MONDAY, ["4", "One Size", "1,299.00", "Slim"]]
HEADER = ["id", "size", "price", "fit"]


def write(root: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    """A catalogue with a picture for each row that has none yet."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    with (root / "products.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    for row in rows:
        path = root / "images" / f"{row[0]}.jpg"
        if not path.exists():
            path.write_bytes(picture(hash(row[0]) % 200 if not row[0].isdigit() else int(row[0]) * 7 % 250))
    return root


def index(shop: Shop, dataset: str, root: Path, **body: Any) -> JobRecord:
    job = shop.start_index(dataset=dataset, reader="folder", root=str(root), **body)
    return shop.system.finished(job["id"])


def indexed(shop: Shop, dataset: str, root: Path, **body: Any) -> dict[str, Any]:
    record = index(shop, dataset, root, **body)
    assert record.state is JobState.SUCCEEDED, f"{record.error}\n{shop.system.tails()}"
    assert record.result is not None
    return record.result


def ids(shop: Shop, dataset: str, **filters: str | list[str]) -> list[str]:
    """The ids that a search with these filters finds, in order."""
    form = {"dataset": dataset, "topK": "200", **filters}
    answer = shop.api.post("/api/search", files={"image": picture(3)}, data=form)
    assert answer.status_code == 200, answer.text
    return sorted(str(one) for one in answer.json()["ranking"])


def refusal(shop: Shop, dataset: str, **filters: str) -> str:
    answer = shop.api.post("/api/search", files={"image": picture(3)}, data={"dataset": dataset, **filters})
    assert answer.status_code == 400, answer.text
    return str(answer.json()["detail"])


def drop(shop: Shop, dataset: str) -> None:
    for one in shop.system.store.get_collections().collections:
        if (parse_collection_name(one.name) or ("", ""))[0] == dataset:
            shop.system.store.delete_collection(one.name)


@pytest.fixture
def dataset(shop: Shop, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.removeprefix("test_")[:60]
    yield name
    drop(shop, name)


@contextlib.contextmanager
def searching(shop: Shop, dataset: str) -> Iterator[None]:
    """Search without a pause; every search must be answered, and find products."""
    ended = threading.Event()
    wrong: list[str] = []
    count = 0

    def search() -> None:
        nonlocal count
        while count == 0 or not ended.is_set():
            answer = shop.api.post(
                "/api/search", files={"image": picture(3)}, data={"dataset": dataset, "fit": "Slim", "topK": "50"}
            )
            count += 1
            if answer.status_code != 200 or len(answer.json()["ranking"]) < 2:
                wrong.append(answer.text)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert wrong == []
    assert count > 0


def test_every_filter_is_right_on_each_day_while_columns_change_their_type(shop: Shop, dataset: str) -> None:
    root = shop.system.catalogs / dataset
    indexed(shop, dataset, write(root, MONDAY))
    first = shop.system.serving(dataset=dataset)
    assert first == collection_name(dataset, shop.release)
    assert ids(shop, dataset, size="36") == ["0", "3"]
    assert ids(shop, dataset, priceMin="21", priceMax="22") == ["1", "2"]

    with searching(shop, dataset):
        result = indexed(shop, dataset, write(root, TUESDAY))
    assert shop.system.serving(dataset=dataset) == collection_name(dataset, shop.release, 2)
    assert result["previous"] == first
    assert (result["added"], result["changed"], result["removed"]) == (1, 0, 0)
    assert ids(shop, dataset, size="36") == ["0", "3"]
    assert ids(shop, dataset, size="37.5") == ["4"]
    assert ids(shop, dataset, size=["37.5", "38"]) == ["2", "4"]
    assert ids(shop, dataset, **{"!size": ["37.5", "38"]}) == ["0", "1", "3"]
    assert ids(shop, dataset, sizeMin="37", sizeMax="37.5") == ["1", "4"]
    assert ids(shop, dataset, priceMin="23") == ["3", "4"]

    with searching(shop, dataset):
        result = indexed(shop, dataset, write(root, WEDNESDAY))
    assert (result["added"], result["changed"], result["removed"]) == (0, 1, 0)
    assert ids(shop, dataset, size="36") == ["0", "3"]
    assert ids(shop, dataset, size="One Size") == ["4"]
    assert ids(shop, dataset, price="1,299.00") == ids(shop, dataset, price="1299") == ["4"]
    assert ids(shop, dataset, price="20") == ["0"]
    assert ids(shop, dataset, priceMin="22") == ["2", "3", "4"]
    assert "unknown filter 'sizeMin'" in refusal(shop, dataset, sizeMin="36")

    result = indexed(shop, dataset, write(root, MONDAY), allowRemoval=True)
    assert (result["removed"], result["removed_ids"]) == (1, ["4"])
    assert ids(shop, dataset, priceMin="21", priceMax="22") == ["1", "2"]
    names = [one.name for one in shop.system.store.get_collections().collections if one.name.startswith(f"{dataset}--")]
    assert len(names) == 2, f"what serves and the one before, not {names}"


def test_a_schema_that_changes_embeds_no_picture_again(shop: Shop, dataset: str) -> None:
    root = shop.system.catalogs / dataset
    indexed(shop, dataset, write(root, MONDAY))
    job = shop.start_index(dataset=dataset, reader="folder", root=str(write(root, TUESDAY)), release_id=shop.release)
    record = shop.system.succeeded(job["id"])
    assert (record.progress.done, record.progress.skipped) == (1, len(MONDAY))


def test_columns_that_come_and_go_are_filters_at_once_or_none(shop: Shop, dataset: str) -> None:
    root = shop.system.catalogs / dataset
    indexed(shop, dataset, write(root, MONDAY))
    assert "unknown filter 'fabric'" in refusal(shop, dataset, fabric="wool")
    wider = [[*row, "wool" if row[0] == "2" else "silk"] for row in MONDAY]
    indexed(shop, dataset, write(root, wider, [*HEADER, "fabric"]))
    assert ids(shop, dataset, fabric="wool") == ["2"]
    narrower = [[row[0], row[1]] for row in MONDAY]
    result = indexed(shop, dataset, write(root, narrower, HEADER[:2]))
    assert result["changed"] == len(MONDAY)
    assert "unknown filter 'fabric'" in refusal(shop, dataset, fabric="wool")
    assert ids(shop, dataset, size="36") == ["0", "3"]


def test_an_indexing_of_another_folder_goes_beside_what_serves(shop: Shop, dataset: str) -> None:
    indexed(shop, dataset, write(shop.system.catalogs / dataset, MONDAY))
    elsewhere = write(shop.system.catalogs / f"{dataset}-moved", MONDAY)
    indexed(shop, dataset, elsewhere)
    assert shop.system.serving(dataset=dataset) == collection_name(dataset, shop.release, 2)
    assert shop.api.get("/api/images/1", params={"dataset": dataset}).status_code == 200


def test_what_a_limit_does_not_mention_stays_when_the_types_change(shop: Shop, dataset: str) -> None:
    root = shop.system.catalogs / dataset
    indexed(shop, dataset, write(root, MONDAY))
    halves = [["0", "36.5", "20", "Slim"], *MONDAY[1:]]
    result = indexed(shop, dataset, write(root, halves), limit=1)
    assert (result["changed"], result["removed"]) == (1, 0)
    assert ids(shop, dataset) == ["0", "1", "2", "3"]
    assert ids(shop, dataset, sizeMin="36.5") == ["0", "1", "2"]
    assert ids(shop, dataset, size="38") == ["2"]


def changes(shop: Shop, job_id: str, **parameters: str) -> dict[str, str]:
    """What an index job did to products, by their ids."""
    answer = shop.api.get(f"/api/jobs/{job_id}/changes", params=parameters)
    assert answer.status_code == 200, answer.text
    return {one["id"]: one["change"] for one in map(json.loads, answer.text.splitlines())}


def test_an_indexing_stops_before_it_removes_much_and_says_what_would_go(shop: Shop, dataset: str) -> None:
    rows = [[str(number), "36", "20", "Slim"] for number in range(60)]
    root = write(shop.system.catalogs / dataset, rows)
    indexed(shop, dataset, root)
    for number in range(55):
        (root / "images" / f"{number}.jpg").unlink()
    record = index(shop, dataset, root)
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == "removal_refused"
    assert "55 of the 60 products" in record.error.detail
    assert "--allow-removal" in record.error.detail
    assert record.result == {"would_remove": 55, "would_remove_ids": sorted(str(number) for number in range(55))}
    gone = sorted(str(number) for number in range(55))
    assert changes(shop, record.id) == dict.fromkeys(gone, "removed")
    assert len(ids(shop, dataset)) == 60
    (root / "images" / "57.jpg").write_bytes(picture(99))
    job = index(shop, dataset, root, allowRemoval=True)
    result = job.result or {}
    assert (result["removed"], result["added"], result["changed"]) == (55, 0, 1)
    assert (result["removed_ids"], result["changed_ids"]) == (gone, ["57"])
    assert changes(shop, job.id) == {**dict.fromkeys(gone, "removed"), "57": "changed"}
    assert changes(shop, job.id, kind="changed") == {"57": "changed"}
    table = shop.api.get(f"/api/jobs/{job.id}/changes", params={"kind": "changed", "format": "csv"})
    assert (table.headers["content-type"], table.text) == ("text/csv; charset=utf-8", "id,change\n57,changed\n")
    assert ids(shop, dataset) == ["55", "56", "57", "58", "59"]


def test_pictures_that_turn_out_to_be_unusable_stop_it_too(shop: Shop, dataset: str) -> None:
    rows = [[str(number), "36", "20", "Slim"] for number in range(10)]
    root = write(shop.system.catalogs / dataset, rows)
    indexed(shop, dataset, root)
    for number in range(3):
        (root / "images" / f"{number}.jpg").write_bytes(b"no picture")
    record = index(shop, dataset, root)
    assert record.error is not None
    assert record.error.code == "removal_refused"
    assert record.result == {"would_remove": 3, "would_remove_ids": ["0", "1", "2"]}
    assert len(ids(shop, dataset)) == 10
    (root / "images" / "2.jpg").write_bytes(picture(14))
    result = indexed(shop, dataset, root)
    assert (result["removed"], result["removed_ids"]) == (2, ["0", "1"])


def test_renamed_columns_are_in_the_jobs_result(shop: Shop, dataset: str) -> None:
    rows = [[*row, "Yes"] for row in MONDAY]
    result = indexed(shop, dataset, write(shop.system.catalogs / dataset, rows, [*HEADER, "cutout"]))
    assert result["notices"] == ["the column cutout -> cutout_ ('cutout' is an option of a call)"]
    assert ids(shop, dataset, cutout_="Yes") == ["0", "1", "2", "3"]


def test_an_attribute_that_is_put_can_be_filtered_by_at_once_and_after_the_next_indexing(
    shop: Shop, dataset: str
) -> None:
    root = write(shop.system.catalogs / dataset, MONDAY)
    indexed(shop, dataset, root)
    answer = shop.api.put(
        "/api/products/mine",
        params={"dataset": dataset},
        files={"image": picture(90)},
        data={"size": "39", "weight": "250", "fabric": "wool", "flip": "Yes"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["notices"] == ["the attribute 'flip' is stored as 'flip_': 'flip' is an option of a call"]
    for _ in range(2):
        assert ids(shop, dataset, fabric="wool") == ["mine"]
        assert ids(shop, dataset, weightMin="200") == ["mine"]
        assert ids(shop, dataset, flip_="Yes") == ["mine"]
        assert ids(shop, dataset, size="39") == ["mine"]
        result = indexed(shop, dataset, root)
        assert result["removed"] == 0
    assert shop.system.serving(dataset=dataset) == collection_name(dataset, shop.release), "the fields are the same"
    wrong = shop.api.put(
        "/api/products/other", params={"dataset": dataset}, files={"image": picture(91)}, data={"weight": "heavy"}
    )
    assert wrong.status_code == 400
    assert "'weight' is a number in this dataset" in wrong.json()["detail"]
    UploadStore(Path(shop.system.env["VITRINE_UPLOADS_DIR"])).delete(dataset, "mine")


def test_an_upload_keeps_its_place_in_filters_when_a_type_changes(shop: Shop, dataset: str) -> None:
    root = write(shop.system.catalogs / dataset, MONDAY)
    indexed(shop, dataset, root)
    answer = shop.api.put(
        "/api/products/mine", params={"dataset": dataset}, files={"image": picture(90)}, data={"size": "37"}
    )
    assert answer.status_code == 200, answer.text
    indexed(shop, dataset, write(root, TUESDAY))
    assert ids(shop, dataset, size="37") == ["1", "mine"]
    indexed(shop, dataset, write(root, WEDNESDAY))
    assert ids(shop, dataset, size="37") == ["1", "mine"]
    UploadStore(Path(shop.system.env["VITRINE_UPLOADS_DIR"])).delete(dataset, "mine")


def test_the_generation_before_can_be_made_to_serve_again(shop: Shop, dataset: str) -> None:
    root = write(shop.system.catalogs / dataset, MONDAY)
    indexed(shop, dataset, root)
    indexed(shop, dataset, write(root, TUESDAY))
    first, second = (collection_name(dataset, shop.release, number) for number in (1, 2))
    back = shop.api.post(
        f"/api/releases/{shop.release}/activate", params={"dataset": dataset, "collection": first}, json={}
    )
    assert back.status_code == 200, back.text
    assert (back.json()["collection"], back.json()["previousCollection"]) == (first, second)
    assert ids(shop, dataset, size="36") == ["0", "3"]
    again = shop.api.post(f"/api/releases/{shop.release}/activate", params={"dataset": dataset}, json={})
    assert again.json()["collection"] == second
    assert shop.system.serving(dataset=dataset, model=MODEL) == second
