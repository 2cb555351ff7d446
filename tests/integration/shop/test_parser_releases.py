"""A parser of garments in the release store: listed as what it is, and refused where vectors are needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from harness.parsers import publish_unread_parser
from harness.shop import DATASET, Shop
from vitrine_client import Vitrine
from vitrine_local.cli import main

MODEL = "another-parser"


@pytest.fixture(scope="module")
def parser(shop: Shop) -> Iterator[str]:
    releases = shop.system.releases
    release = publish_unread_parser(releases, MODEL)
    yield release
    shutil.rmtree(releases / release)


def problem(answer: Any) -> tuple[int, str]:
    told = answer.json()
    assert "parser of garments" in told["detail"], told
    return answer.status_code, told["code"]


def test_a_parser_is_listed_with_its_kind_and_without_vectors(shop: Shop, parser: str) -> None:
    listed = {one["id"]: one for one in shop.get("/api/releases")["releases"]}
    assert (listed[parser]["kind"], listed[parser]["dim"], listed[parser]["collections"]) == ("parser", None, [])
    assert listed[shop.release]["kind"] == "embedding"
    assert MODEL not in shop.get("/api/models")["models"]
    with Vitrine(shop.system.url("search_api")) as client:
        assert {one.id: one.kind for one in client.releases.list()}[parser] == "parser"


def test_a_parser_cannot_serve_a_dataset(shop: Shop, parser: str) -> None:
    for parameters in ({}, {"dataset": DATASET}):
        answer = shop.api.post(f"/api/releases/{parser}/activate", params=parameters, json={})
        assert problem(answer) == (422, "release_of_other_kind")


def test_a_job_that_needs_vectors_is_not_started_with_a_parser(shop: Shop, parser: str) -> None:
    catalog = {"dataset": DATASET, "reader": "synthetic", "root": str(shop.root)}
    for kind, body in (
        ("index", {**catalog, "model": MODEL}),
        ("index", {**catalog, "model": MODEL, "release_id": parser}),
        ("evaluate", {**catalog, "plan": {"releases": [parser]}}),
        ("tune", {**catalog, "release_id": parser, "name": "tuned"}),
    ):
        assert problem(shop.api.post(f"/api/jobs/{kind}", json=body)) == (422, "release_of_other_kind")


def test_the_pages_show_a_parser_and_offer_it_for_no_job(shop: Shop, parser: str) -> None:
    listed = shop.api.get("/models")
    assert listed.status_code == 200
    assert "Finds garments in photographs" in listed.text
    page = shop.api.get(f"/models/{parser}")
    assert page.status_code == 200
    assert "mobilenetv2_100" in page.text
    assert "/jobs/new/index?release_id=" not in page.text
    for kind in ("index", "evaluate", "tune"):
        form = shop.api.get(f"/jobs/new/{kind}").text
        assert shop.release in form
        assert parser not in form


def test_the_command_line_lists_a_parser_and_shows_it(
    shop: Shop, parser: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = shop.system.url("search_api")
    assert main(["release", "list", "--url", url]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith(parser)]
    assert "parser" in line.removeprefix(parser).split()
    assert main(["release", "show", parser, "--url", url]) == 0
    assert "finds garments" in capsys.readouterr().out
