"""The report of an evaluation as tables: Markdown to read and to keep in a repository, CSV to compute with."""

from __future__ import annotations

import csv
import io
from typing import Any, Final

from trainer.evaluation.document import Document, strict_of, strictness_told

_SHORT: Final = {
    "average_precision": "mAP",
    "precision": "P",
    "recall": "R",
    "reciprocal_rank": "MRR",
    "r_precision": "R-P",
    "ndcg": "nDCG",
    "share_found": "found",
}


def short_name(measure: str) -> str:
    """`average_precision` as mAP, `precision@15` as P@15."""
    kind, at, k = measure.partition("@")
    return f"{_SHORT.get(kind, kind)}{at}{k}"


def markdown(document: Document) -> str:
    """The whole report in Markdown."""
    measures = document["plan"]["measures"]
    parts = [f"# {document['title']}\n", facts(document) + "\n"]
    parts.append(_table(_heads(measures), _rows(document, measures)))
    parts.append("\nStrict means that nothing was fitted or chosen on what is tested:\n")
    parts.append("\n".join(f"- `{one['id']}`: {strictness_told(one)}" for one in document["releases"]) + "\n")
    if document["comparisons"]:
        parts.append("\nEach line less the first of its gallery, over the same queries:\n")
        parts.append(_table(_COMPARISON_HEADS, _comparison_rows(document)))
    return "\n".join(parts) + "\n"


def facts(document: Document) -> str:
    """One paragraph: what was measured on what, by which protocol."""
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


def csv_text(document: Document) -> str:
    """One row for each line and measure."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(
        ["release", "gallery", "way", "strict", "measure", "mean", "low", "high", "queries", "left_out", "ms_a_query"]
    )
    for line in document["lines"]:
        for name, told in line["measures"].items():
            counted = [line["queries"], line["left_out"], line["milliseconds_a_query"]]
            figures = ["" if told[key] is None else f"{told[key]:.6f}" for key in ("mean", "low", "high")]
            named = [line["release"], line["gallery"], line["way"], strict_of(document, line)]
            writer.writerow([*named, name, *figures, *counted])
    return written.getvalue()


def figure(told: dict[str, Any] | None) -> str:
    """`0.823 [0.801, 0.845]`, or a dash where there is none."""
    if told is None or told["mean"] is None:
        return "-"
    interval = "" if told["low"] is None else f" [{told['low']:.3f}, {told['high']:.3f}]"
    return f"{told['mean']:.3f}{interval}"


def _heads(measures: list[str]) -> list[str]:
    return ["release", "gallery", "way", "strict", *map(short_name, measures), "ms a query"]


def _rows(document: Document, measures: list[str]) -> list[list[str]]:
    return [
        [
            line["release"],
            f"{line['gallery']}, {line['gallery_products']:,}",
            line["way"],
            strict_of(document, line),
            *(figure(line["measures"].get(name)) for name in measures),
            "-" if line["milliseconds_a_query"] is None else f"{line['milliseconds_a_query']:.1f}",
        ]
        for line in document["lines"]
    ]


_COMPARISON_HEADS: Final = ["release", "gallery", "way", "measure", "difference", "p"]


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


def _table(heads: list[str], rows: list[list[str]]) -> str:
    aligned = ["---" if head in ("release", "gallery", "way", "strict", "measure") else "---:" for head in heads]
    lines = [heads, aligned, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
