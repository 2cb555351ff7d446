"""Which kind a column is, what its texts mean, and what is reported where a text spoils a better kind."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from vitrine.catalogs.columns import ColumnTyper, TypedColumn, kinds_of, typed_columns
from vitrine.products import AttributeKind

KEYWORD, KEYWORDS, INTEGER, DECIMAL = (
    AttributeKind.KEYWORD, AttributeKind.KEYWORDS, AttributeKind.INTEGER, AttributeKind.DECIMAL,
)  # fmt: skip
BOOLEAN, DATE, PATH, TEXT = AttributeKind.BOOLEAN, AttributeKind.DATE, AttributeKind.PATH, AttributeKind.TEXT


def typed(texts: Sequence[str], attribute: str = "field", hint: AttributeKind | None = None) -> TypedColumn:
    typer = ColumnTyper(attribute, attribute, hint=hint)
    for row, text in enumerate(texts, start=1):
        typer.add(text, row)
    (column,) = typed_columns([typer])
    return column


def read(texts: Sequence[str], attribute: str = "field", hint: AttributeKind | None = None) -> tuple[str, list[Any]]:
    column = typed(texts, attribute, hint)
    return column.kind.value, [column.read(text) for text in texts]


def prices(texts: Sequence[str]) -> list[dict[str, Any]]:
    column = typed(texts, "price")
    assert column.kind == DECIMAL
    rows: list[dict[str, Any]] = []
    for text in texts:
        rows.append({})
        column.put(text, rows[-1])
    return rows


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["36", "37", "38"], INTEGER, [36, 37, 38]),
        (["2020", "2021", "1999"], INTEGER, [2020, 2021, 1999]),
        (["1,299", "25", "12,000"], INTEGER, [1299, 25, 12000]),
        (["1.299.000", "25"], INTEGER, [1299000, 25]),
        (["-3", "+4", "0"], INTEGER, [-3, 4, 0]),
        (["36", "37.5", "38"], DECIMAL, [36.0, 37.5, 38.0]),
        (["1,299.00", "20"], DECIMAL, [1299.0, 20.0]),
        (["1,299", "20.5"], DECIMAL, [1299.0, 20.5]),
        (["1.299,00", "20"], DECIMAL, [1299.0, 20.0]),
        (["1.299", "20,5"], DECIMAL, [1299.0, 20.5]),
        (["1 299,00", "1\u00a0299,50", "3,00"], DECIMAL, [1299.0, 1299.5, 3.0]),
        (["1'299.00", "1\u2019299.50"], DECIMAL, [1299.0, 1299.5]),
        (["1,29,999.00", "5.00"], DECIMAL, [129999.0, 5.0]),
        (["0.125", "1.299"], DECIMAL, [0.125, 1.299]),
        (["0,125", "1,299"], DECIMAL, [0.125, 1.299]),
        ([".5", "0.25"], DECIMAL, [0.5, 0.25]),
        (["1e2", "2.5"], DECIMAL, [100.0, 2.5]),
        (["007", "012"], KEYWORD, ["007", "012"]),
        (["7", "012"], KEYWORD, ["7", "012"]),
        (["1" * 19, "5"], KEYWORD, ["1" * 19, "5"]),
        (["4006381333931", "4006381333948"], KEYWORD, ["4006381333931", "4006381333948"]),
        (["'4006381333930", "'0012"], KEYWORD, ["4006381333930", "0012"]),
        (['="0012"', '="0013"'], KEYWORD, ["0012", "0013"]),
        (["36", "37", "One Size"], KEYWORD, ["36", "37", "One Size"]),
        (["10-12", "37", "M"], KEYWORD, ["10-12", "37", "M"]),
        (["10 cm", "20 cm"], KEYWORD, ["10 cm", "20 cm"]),
        (["20%", "30%"], KEYWORD, ["20%", "30%"]),
        (["FR 36", "FR 38"], KEYWORD, ["FR 36", "FR 38"]),
        (["32 L", "34 L"], KEYWORD, ["32 L", "34 L"]),
        (["0x10", "1_000", "١٢"], KEYWORD, ["0x10", "1_000", "١٢"]),
    ],
)
def test_numbers_and_what_only_looks_like_them(texts: list[str], kind: AttributeKind, values: list[Any]) -> None:
    found_kind, found = read(texts)
    assert (found_kind, found) == (kind.value, values)
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("$1,299.00", 1299.0, "USD"),
        ("19,90 €", 19.9, "EUR"),
        ("19,90\u00a0€", 19.9, "EUR"),
        ("€ 19,95", 19.95, "EUR"),
        ("EUR 19.95", 19.95, "EUR"),
        ("49.95 EUR", 49.95, "EUR"),
        ("eur 5", 5.0, "EUR"),
        ("£12.50", 12.5, "GBP"),
        ("¥1,200", 1200.0, "JPY"),
        ("199 kr", 199.0, "kr"),
        ("kr. 1 299,00", 1299.0, "kr"),
        ("499 SEK", 499.0, "SEK"),
        ("49,99 zł", 49.99, "PLN"),
        ("Rs. 1,299", 1299.0, "INR"),
        ("Rs.500.00", 500.0, "INR"),
        ("₹1,29,999.00", 129999.0, "INR"),
        ("CHF 1'299.00", 1299.0, "CHF"),
        ("R$ 1.299,00", 1299.0, "BRL"),
        ("A$12.00", 12.0, "AUD"),
        ("US$ 12", 12.0, "USD"),
        ("US$12.00 USD", 12.0, "USD"),
        ("1.299 €", 1299.0, "EUR"),
        ("1.299,- €", 1299.0, "EUR"),
        ("-$5.00", -5.0, "USD"),
        ("$.99", 0.99, "USD"),
        ("12 000 ₽", 12000.0, "RUB"),
        ("299 \u0440\u0443\u0431.", 299.0, "RUB"),
        ("1 990 Kč", 1990.0, "CZK"),
        ("5 990 Ft", 5990.0, "HUF"),
        ("99 AED", 99.0, "AED"),
    ],
)
def test_a_price_is_an_amount_and_a_currency(text: str, amount: float, currency: str) -> None:
    assert prices([text]) == [{"price": amount, "priceCurrency": currency}]


def test_prices_with_and_without_a_currency_are_one_column() -> None:
    assert prices(["19.90", "25", "$1,299.00"]) == [
        {"price": 19.9},
        {"price": 25.0},
        {"price": 1299.0, "priceCurrency": "USD"},
    ]
    assert prices(["19,90 €", "$1,299.00", "1.299,00 €"]) == [
        {"price": 19.9, "priceCurrency": "EUR"},
        {"price": 1299.0, "priceCurrency": "USD"},
        {"price": 1299.0, "priceCurrency": "EUR"},
    ]


@pytest.mark.parametrize("word", ["Size 10", "TOP 10", "10 Stk", "XXL 5", "free", "from $5", "5 $ off", "$5-$9"])
def test_a_word_beside_a_number_is_not_a_currency(word: str) -> None:
    assert typed(["$5.00", word], "price").kind == KEYWORD


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["TRUE", "FALSE", "true", "0"], [True, False, True, False]),
        (["True", "False"], [True, False]),
        (["yes", "No", "YES"], [True, False, True]),
        (["Y", "N", "n"], [True, False, False]),
        (["ja", "nein"], [True, False]),
        (["WAHR", "FALSCH"], [True, False]),
        (["in stock", "out of stock"], [True, False]),
        (["in_stock", "out_of_stock"], [True, False]),
        (["true", "true"], [True, True]),
    ],
)
def test_booleans_in_the_words_of_shops(texts: list[str], values: list[bool]) -> None:
    assert read(texts) == ("boolean", values)


@pytest.mark.parametrize(
    "texts",
    [["F", "F"], ["N", "N"], ["in_stock", "in_stock"], ["in stock", "out of stock", "preorder"], ["Yes", "Maybe"]],
)
def test_words_that_only_look_like_booleans_stay_keywords(texts: list[str]) -> None:
    assert typed(texts).kind == KEYWORD


def test_zeros_and_ones_are_booleans_only_if_the_name_asks_a_question() -> None:
    assert read(["0", "1", "1"]) == ("integer", [0, 1, 1])
    for name in ("in_stock", "In_stock", "isNew", "is_new", "has_pockets", "published"):
        assert read(["0", "1"], name) == ("boolean", [False, True])
    assert typed(["0", "1"], "island").kind == INTEGER
    assert typed(["0", "1", "2"], "in_stock").kind == INTEGER


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["2024-01-15", "2024-12-01"], ["2024-01-15", "2024-12-01"]),
        (["2024/1/5", "2024/12/31"], ["2024-01-05", "2024-12-31"]),
        (["2024-01-15T10:00:00Z"], ["2024-01-15T10:00:00+00:00"]),
        (["2024-01-15 10:00:00+02:00"], ["2024-01-15T10:00:00+02:00"]),
        (["2024-01-15 10:00 -0500"], ["2024-01-15T10:00:00-05:00"]),
        (["2024-01-15 10:30", "2024-01-15"], ["2024-01-15T10:30:00", "2024-01-15"]),
        (["15.01.2024", "01.02.2024"], ["2024-01-15", "2024-02-01"]),
        (["15/01/2024", "01/02/2024"], ["2024-01-15", "2024-02-01"]),
        (["01/15/2024", "01/02/2024"], ["2024-01-15", "2024-01-02"]),
        (["1/15/2024 3:05 PM", "1/2/2024 12:00 AM"], ["2024-01-15T15:05:00", "2024-01-02T00:00:00"]),
        (["15 Jan 2024", "January 2nd, 2024"], ["2024-01-15", "2024-01-02"]),
        (["Mon, 15 Jan 2024 10:00:00 +0000"], ["2024-01-15T10:00:00+00:00"]),
    ],
)  # fmt: skip
def test_dates_are_read_as_iso_dates(texts: list[str], values: list[str]) -> None:
    assert read(texts) == ("date", values)


@pytest.mark.parametrize(
    "texts",
    [
        ["01/02/2024", "03/04/2024"],
        ["15/01/2024", "01/15/2024"],
        ["2024-01-15", "soon"],
        ["2024-02-30", "2024-01-01"],
        ["10-12", "12-14"],
        ["May", "June"],
        ["1.2.10", "1.2.11"],
        ["10/12/14", "10/12/16"],
    ],
)
def test_what_is_no_certain_date_stays_a_keyword(texts: list[str]) -> None:
    assert read(texts) == ("keyword", texts)


def test_colours_written_in_five_ways_are_lists_of_the_same_colours() -> None:
    texts = ["Red|Blue", "Red, Blue", "['Red', 'Blue']", '["Red", "Blue"]', "Red / White", "Red", "Blue", "Red;Blue"]
    pair = ["Red", "Blue"]
    assert read(texts) == ("keywords", [pair, pair, pair, pair, ["Red", "White"], ["Red"], ["Blue"], pair])


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["Red|Blue", "Green"], [["Red", "Blue"], ["Green"]]),
        (["S,M,L", "M,L", "S"], [["S", "M", "L"], ["M", "L"], ["S"]]),
        (["S / M", "M", "S"], [["S", "M"], ["M"], ["S"]]),
        (["wool; silk", "silk"], [["wool", "silk"], ["silk"]]),
        (["['Red' 'Blue']"], [["Red", "Blue"]]),
        (["{Red,Blue}", '{"Light Blue"}'], [["Red", "Blue"], ["Light Blue"]]),
        (["[36, 37]", "[38]"], [["36", "37"], ["38"]]),
        (["[]", "['Red']"], [None, ["Red"]]),
        (["Red|Red| Blue |"], [["Red", "Blue"]]),
        (['"Black, White"|Red', "Red"], [["Black, White", "Red"], ["Red"]]),
        (["Red\\, deep,Blue", "Blue", "Red\\, deep"], [["Red, deep", "Blue"], ["Blue"], ["Red, deep"]]),
    ],
)
def test_lists_in_one_field(texts: list[str], values: list[Any]) -> None:
    assert read(texts) == ("keywords", values)


@pytest.mark.parametrize(
    "texts",
    [
        ["Black, White & Grey Co.", "North", "Black"],
        ["Size 10, EU", "Size 11, EU", "Size 12, EU"],
        ["Size 10, EU", "Size 10, UK", "Size 11, EU", "Size 11, UK"],
        ["Paris, France", "Lyon, France", "London, UK"],
        ["Smith, John", "Miller, Ann"],
        ["Red/Black", "Red/White"],
        ["10/12", "12/14", "10"],
        ["Wash cold, do not bleach and never tumble dry it", "Wash warm, then iron"],
        ["{'a': 1}", "{'b': 2}"],
        ["(new)", "(old)"],
    ],
)
def test_separators_that_separate_no_list_stay_in_the_keyword(texts: list[str]) -> None:
    assert read(texts) == ("keyword", texts)


def test_a_column_that_is_called_tags_needs_no_proof() -> None:
    assert read(["summer, linen"], "Tags") == ("keywords", [["summer", "linen"]])
    assert read(["Red/Black", "Red/White", "Black"], "color")[1] == [["Red", "Black"], ["Red", "White"], ["Black"]]
    assert read(["Blue, Green"], "Attribute_1", KEYWORDS) == ("keywords", [["Blue", "Green"]])


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["Clothing > Dresses > Midi", "Clothing>Shirts"], ["Clothing > Dresses > Midi", "Clothing > Shirts"]),
        (["Clothing > Shirts", "Clothing"], ["Clothing > Shirts", "Clothing"]),
        (
            ["Clothing > T-shirts, Clothing > Sale", "Clothing > Sale"],
            [["Clothing > T-shirts", "Clothing > Sale"], "Clothing > Sale"],
        ),
        (["Clothing, Clothing > Sale"], [["Clothing", "Clothing > Sale"]]),
        (["Jackets, Coats > Parkas", "Shoes > Boots"], ["Jackets, Coats > Parkas", "Shoes > Boots"]),
        (["Apparel &amp; Accessories &gt; Clothing"], ["Apparel & Accessories > Clothing"]),
        (['["Clothing >> Shirts >> Slim"]'], ["Clothing > Shirts > Slim"]),
        (["Home » Women » Tops", "Home » Men » Tops"], ["Home > Women > Tops", "Home > Men > Tops"]),
    ],
)
def test_category_paths(texts: list[str], values: list[Any]) -> None:
    assert read(texts, "category") == ("path", values)


def test_slashes_make_a_path_only_below_shared_first_levels() -> None:
    paths = ["Clothing/Dresses/Midi", "Clothing/Dresses/Maxi", "Shoes/Boots/Chelsea"]
    assert read(paths) == ("path", [path.replace("/", " > ") for path in paths])
    assert typed(["Women/Dresses", "Women/Shirts"], "category").kind == PATH
    assert typed(["Black/White", "White/Black", "Black/Grey"], "category").kind == KEYWORD
    assert typed(["> 5 kg", "< 5 kg"]).kind == KEYWORD


def test_prose_is_text_without_html() -> None:
    texts = [
        f"<p>Loose dress no. {n}, hand made.</p><ul><li>linen</li><li>washed &amp; soft</li></ul>" for n in range(3)
    ]
    kind, values = read(texts)
    assert kind == "text"
    assert values[0] == "Loose dress no. 0, hand made.\nlinen\nwashed & soft"
    sentences = [f"A light jacket number {n} for cool evenings" for n in range(8)]
    assert read(sentences) == ("text", sentences)
    assert read(["A light jacket for cool evenings"] * 8)[0] == "keyword"
    assert read(["https://shop.example.com/p/1", "https://shop.example.com/p/2"])[0] == "text"


def test_the_name_of_a_column_makes_it_text() -> None:
    for name in ("name", "title", "Title", "description", "Body_HTML", "detail_desc", "Beschreibung"):
        assert typed(["Warm, light", "Warm, light"], name).kind == TEXT
    assert typed(["A", "B"], "description").kind == KEYWORD
    assert typed(["7", "8"], "title").kind == TEXT


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>Shirt", "<style>p {}</style>Shirt", "<!-- <b> -->Shirt"])
def test_scripts_and_comments_are_no_part_of_a_text(evil: str) -> None:
    assert typed([evil], "description", TEXT).read(evil) == "Shirt"


def test_a_keyword_is_kept_as_it_is_written_apart_from_blanks_and_unicode_form() -> None:
    assert read([" Women", "women", "WOMEN ", "Navy  blue", "Gru\u0308n"])[1] == [
        "Women", "women", "WOMEN", "Navy blue", "Gr\u00fcn",
    ]  # fmt: skip


def test_words_for_unknown_values_have_no_value() -> None:
    for word in ("NA", "None", "N/A", "null", "nan", "#N/A", "", "  "):
        assert read(["Floral", word])[1] == ["Floral", None]
        assert read(["5", word]) == ("integer", [5, None])


def test_a_word_for_unknown_values_is_a_value_where_the_column_shows_it() -> None:
    assert read(["Floral", "None", ""])[1] == ["Floral", "None", None]
    assert read(["EU", "NA", "APAC"])[1] == ["EU", "NA", "APAC"]
    assert read(["5", "None", ""]) == ("integer", [5, None, None])
    assert read(["TRUE", "None", ""]) == ("boolean", [True, None, None])
    assert read(["Men", "None", ""], "gender")[1] == ["Men", None, None]


def test_a_column_without_values_has_no_kind() -> None:
    typers = [ColumnTyper("stock", "Stock"), ColumnTyper("size", "Size")]
    for typer, text in zip(typers, ["NA", "36"], strict=True):
        typer.add(text, 1)
    assert kinds_of(typed_columns(typers)) == {"size": INTEGER}


def test_standard_attributes_keep_their_kinds() -> None:
    assert read(["2014.0", "2012"], "year") == ("integer", [2014, 2012])
    assert typed(["2014", "soon"], "year").read("soon") is None
    for name in ("gender", "articleType", "baseColour", "season", "usage", "masterCategory", "subCategory"):
        assert read(["1", "2"], name) == ("keyword", ["1", "2"])
        assert read(["Red|Blue", "Red"], name) == ("keyword", ["Red|Blue", "Red"])


def test_codes_are_keywords_by_their_name_or_their_check_digits() -> None:
    assert typed(["12345", "12346"], "sku").kind == KEYWORD
    assert typed(["12345", "12346"], "Variant_Barcode").kind == KEYWORD
    assert typed(["4006381333931", "96385074"]).kind == KEYWORD
    assert typed(["96385074", "96385075"]).kind == INTEGER
    assert typed([str(1_705_312_800_000 + n) for n in range(9)], "created_ms").kind == INTEGER
    assert typed([str(100_000_000_000 + n) for n in range(9)]).kind == KEYWORD


def test_a_hint_is_followed_unless_the_texts_refuse_it() -> None:
    assert read(["1", "2"], hint=KEYWORD) == ("keyword", ["1", "2"])
    assert read(["1", "0"], hint=BOOLEAN) == ("boolean", [True, False])
    assert read(["1", "2"], hint=BOOLEAN)[0] == "integer"
    assert read(["Clothing"], hint=PATH) == ("path", ["Clothing"])
    assert read(["7"], hint=TEXT) == ("text", ["7"])


@pytest.mark.parametrize(
    ("texts", "report"),
    [
        (["36", "37", "38", "36", "37", "One Size"], "integer but for 'One Size' in row 6"),
        (["36", "37", "38", "36", "37", "37.5"], "integer but for '37.5' in row 6"),
        (["9.5", "8.5", "7.5", "n.v."], "decimal but for 'n.v.' in row 4"),
        (["5", "6", "7", "8", "a", "b", "a"], "integer but for 'a' in row 5, 'b' in row 6"),
        (["2024-01-15", "2024-01-16", "soon"], "date but for 'soon' in row 3"),
        (["TRUE", "FALSE", "maybe"], "boolean but for 'maybe' in row 3"),
        (
            ["01/02/2024", "03/04/2024"],
            "date, but no row shows whether the day or the month comes first: '01/02/2024' in row 1",
        ),
        (
            ["15/01/2024", "01/15/2024"],
            "date, but the day comes first for '15/01/2024' in row 1 and the month for '01/15/2024' in row 2",
        ),
        (["19,90", "19.90"], "decimal, but '19,90' in row 1 has a decimal comma and '19.90' in row 2 a decimal point"),
        (["Red", "Blue", "7"], ""),
        (["19.90", "25"], "integer but for '19.90' in row 1"),
        (["007", "008"], ""),
    ],
)
def test_what_spoiled_a_better_kind_is_reported(texts: list[str], report: str) -> None:
    assert typed(texts).spoiled == report


SHOP = {
    "gender": (["Women", "women", "WOMEN ", "Womens"], KEYWORD),
    "colours": (["Red|Blue", "Red, Blue", "['Red', 'Blue']", "Red", "Blue", "Red / White"], KEYWORDS),
    "size": (["36", "37.5", "38", "39"], DECIMAL),
    "price": (["19.90", "25", "$1,299.00"], DECIMAL),
    "preis": (["19,90 €", "20,90 €", "1.021,90 €"], DECIMAL),
    "in_stock": (["TRUE", "FALSE", "true", "0"], BOOLEAN),
    "added": (["2024-01-15", "2024-02-15"], DATE),
    "cutout_": (["Yes", "No"], BOOLEAN),
    "confidence_": (["0.9", "0.1"], DECIMAL),
    "fit": (["NA", "L"], KEYWORD),
    "pattern": (["None", "Floral"], KEYWORD),
    "category": (["Clothing > Dresses > Midi", "Clothing > Dresses > Maxi"], PATH),
    "model_": (["42"], INTEGER),
    "when": (["15/01/2024", "01/02/2024"], DATE),
    "code": (["1", "02"], KEYWORD),
    "tags": (["a,b", "b,c", "c"], KEYWORDS),
}


@pytest.mark.parametrize("attribute", SHOP)
def test_the_order_of_the_rows_does_not_decide(attribute: str) -> None:
    texts, kind = SHOP[attribute]
    rows = texts * 6
    dice = random.Random(attribute)
    expected = {text: typed(rows, attribute).read(text) for text in texts}
    for _ in range(8):
        dice.shuffle(rows)
        column = typed(rows, attribute)
        assert column.kind == kind
        assert {text: column.read(text) for text in texts} == expected


def test_short_markup_is_free_text_even_where_a_column_is_called_description() -> None:
    assert read(["<p>x</p>", "<b>y</b>"], "description") == (TEXT, ["x", "y"])


def test_lists_of_one_number_are_lists_and_words_in_brackets_are_not() -> None:
    assert read(["[1]", "[2]"]) == (KEYWORDS, [["1"], ["2"]])
    assert read(["[true]", "[false]"]) == (KEYWORDS, [["true"], ["false"]])
    assert read(["[S]", "[M]"])[0] == KEYWORD


def test_paths_of_files_are_no_categories() -> None:
    assert read(["/m/h/a_main.jpg", "/m/h/b_main.jpg", "/m/w/c.jpg"], "small_image")[0] == KEYWORD


def test_a_year_of_two_digits_is_a_date_only_with_a_time() -> None:
    assert read(["1/20/24, 3:52 PM", "12/1/23, 10:05 AM"]) == (DATE, ["2024-01-20T15:52:00", "2023-12-01T10:05:00"])
    assert read(["10/12/14", "8/10/12"])[0] == KEYWORD
