"""`vitrine search`: the products that look most like a picture."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrine_local.cli.api import Api, Json
from vitrine_local.cli.options import (
    Commands,
    add_json,
    add_model,
    add_target,
    assignments,
    model_name,
    target_of,
    whole_number,
)
from vitrine_local.cli.screen import Column, Screen
from vitrine_local.cli.sheet import SheetResult, write_sheet
from vitrine_local.errors import CommandFailed, UsageInvalid

# What is worth a column where there are many attributes.
_SHOWN_ATTRIBUTES = ("gender", "articleType", "baseColour", "year")
_OTHER_ATTRIBUTES_SHOWN = 4
_NOT_ATTRIBUTES = frozenset({"id", "score", "confidence", "dataset", "image", "name"})


def add_to(commands: Commands) -> None:
    parser = commands.add("search", run, "find the products that look most like a picture")
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the picture: JPEG, PNG or WebP")
    add_model(parser)
    parser.add_argument(
        "--k", type=whole_number(at_least=1), default=15, metavar="N", help="how many products (default: 15)"
    )
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="only products with this value, e.g. gender=Women, yearMin=2012; a field repeated means either value",
    )
    parser.add_argument("--dataset", metavar="NAME", help="the dataset (default: the only one that is served)")
    parser.add_argument("--min-score", type=float, metavar="S", help="leave out products less similar than S (-1 to 1)")
    parser.add_argument(
        "--min-confidence", type=float, metavar="P", help="leave out products less likely of the query's kind (0 to 1)"
    )
    parser.add_argument("--group-by", metavar="FIELD", help="at most one product for each value of the field")
    parser.add_argument(
        "--expand", type=whole_number(at_least=0), metavar="N", help="expand the query by the N nearest"
    )
    parser.add_argument(
        "--cutout", action="store_true", help="cut the garment out of its background: for your own photographs"
    )
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="write the query and its results as one picture")
    add_json(parser)
    add_target(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 when the search was answered, be it with no product. Raises CommandFailed."""
    picture = read_query(arguments.image)
    fields = search_fields(
        filters=assignments("--filter", arguments.filter),
        model=model_name(arguments.model),
        topK=arguments.k,
        dataset=arguments.dataset,
        minScore=arguments.min_score,
        minConfidence=arguments.min_confidence,
        groupBy=arguments.group_by,
        expand=arguments.expand,
        cutout="true" if arguments.cutout else None,
    )
    with Api(target_of(arguments)) as api:
        answer = api.post_picture("/api/search", picture, fields)
        if arguments.sheet is not None:
            _write_sheet(api, arguments.sheet, picture, answer)
    if arguments.json:
        screen.json(answer)
        return 0
    show_results(screen, answer)
    if arguments.sheet is not None:
        screen.note(f"written: {arguments.sheet}")
    return 0


def read_query(path: Path) -> bytes:
    """The bytes of the query picture. Raises UsageInvalid where the file cannot be read."""
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise UsageInvalid(f"the picture {path} cannot be read: {error.strerror}") from error


def search_fields(filters: Sequence[tuple[str, str]], **options: str | int | float | None) -> dict[str, list[str]]:
    """The fields of a search's form. Options that are None are left out."""
    fields = {name: [str(value)] for name, value in options.items() if value is not None}
    for name, value in filters:
        if name in options:
            raise UsageInvalid(f"{name} is no field to filter on: it is an option of its own")
        fields.setdefault(name, []).append(value)
    return fields


def show_results(screen: Screen, answer: Json) -> None:
    """The results as a table, best first, and what the search took."""
    results: list[Json] = answer["results"]
    if not results:
        screen.say("no product matches")
    else:
        shown = shown_attributes(results)
        likely = [Column("confidence", right=True)] if "confidence" in results[0] else []
        screen.table(
            [
                Column("rank", right=True),
                Column("id", right=True),
                Column("name", cut=True),
                *(Column(name) for name in shown),
                Column("score", right=True),
                *likely,
            ],
            [
                (rank, result["id"], result.get("name"), *(result.get(name) for name in shown), *_scores(result))
                for rank, result in enumerate(results, start=1)
            ],
        )
    if "calibratedFor" in answer:
        screen.note(f"confidence is calibrated for {answer['calibratedFor']}")
    took = answer["tookMs"]
    screen.note(
        f"{len(results)} of dataset {answer['dataset']}, release {answer['release']}, {answer['plan']} search: "
        f"{took['total']:.0f} ms (decode {took['decode']:.0f}, embed {took['embed']:.0f}, search {took['search']:.0f})"
    )


def shown_attributes(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The attributes that get a column: the usual ones where there are any, else the first few."""
    there = list(dict.fromkeys(name for result in results for name in result if name not in _NOT_ATTRIBUTES))
    return [name for name in _SHOWN_ATTRIBUTES if name in there] or there[:_OTHER_ATTRIBUTES_SHOWN]


def _scores(result: Json) -> list[str]:
    """The score, and how likely it is right where that is told."""
    score = f"{result['score']:.4f}"
    return [score, f"{result['confidence']:.2f}"] if "confidence" in result else [score]


def _write_sheet(api: Api, file: Path, query: bytes, answer: Json) -> None:
    results = [
        SheetResult(
            picture=api.picture(result["image"]),
            score=result["score"],
            name=str(result.get("name") or result["id"]),
        )
        for result in answer["results"]
    ]
    try:
        write_sheet(file, query, results)
    except (OSError, ValueError) as error:  # Pillow answers an unknown suffix with ValueError
        raise CommandFailed(f"the sheet cannot be written to {file}: {error}") from error
