"""Report of an evaluation: JSON, CSV, Markdown, and a self-contained page with pictures, all from one document."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from trainer.reports.gallery import ScoredQueries
from trainer.reports.rendering import render_page
from vitrine.atomic_write import write_json, write_text

JSON_FILE: Final = "report.json"
CSV_FILE: Final = "report.csv"
MARKDOWN_FILE: Final = "report.md"
PAGE_FILE: Final = "index.html"

# The document is built by `trainer.evaluation.document`. Its field names are read by other programs.
Document = dict[str, Any]

_SHOWN_MATCHES: Final = 9
_COMPARISON_HEADS: Final = ("release", "gallery", "way", "measure", "difference", "p")
_TEXT_COLUMNS: Final = ("release", "gallery", "way", "strict", "measure")
_SHORT_NAMES: Final = {
    "average_precision": "mAP",
    "precision": "P",
    "recall": "R",
    "reciprocal_rank": "MRR",
    "r_precision": "R-P",
    "ndcg": "nDCG",
    "share_found": "found",
}


def write_report(
    folder: Path,
    document: Document,
    queries: ScoredQueries,
    *,
    query_url: Callable[[str], str],
    match_url: Callable[[str], str],
) -> list[str]:
    """Write the four files and return their names.

    `query_url` and `match_url` return the URL of a picture by product id. The page contains no other pictures, so data
    URLs make it self-contained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON_FILE, document)
    write_text(folder / CSV_FILE, csv_text(document))
    write_text(folder / MARKDOWN_FILE, markdown(document))
    write_text(folder / PAGE_FILE, page(document, queries, query_url=query_url, match_url=match_url))
    return [JSON_FILE, CSV_FILE, MARKDOWN_FILE, PAGE_FILE]


def page(
    document: Document, queries: ScoredQueries, *, query_url: Callable[[str], str], match_url: Callable[[str], str]
) -> str:
    """The report as one HTML page."""
    measures = document["plan"]["measures"]
    best, worst = ([queries.case(row, matches=_SHOWN_MATCHES) for row in rows] for rows in queries.best_and_worst())
    return render_page(
        "evaluation.html.j2",
        document=document,
        facts=facts(document).replace("`", ""),
        measures=measures,
        short=short_name,
        score_name=measures[0],
        strict_of=strict_of,
        strictness_text=strictness_text,
        best=best,
        worst=worst,
        query_url=cache(query_url),
        match_url=cache(match_url),
    )


def markdown(document: Document) -> str:
    """The report in Markdown."""
    measures = document["plan"]["measures"]
    parts = [f"# {document['title']}\n", facts(document) + "\n"]
    parts.append(
        _table(["release", "gallery", "way", "strict", *map(short_name, measures), "ms a query"], _rows(document))
    )
    parts.append("\nStrict means that nothing was fitted or chosen on what is tested:\n")
    parts.append("\n".join(f"- `{one['id']}`: {strictness_text(one)}" for one in document["releases"]) + "\n")
    if document["comparisons"]:
        parts.append("\nDifference to the first row of the same gallery, over the same queries:\n")
        parts.append(_table(_COMPARISON_HEADS, _comparison_rows(document)))
    return "\n".join(parts) + "\n"


def csv_text(document: Document) -> str:
    """A CSV row for each result and measure."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["release", "gallery", "way", "strict", "measure", "mean", "low", "high", "queries", "left_out", "ms_a_query"]
    )
    for line in document["lines"]:
        for name, values in line["measures"].items():
            identity = [line["release"], line["gallery"], line["way"], strict_of(document, line)]
            figures = ["" if values[key] is None else f"{values[key]:.6f}" for key in ("mean", "low", "high")]
            counts = [line["queries"], line["left_out"], line["milliseconds_a_query"]]
            writer.writerow([*identity, name, *figures, *counts])
    return buffer.getvalue()


def facts(document: Document) -> str:
    """A paragraph about the protocol, the catalogue, the split and the queries."""
    catalog, queries, plan = document["catalog"], document["queries"], document["plan"]
    split = catalog["split"]
    subset = f", subset {catalog['subset']}" if catalog["subset"] else ""
    sizes = " / ".join(f"{count:,} {part}" for part, count in catalog["parts"].items())
    relevance = " + ".join(plan["data"]["relevance"])
    within = f"; searched within equal {' + '.join(plan['within'])}" if plan["within"] else ""
    return (
        f"Protocol `{document['protocol']}`; {catalog['dataset']}{subset}, {catalog['products']:,} products "
        f"({split['kind']} split, seed {split['seed']}: {sizes}); {queries['count']:,} queries from "
        f"{queries['from']}; relevant: same {relevance}{within}. Ranges are 95 % bootstrap intervals over queries."
    )


def strict_of(document: Document, line: Document) -> str:
    """The strictness of a result: `no` if any of its releases is not strict, else `unknown` if that of any is unknown,
    else `yes`.
    """
    strictness = {one["id"]: one["strict"] for one in document["releases"]}
    fused_with = {variant["name"]: variant["fuse"] for variant in document["plan"]["ways"]}
    releases = (line["release"], fused_with.get(line["way"]))
    found = [strictness[release_id] for release_id in releases if release_id is not None]
    return next((verdict for verdict in ("no", "unknown") if verdict in found), "yes")


def strictness_text(release: Document) -> str:
    """The strictness of a release: `yes: fitted on 0 and chosen on 0 of 120 tested products`."""
    counts = f"fitted on {release['fitted_on']:,} and chosen on {release['chosen_on']:,} of {release['tested']:,}"
    return f"{release['strict']}: {'; '.join((f'{counts} tested products', *release['why']))}"


def short_name(measure: str) -> str:
    """`average_precision` as mAP, `precision@15` as P@15."""
    kind, at, k = measure.partition("@")
    return f"{_SHORT_NAMES.get(kind, kind)}{at}{k}"


def figure(values: dict[str, Any] | None) -> str:
    """`0.823 [0.801, 0.845]`, or a dash if there is no value."""
    if values is None or values["mean"] is None:
        return "-"
    interval = "" if values["low"] is None else f" [{values['low']:.3f}, {values['high']:.3f}]"
    return f"{values['mean']:.3f}{interval}"


def _rows(document: Document) -> list[list[str]]:
    return [
        [
            line["release"],
            f"{line['gallery']}, {line['gallery_products']:,}",
            line["way"],
            strict_of(document, line),
            *(figure(line["measures"].get(name)) for name in document["plan"]["measures"]),
            "-" if line["milliseconds_a_query"] is None else f"{line['milliseconds_a_query']:.1f}",
        ]
        for line in document["lines"]
    ]


def _comparison_rows(document: Document) -> list[list[str]]:
    return [
        [
            one["second"]["release"],
            one["gallery"],
            one["second"]["way"],
            short_name(one["measure"]),
            "-" if one["difference"] is None else f"{one['difference']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]",
            "-" if one["p"] is None else f"{one['p']:.4f}",
        ]
        for one in document["comparisons"]
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    alignment = ["---" if head in _TEXT_COLUMNS else "---:" for head in heads]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, alignment, *rows]) + "\n"
