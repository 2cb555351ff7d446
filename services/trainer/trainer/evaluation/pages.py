"""The report of an evaluation as files: JSON, CSV, Markdown, and a page with pictures that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from trainer.evaluation.contest import Contest
from trainer.evaluation.document import Document, strict_of, strictness_told
from trainer.evaluation.gallery_pictures import best_and_worst, confused
from trainer.evaluation.lines import Line
from trainer.evaluation.tables import csv_text, facts, markdown, short_name
from trainer.reports.files import write_json

JSON_FILE: Final = "report.json"
CSV_FILE: Final = "report.csv"
MARKDOWN_FILE: Final = "report.md"
PAGE_FILE: Final = "index.html"
_TEMPLATE: Final = "report.html.j2"


def write_report(folder: Path, document: Document, lines: Sequence[Line], contest: Contest) -> list[str]:
    """Write the four files and return their names. The page's pictures are those of the first line."""
    folder.mkdir(parents=True, exist_ok=True)
    confusion = _confusion(lines[0], contest)
    told = {"kinds": [row["name"] for row in confusion], "shares": [row["shares"] for row in confusion]}
    write_json(folder / JSON_FILE, {**document, "confusion": told})
    (folder / CSV_FILE).write_text(csv_text(document), encoding="utf-8")
    (folder / MARKDOWN_FILE).write_text(markdown(document), encoding="utf-8")
    (folder / PAGE_FILE).write_text(page(document, lines[0], contest), encoding="utf-8")
    return [JSON_FILE, CSV_FILE, MARKDOWN_FILE, PAGE_FILE]


def page(document: Document, line: Line, contest: Contest) -> str:
    """The report as one HTML file."""
    measures = document["plan"]["measures"]
    best, worst = best_and_worst(line, contest, measure=measures[0])
    template = Environment(
        loader=PackageLoader("trainer.evaluation", "."), autoescape=True, undefined=StrictUndefined
    ).get_template(_TEMPLATE)
    return template.render(
        document=document,
        facts=facts(document).replace("`", ""),
        measures=measures,
        short=short_name,
        score_name=measures[0],
        strict_of=strict_of,
        strictness_told=strictness_told,
        best=best,
        worst=worst,
        confusion=_confusion(line, contest),
    )


def _confusion(line: Line, contest: Contest) -> list[dict[str, Any]]:
    """The kinds that were asked for or found, each with the shares of what it found."""
    table = confused(line, contest)
    used = [code for code in range(len(table)) if table[code].any() or table[:, code].any()]
    rows = []
    for place, code in enumerate(used):
        total = max(1, int(table[code].sum()))
        rows.append(
            {
                "name": contest.kinds[code],
                "place": place,
                "shares": [table[code, other] / total for other in used],
            }
        )
    return rows
