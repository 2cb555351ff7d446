"""The state of the search page in its address, and how the page presents an answer."""

from __future__ import annotations

from typing import Any

from search_api.pages import search_view as view
from search_api.pages.search_state import SearchState
from vitrine.products import AttributeKind

K = AttributeKind
SCHEMA = {
    "product_id": K.KEYWORD, "origin": K.KEYWORD, "usage": K.KEYWORD, "gender": K.KEYWORD, "baseColour": K.KEYWORD,
    "articleType": K.KEYWORD, "year": K.INTEGER, "sleeve_length": K.KEYWORD,
}  # fmt: skip
PAIRS = [
    ("dataset", "shop"),
    ("model", "net"),
    ("upload", "abc"),
    ("region", "0.1,0.2,0.3,0.4"),
    ("compare", "other"),
    ("cutout", "true"),
    ("positive", "7"),
    ("positive", "8"),
    ("negative", "9"),
    ("gender", "Women"),
    ("gender", "Girls"),
    ("!baseColour", "Teal & <b>"),
    ("yearMin", "2012"),
]


def test_a_state_survives_a_round_trip_through_its_address() -> None:
    state = SearchState.of(PAIRS)
    assert SearchState.of(state.pairs()) == state
    assert sorted(state.pairs()) == sorted(PAIRS)
    assert state.query().startswith("?dataset=shop&")
    assert "Teal+%26+%3Cb%3E" in state.query()
    assert SearchState.of([("gender", ""), ("upload", "")]).query() == ""


def test_an_upload_takes_precedence_over_a_product_and_examples_need_their_option() -> None:
    state = SearchState.of([*PAIRS, ("id", "7")])
    assert state.subject == "upload:abc"
    assert not state.from_examples
    assert state.searching_with("7/ü").pairs()[2] == ("id", "7/ü")
    assert state.searching_with("7").region is None
    assert SearchState.of([("positive", "1")]).searches is False
    assert SearchState.of([("positive", "1"), ("by", "examples")]).from_examples
    assert not SearchState.of([("negative", "1"), ("by", "examples")]).searches


def test_a_filter_is_set_replaced_and_removed_with_its_ranges() -> None:
    state = SearchState.of(PAIRS)
    assert state.values_of("gender") == ("Women", "Girls")
    assert state.filtering("gender", "Men").values_of("gender") == ("Men",)
    assert state.filtering("year").filters == state.lacking(("yearMin", "2012")).filters
    assert state.filtering("baseColour").values_of("!baseColour") == ()
    assert [chip.text for chip in view.chips(state, "/")] == ["Women", "Girls", "not Teal & <b>", "Year from 2012"]


def test_the_standard_fields_come_first_and_internal_fields_are_hidden() -> None:
    assert view.facet_fields(SCHEMA) == ["gender", "articleType", "baseColour", "year", "usage", "sleeve_length"]
    assert view.label_of("sleeve_length") == "Sleeve length"
    assert view.label_of("baseColour") == "Colour"
    assert view.label_of("washCareURL") == "Wash care url"


def test_a_selected_value_is_shown_even_without_matches() -> None:
    counted = [{"value": f"kind {number}", "count": 20 - number} for number in range(12)]
    state = SearchState.of([("articleType", "kind 11"), ("articleType", "gone"), ("yearMax", "2030")])
    answer: dict[str, Any] = {"facets": {"articleType": counted}, "ranges": {"year": {"min": 2010, "max": 2018}}}
    kind, year = view.facets(state, answer, SCHEMA)
    assert [choice.value for choice in kind.shown][-2:] == ["kind 11", "gone"]
    assert len(kind.more) == 3
    assert (year.least, year.greatest, year.low, year.high) == (2010, 2030, 2010, 2030)
    assert kind.filtered
    assert not year.filtered


def test_a_field_with_one_value_is_hidden_and_colours_have_swatches() -> None:
    answer = {
        "facets": {
            "gender": [{"value": "Women", "count": 9}],
            "baseColour": [{"value": "Red", "count": 4}, {"value": "Blue", "count": 5}],
        },
        "ranges": {"year": {"min": 2012, "max": 2012}},
    }
    assert [(facet.name, facet.kind) for facet in view.facets(SearchState(), answer, SCHEMA)] == [
        ("baseColour", "colours")
    ]


def test_a_predicted_label_toggles_its_filter() -> None:
    predicted = [
        {"field": "articleType", "label": "Dresses", "probability": 0.83},
        {"field": "articleType", "label": "Tops", "probability": 0.04},
    ]
    [kind] = view.kinds(SearchState(upload="abc"), {"predicted": predicted}, SCHEMA, "/")
    assert kind.href == "/?upload=abc&articleType=Dresses"
    chosen = SearchState(upload="abc", filters=(("articleType", "Dresses"),))
    [kind] = view.kinds(chosen, {"predicted": predicted}, SCHEMA, "/")
    assert kind.chosen
    assert kind.href == "/?upload=abc"
    assert view.kinds(chosen, {"predicted": predicted}, {"gender": K.KEYWORD}, "/") == []


