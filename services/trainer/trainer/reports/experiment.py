"""Report of an experiment: its results beside the published figures, as JSON, CSV, Markdown and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trainer.reports.evaluation import CSV_FILE, JSON_FILE, MARKDOWN_FILE, Document, figure
from trainer.reports.rendering import render_page
from vitrine.atomic_write import write_json, write_text
from vitrine.experiments import Experiment, Published

FORMAT_VERSION: Final = 2
PAGE_FILE: Final = "index.html"

_MEAN, _HITS = "average_precision", "precision@15"
_TEXT_HEADS: Final = ("evaluation", "release", "gallery", "way", "strict")
_HEADS: Final = (*_TEXT_HEADS, "mAP", "P@15", "published mAP", "published P@15")


def experiment_document(
    experiment: Experiment,
    *,
    evaluations: Sequence[Document],
    releases: Mapping[str, str],
    missing: Mapping[str, str],
) -> Document:
    """The report as a JSON document. `releases` are ids by step, `missing` the reasons of steps without a release."""
    return {
        "version": FORMAT_VERSION,
        "number": experiment.number,
        "title": experiment.title,
        "question": experiment.question,
        "releases": dict(releases),
        "missing": dict(missing),
        "evaluations": list(evaluations),
        "rows": _document_rows(experiment, evaluations, releases, missing),
    }


def write_experiment(folder: Path, document: Document) -> list[str]:
    """Write the four files and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON_FILE, document)
    write_text(folder / CSV_FILE, csv_text(document))
    write_text(folder / MARKDOWN_FILE, markdown(document))
    write_text(folder / PAGE_FILE, page(document))
    return [JSON_FILE, CSV_FILE, MARKDOWN_FILE, PAGE_FILE]


def markdown(document: Document) -> str:
    """The report in Markdown."""
    lines = [f"# Experiment {document['number']}: {document['title']}", "", document["question"], ""]
    lines.append(f"| {' | '.join(_HEADS)} |")
    lines.append(f"|{'---|' * 5}{'---:|' * 4}")
    lines += [f"| {' | '.join(_cells(row))} |" for row in document["rows"]]
    missing = _missing(document)
    if missing:
        lines += ["", "Not run here:", "", *(f"- {name}: {why}" for name, why in missing)]
    return "\n".join(lines) + "\n"


def csv_text(document: Document) -> str:
    """A CSV row for each row of the document."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    fields = ["evaluation", "release", "release_id", "gallery", "way", "strict"]
    figures = [f"{name}_{key}" for name in ("map", "precision_at_15") for key in ("mean", "low", "high")]
    writer.writerow([*fields, *figures, "published_map", "published_precision_at_15", "missing"])
    for row in document["rows"]:
        ours = [
            "" if values is None or values[key] is None else f"{values[key]:.6f}"
            for values in (row["ours"][_MEAN], row["ours"][_HITS])
            for key in ("mean", "low", "high")
        ]
        published = row["published"] or {}
        known = [published.get(_MEAN, ""), published.get(_HITS, "")]
        writer.writerow([*(row[field] or "" for field in fields), *ours, *known, row["missing"] or ""])
    return buffer.getvalue()


def page(document: Document) -> str:
    """The report as one HTML page, which links to the page of each evaluation."""
    rows = [{"cells": _cells(row), "missing": row["missing"]} for row in document["rows"]]
    return render_page("experiment.html.j2", document=document, heads=_HEADS, rows=rows, missing=_missing(document))


def _document_rows(
    experiment: Experiment, evaluations: Sequence[Document], releases: Mapping[str, str], missing: Mapping[str, str]
) -> list[Document]:
    """Each result with the figures that were published for it, then the published figures without a result."""
    published = {(one.evaluation, one.release, one.way): one for one in experiment.published}
    name_of = {release_id: name for name, release_id in releases.items()}
    rows = []
    for evaluation in evaluations:
        for line in evaluation["lines"]:
            name = name_of.get(line["release"], line["release"])
            known = published.pop((evaluation["name"], name, line["way"]), None)
            rows.append(
                {
                    **_row(evaluation["name"], name, line["way"], known),
                    "release_id": line["release"],
                    "gallery": line["gallery"],
                    "strict": line["strict"],
                    "ours": {measure: line["measures"].get(measure) for measure in (_MEAN, _HITS)},
                }
            )
    for (evaluation_name, name, way), one in published.items():
        rows.append({**_row(evaluation_name, name, way, one), "missing": missing.get(name) or "not measured here"})
    return rows


def _row(evaluation: str, release: str, way: str, published: Published | None) -> Document:
    """A row without a result."""
    known = None
    if published is not None:
        known = {
            "components": published.components,
            _MEAN: published.mean_average_precision,
            _HITS: published.precision_at_15,
        }
    return {
        "evaluation": evaluation,
        "release": release,
        "release_id": None,
        "way": way,
        "gallery": "all",
        "strict": None,
        "ours": {_MEAN: None, _HITS: None},
        "published": known,
        "missing": None,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    published = row["published"]
    known = ["", ""] if published is None else [f"{published[_MEAN]:.3f}", f"{published[_HITS]:.3f}"]
    ours = [figure(row["ours"][_MEAN]), figure(row["ours"][_HITS])]
    return [row["evaluation"], row["release"], row["gallery"], row["way"], row["strict"] or "", *ours, *known]


def _missing(document: Document) -> list[tuple[str, str]]:
    """What was not run, with the reasons."""
    evaluations = [(one["name"], one["missing"]) for one in document["evaluations"] if one["missing"] is not None]
    return [*document["missing"].items(), *evaluations]
