"""The garments in a query picture as the search page shows them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from search_api.pages import search_view as view
from search_api.pages.search_garments import dot_of, filters_of, first_of, garments_of
from search_api.pages.search_state import SearchState

UPLOAD = SearchState(upload="abc", filters=(("gender", "Women"),))


def found(
    number: int,
    title: str,
    *,
    left: float = 0.1,
    searchable: bool = True,
    probability: float = 0.934,
    **filters: list[str],
) -> dict[str, Any]:
    return {
        "number": number,
        "kind": title.lower(),
        "title": title,
        "probability": probability,
        "box": {"x": left, "y": 0.2, "width": 0.2, "height": 0.5},
        "outline": [[[left, 0.2], [left + 0.2, 0.2], [left + 0.2, 0.7], [left, 0.7]]],
        "share": 0.1,
        "searchable": searchable,
        "filters": filters,
    }


REGIONS: dict[str, Any] = {
    "width": 600,
    "height": 900,
    "garments": [
        found(1, "Skin", searchable=False),
        found(2, "Dress", subCategory=["Dress"]),
        found(3, "Shoes", left=0.6, subCategory=["Shoes", "Sandal"]),
    ],
}


def query(href: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(href).query)


def test_each_garment_that_can_be_searched_has_an_outline_a_dot_and_a_link() -> None:
    garments = garments_of(UPLOAD.having(region="2", cutout=True), REGIONS, "/")
    assert garments is not None
    assert (garments.width, garments.height) == (1000, 1500)
    dress, shoes = garments.all
    assert dress.name == "Dress, 93\u202f%"
    assert dress.path == "M100,300 300,300 300,1050 100,1050z"
    assert (dress.x, dress.y) == pytest.approx((0.2, 0.45), abs=0.02)
    assert dress.chosen
    assert not shoes.chosen
    assert garments.chosen is dress
    assert query(shoes.href) == {"upload": ["abc"], "region": ["3"], "cutout": ["true"], "gender": ["Women"]}
    assert "region" not in query(garments.whole_href)
    assert query(garments.look_href or "")["look"] == ["true"]
    assert first_of(REGIONS) == 2


def test_without_a_garment_nothing_is_shown_and_one_garment_is_no_look() -> None:
    assert garments_of(UPLOAD, {**REGIONS, "garments": REGIONS["garments"][:1]}, "/") is None
    assert first_of({**REGIONS, "garments": []}) is None
    alone = garments_of(UPLOAD, {**REGIONS, "garments": REGIONS["garments"][:2]}, "/")
    assert alone is not None
    assert alone.look_href is None


def test_garments_of_the_same_kind_have_different_names() -> None:
    two = {**REGIONS, "garments": [found(1, "Dress"), found(2, "Shoes"), found(3, "Dress")]}
    garments = garments_of(UPLOAD, two, "/")
    assert garments is not None
    assert [one.title for one in garments.all] == ["Dress", "Shoes", "Dress 2"]


UNSURE: dict[str, Any] = {
    **REGIONS,
    "garments": [
        found(1, "Top", probability=0.49),
        found(2, "Dress"),
        found(3, "Bag", left=0.6, probability=0.41),
        found(4, "Shoes", probability=0.5),
    ],
}


def shown(state: SearchState, regions: dict[str, Any]) -> tuple[list[str], int, dict[str, list[str]]]:
    """(the titles that are shown, how many are uncertain, the state that the control for them leads to)."""
    garments = garments_of(state, regions, "/")
    assert garments is not None
    return [one.title for one in garments.all], garments.uncertain, query(garments.uncertain_href or "")


def test_garments_that_the_parser_is_not_sure_of_are_shown_on_request() -> None:
    titles, uncertain, leads_to = shown(UPLOAD.having(region="2"), UNSURE)
    assert (titles, uncertain) == (["Dress", "Shoes"], 2)
    assert leads_to == {"upload": ["abc"], "region": ["2"], "uncertain": ["true"], "gender": ["Women"]}
    titles, uncertain, leads_to = shown(UPLOAD.having(region="2", uncertain=True), UNSURE)
    assert (titles, uncertain) == (["Top", "Dress", "Bag", "Shoes"], 2)
    assert "uncertain" not in leads_to
    assert first_of(UNSURE) == 2


def test_an_uncertain_garment_that_is_searched_with_is_shown() -> None:
    titles, _, leads_to = shown(UPLOAD.having(region="3"), UNSURE)
    assert titles == ["Dress", "Bag", "Shoes"]
    assert leads_to["uncertain"] == ["true"]


def test_uncertain_garments_are_shown_where_there_are_no_others() -> None:
    unsure = {**UNSURE, "garments": [one for one in UNSURE["garments"] if one["probability"] < 0.5]}
    assert shown(UPLOAD, unsure) == (["Top", "Bag"], 0, {})
    assert first_of(unsure) == 1
    garments = garments_of(UPLOAD, unsure, "/")
    assert garments is not None
    assert query(garments.look_href or "")["uncertain"] == ["true"], "the look needs them"


def test_the_filters_of_the_kind_are_a_chip_that_removes_them() -> None:
    state = UPLOAD.having(region="3")
    kind = filters_of(REGIONS, state)
    assert kind == (("subCategory", "Shoes"), ("subCategory", "Sandal"))
    chip, women = view.chips(state, "/", kind)
    assert chip.text == "Kind: Shoes, Sandal"
    assert query(chip.href)["kindFilters"] == ["false"]
    assert women.text == "Women"
    assert filters_of(REGIONS, SearchState.of([*state.pairs(), ("kindFilters", "false")])) == ()
    assert filters_of(REGIONS, state.filtering("subCategory", "Bags")) == (), (
        "a filter of the shopper's own replaces it"
    )
    assert filters_of(REGIONS, UPLOAD) == ()
    assert filters_of(REGIONS, UPLOAD.having(region="9")) == ()


def test_what_keeps_everything_out_can_be_the_filter_of_the_kind() -> None:
    answer = {"relax": [{"filter": name, "values": ["x"], "products": 3} for name in ("subCategory", "gender")]}
    of_kind, own = view.relaxations(UPLOAD.having(region="3"), answer, "/")
    assert query(of_kind.href)["kindFilters"] == ["false"]
    assert "gender" not in query(own.href)
    assert "kindFilters" not in query(own.href)


def test_the_dot_is_inside_the_outline_of_a_garment_that_is_open_in_the_middle() -> None:
    jacket = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.6, 0.8], [0.6, 0.3], [0.4, 0.3], [0.4, 0.8], [0.2, 0.8]]
    speck = [[0.0, 0.0], [0.05, 0.0], [0.0, 0.05]]
    x, y = dot_of([speck, jacket])
    assert 0.2 < x < 0.4 or 0.6 < x < 0.8 or y < 0.3
    assert min(abs(x - edge) for edge in (0.2, 0.4, 0.6, 0.8)) > 0.05
    line = [[0.1, 0.5], [0.9, 0.5], [0.5, 0.5]]
    assert dot_of([line]) == pytest.approx((0.5, 0.5))


def test_a_row_of_the_look_has_the_products_of_its_garment() -> None:
    garments = garments_of(UPLOAD.having(look=True), REGIONS, "/")
    assert garments is not None
    product = {"id": 7, "dataset": "shop", "image": "/7?a=1", "score": 0.5, "name": "Pumps"}
    answer = {"garments": [{**REGIONS["garments"][2], "results": [product], "nothingLikeThis": True}]}
    (row,) = view.look_rows(UPLOAD, answer, garments, "/")
    assert row.garment.title == "Shoes"
    assert [tile.name for tile in row.tiles] == ["Pumps"]
    assert row.nothing
