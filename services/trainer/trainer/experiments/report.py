"""The report of an experiment: one document as JSON, CSV, Markdown and a page, ours beside the published figures."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from trainer.evaluation.tables import figure
from trainer.experiments.running import Document
from trainer.reports.files import write_json

PAGE_FILE: Final = "index.html"
_TEMPLATE: Final = "experiment.html.j2"
_MEAN, _HITS = "average_precision", "precision@15"
_HEADS: Final = [
    "evaluation", "release", "gallery", "way", "strict", "mAP", "P@15", "published mAP", "published P@15"
]  # fmt: skip


def write_experiment(folder: Path, document: Document) -> list[str]:
    """Write the four files and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", document)
    (folder / "report.csv").write_text(csv_text(document), encoding="utf-8")
    (folder / "report.md").write_text(markdown(document), encoding="utf-8")
    (folder / PAGE_FILE).write_text(page(document), encoding="utf-8")
    return ["report.json", "report.csv", "report.md", PAGE_FILE]


def markdown(document: Document) -> str:
    """The whole report in Markdown."""
    lines = [f"# Experiment {document['number']}: {document['title']}", "", document["question"], ""]
    lines.append(f"| {' | '.join(_HEADS)} |")
    lines.append(f"|{'---|' * 5}{'---:|' * 4}")
    lines += [f"| {' | '.join(cells(row))} |" for row in document["rows"]]
    missing = _missing(document)
    if missing:
        lines += ["", "Not run here:", "", *(f"- {name}: {why}" for name, why in missing)]
    return "\n".join(lines) + "\n"


def csv_text(document: Document) -> str:
    """One row for each line."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    heads = ["evaluation", "release", "release_id", "gallery", "way", "strict"]
    figures = [f"{name}_{key}" for name in ("map", "precision_at_15") for key in ("mean", "low", "high")]
    writer.writerow([*heads, *figures, "published_map", "published_precision_at_15", "missing"])
    for row in document["rows"]:
        ours = [
            "" if told is None or told[key] is None else f"{told[key]:.6f}"
            for told in (row["ours"][_MEAN], row["ours"][_HITS])
            for key in ("mean", "low", "high")
        ]
        published = row["published"] or {}
        writer.writerow(
            [*(row[head] or "" for head in heads), *ours, published.get(_MEAN, ""), published.get(_HITS, ""),
             row["missing"] or ""]
        )  # fmt: skip
    return written.getvalue()


def page(document: Document) -> str:
    """The report as one HTML file, which links to a page with pictures for each evaluation."""
    template = Environment(
        loader=PackageLoader("trainer.experiments", "."), autoescape=True, undefined=StrictUndefined
    ).get_template(_TEMPLATE)
    rows = [{"cells": cells(row), "missing": row["missing"]} for row in document["rows"]]
    return template.render(document=document, heads=_HEADS, rows=rows, missing=_missing(document))


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the main table."""
    published = row["published"]
    known = ["", ""] if published is None else [f"{published[_MEAN]:.3f}", f"{published[_HITS]:.3f}"]
    ours = [figure(row["ours"][_MEAN]), figure(row["ours"][_HITS])]
    return [row["evaluation"], row["release"], row["gallery"], row["way"], row["strict"] or "", *ours, *known]


def _missing(document: Document) -> list[tuple[str, str]]:
    """What was not run, and why."""
    evaluations = [(one["name"], one["missing"]) for one in document["evaluations"] if one["missing"] is not None]
    return [*document["missing"].items(), *evaluations]