def test_a_tile_shows_its_rank_in_both_models() -> None:
    results = [{"id": name, "dataset": "shop", "image": "/x", "score": 0.5} for name in (7, "a/b")]
    first, second = view.tiles(SearchState(), {"results": results}, "/shop/", after=20, other=["a/b", 9])
    assert (first.rank, first.other_rank, first.name) == (21, None, "7")
    assert (second.rank, second.other_rank) == (22, 1)
    assert second.href == "/shop/products/a%2Fb?dataset=shop"


OFFERED = {
    "category": K.PATH, "price": K.DECIMAL, "priceCurrency": K.KEYWORD, "added": K.DATE, "in_stock": K.BOOLEAN,
    "colours": K.KEYWORDS, "story": K.TEXT, "name": K.TEXT,
}  # fmt: skip


def test_free_text_and_the_currency_of_a_price_are_no_filters_of_the_page() -> None:
    assert view.facet_fields(OFFERED) == ["category", "colours", "price", "added", "in_stock"]


def test_category_paths_are_a_tree_with_the_commonest_branch_first() -> None:
    counts = {"Shoes": 2, "Clothing > Dresses": 4, "Clothing": 9, "Clothing > Tops": 5, "Clothing > Dresses > Midi": 4}
    answer: dict[str, Any] = {
        "facets": {"category": [{"value": value, "count": count} for value, count in counts.items()]}
    }
    [tree] = view.facets(SearchState.of([("category", "Clothing > Dresses")]), answer, {"category": K.PATH})
    assert [(one.level, one.words, one.count) for one in tree.shown] == [
        (0, "Clothing", 9), (1, "Tops", 5), (1, "Dresses", 4), (2, "Midi", 4), (0, "Shoes", 2),
    ]  # fmt: skip
    assert [one.value for one in tree.choices if one.chosen] == ["Clothing > Dresses"]
    [tree] = view.facets(SearchState.of([("category", "Bags > Totes")]), answer, {"category": K.PATH})
    assert [(one.level, one.words, one.count) for one in tree.shown[-2:]] == [(0, "Bags", 0), (1, "Totes", 0)]


def test_booleans_are_shown_in_words_and_products_without_a_value_can_be_chosen() -> None:
    answer: dict[str, Any] = {
        "facets": {"in_stock": [{"value": True, "count": 3}, {"value": False, "count": 1}]},
        "withoutValue": {"in_stock": 2},
    }
    state = SearchState.of([("in_stock", view.NO_VALUE), ("in_stock", "true"), ("!colours", view.NO_VALUE)])
    [facet] = view.facets(state, answer, {"in_stock": K.BOOLEAN})
    assert [(one.value, one.words, one.chosen) for one in facet.choices] == [
        ("true", "Yes", True), ("false", "No", False),
    ]  # fmt: skip
    assert facet.without is not None
    assert (facet.without.count, facet.without.chosen) == (2, True)
    assert [chip.text for chip in view.chips(state, "/")] == ["In stock: without", "In stock: Yes", "Colours: any"]


def test_a_date_is_filtered_from_a_day_to_a_day() -> None:
    answer: dict[str, Any] = {"ranges": {"added": {"min": "2024-01-15T10:00:00+00:00", "max": "2024-07-01"}}}
    [facet] = view.facets(SearchState.of([("addedMin", "2024-02-01")]), answer, {"added": K.DATE})
    assert (facet.kind, facet.least, facet.greatest) == ("dates", "2024-01-15", "2024-07-01")
    assert (facet.low, facet.high, facet.filtered) == ("2024-02-01", "", True)


def test_a_region_is_the_number_of_a_garment_or_a_box_and_goes_with_the_picture() -> None:
    garment = SearchState.of([("upload", "abc"), ("region", "2"), ("kindFilters", "false"), ("gender", "Women")])
    assert (garment.garment, garment.box) == (2, None)
    assert SearchState.of(PAIRS).garment is None
    assert SearchState.of(PAIRS).box == "0.1,0.2,0.3,0.4"
    assert garment.searching_part("3").query() == "?upload=abc&region=3&gender=Women"
    assert garment.searching_part(None).having(look=True).query() == "?upload=abc&look=true&gender=Women"
    assert garment.without_picture().query() == "?gender=Women"
    assert garment.unfiltered().query() == "?upload=abc&region=2&kindFilters=false"
    assert SearchState.of(PAIRS).unfiltered().kind_filters
    assert SearchState.of([("upload", "abc"), ("look", "true")]).shows_look
    assert not SearchState.of([("id", "7"), ("look", "true")]).shows_look
