"""Convert the JSON report of an evaluation or an experiment to tables of text. The file is untrusted: a value that is
missing or has another type is shown as a dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from search_api.pages.formats import number, percent

_MOST_ROWS: Final = 400
_MOST_KINDS: Final = 40
_MOST_PAIRS: Final = 12
_DASH: Final = "-"
_SHORT: Final = {
    "average_precision": "mAP",
    "precision": "P",
    "recall": "R",
    "reciprocal_rank": "MRR",
    "r_precision": "R-P",
    "ndcg": "nDCG",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A value, and its interval."""

    text: str
    range: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The first `words` columns hold text, the others numbers."""

    id: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int
    says: str = ""


@dataclass(frozen=True, slots=True)
class Confusion:
    """A confusion matrix. `rows` are (kind of the query, (color level from 0 to 10, percentage) per kind found)."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, str], ...]], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class ReportTables:
    """A report."""

    title: str
    facts: tuple[str, ...]
    tables: tuple[Table, ...]
    confusion: Confusion | None
    evaluations: tuple[tuple[str, str], ...]


def report_tables(document: Mapping[str, Any]) -> ReportTables:
    """The tables of `report.json`, of an evaluation or an experiment."""
    plan = _mapping(document.get("plan"))
    measures = [str(name) for name in _sequence(plan.get("measures"))]
    lines = [_mapping(line) for line in _sequence(document.get("lines"))][:_MOST_ROWS]
    tables = [
        *([_lines_table(lines, measures)] if lines else []),
        *_comparisons(document),
        *_kinds(lines, measures),
    ]
    evaluations = []
    for one in map(_mapping, _sequence(document.get("evaluations"))):
        report = one.get("report")
        if isinstance(report, str):
            evaluations.append((str(one.get("name") or report), report))
    return ReportTables(
        title=str(document.get("title") or "Report"),
        facts=_facts(document, plan),
        tables=tuple(tables),
        confusion=_confusion(document.get("confusion")),
        evaluations=tuple(evaluations),
    )


def confusion_pairs(content: Any) -> tuple[tuple[str, str, int, float], ...]:
    """The most frequent confusions of a classifier: (true kind, predicted kind, count, share of the true kind)."""
    document = _mapping(content)
    labels, counts = _sequence(document.get("labels")), _sequence(document.get("counts"))
    pairs = []
    for row, counted in enumerate(counts):
        values = [value for value in _sequence(counted) if isinstance(value, int)]
        total = sum(values)
        if len(values) != len(labels) or not total:
            continue
        pairs += [
            (str(labels[row]), str(labels[column]), value, value / total)
            for column, value in enumerate(values)
            if column != row and value
        ]
    return tuple(sorted(pairs, key=lambda pair: (-pair[2], pair[0]))[:_MOST_PAIRS])


def short_name(measure: str) -> str:
    """`average_precision` as mAP, `precision@15` as P@15."""
    kind, at, k = measure.partition("@")
    return f"{_SHORT.get(kind, kind)}{at}{k}"


def _lines_table(lines: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> Table:
    rows = []
    for line in lines:
        measured = _mapping(line.get("measures"))
        gallery = str(line.get("gallery"))
        products = line.get("gallery_products")
        rows.append(
            (
                Cell(str(line.get("release"))),
                Cell(gallery, f"{products:,} products" if isinstance(products, int) else ""),
                Cell(str(line.get("way"))),
                *(_figure(_mapping(measured.get(name))) for name in measures),
                Cell(_fixed(line.get("milliseconds_a_query"), 1)),
            )
        )
    heads = ("Release", "Gallery", "Way", *map(short_name, measures), "ms a query")
    return Table("lines", "Results", heads, tuple(rows), 3, "Ranges are 95 % bootstrap intervals over queries.")


def _comparisons(document: Mapping[str, Any]) -> list[Table]:
    rows = []
    for one in map(_mapping, list(_sequence(document.get("comparisons")))[:_MOST_ROWS]):
        second = _mapping(one.get("second"))
        low, high = _fixed(one.get("low"), 3, sign=True), _fixed(one.get("high"), 3, sign=True)
        rows.append(
            (
                Cell(str(second.get("release"))),
                Cell(str(one.get("gallery"))),
                Cell(str(second.get("way"))),
                Cell(short_name(str(one.get("measure")))),
                Cell(_fixed(one.get("difference"), 3, sign=True), f"{low} to {high}"),
                Cell(_fixed(one.get("p"), 4)),
            )
        )
    heads = ("Release", "Gallery", "Way", "Measure", "Difference", "p")
    says = (
        "Difference to the first row of the same gallery, over the same queries. "
        "p: probability of a difference at least this large by chance."
    )
    return [Table("comparisons", "Compared with the first row", heads, tuple(rows), 4, says)] if rows else []


def _kinds(lines: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> list[Table]:
    """The first row by kind of product."""
    kinds = _mapping(lines[0].get("kinds")) if lines else {}
    rows = [
        (
            Cell(str(kind)),
            Cell(_fixed(_mapping(told).get("queries"), 0)),
            *(Cell(_fixed(_mapping(told).get(name), 3)) for name in measures),
        )
        for kind, told in list(kinds.items())[:_MOST_ROWS]
    ]
    heads = ("Kind", "Queries", *map(short_name, measures))
    return [Table("kinds", "By kind, first row", heads, tuple(rows), 1)] if rows else []


def _facts(document: Mapping[str, Any], plan: Mapping[str, Any]) -> tuple[str, ...]:
    catalog, queries = _mapping(document.get("catalog")), _mapping(document.get("queries"))
    facts = []
    if document.get("protocol"):
        facts.append(f"Protocol {document['protocol']}")
    if catalog:
        products = catalog.get("products")
        facts.append(f"{catalog.get('dataset')}, {number(products) if isinstance(products, int) else _DASH} products")
    if queries:
        count = queries.get("count")
        facts.append(f"{number(count) if isinstance(count, int) else _DASH} queries from {queries.get('from')}")
    relevance = _sequence(_mapping(plan.get("data")).get("relevance"))
    if relevance:
        facts.append(f"relevant: same {' + '.join(map(str, relevance))}")
    tested = map(_mapping, _sequence(document.get("releases")))
    facts += [f"{one.get('id')} strict: {one['strict']}" for one in tested if one.get("strict")]
    return tuple(facts)


def _confusion(content: Any) -> Confusion | None:
    document = _mapping(content)
    names = [str(name) for name in _sequence(document.get("kinds"))]
    shares = _sequence(document.get("shares"))
    if not names or len(shares) != len(names):
        return None
    kept = names[:_MOST_KINDS]
    rows = []
    for name, row in zip(kept, shares, strict=False):
        values = [float(value) if isinstance(value, int | float) else 0.0 for value in _sequence(row)[: len(kept)]]
        rows.append((name, tuple((round(value * 10), percent(value) if value >= 0.005 else "") for value in values)))
    return Confusion(tuple(kept), tuple(rows), len(names) - len(kept))


def _figure(told: Mapping[str, Any]) -> Cell:
    low, high = told.get("low"), told.get("high")
    interval = f"{_fixed(low, 3)} to {_fixed(high, 3)}" if isinstance(low, int | float) else ""
    return Cell(_fixed(told.get("mean"), 3), interval)


def _fixed(value: Any, digits: int, *, sign: bool = False) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _DASH
    return f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
