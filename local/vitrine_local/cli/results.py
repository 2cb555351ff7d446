"""What searches print: a table of the results, one for each garment of a look, and how long the search took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vitrine_local.cli.api import Json
from vitrine_local.cli.output import Column, Screen, count

# The attributes that get a column if a product has many.
_SHOWN_ATTRIBUTES: Final = ("gender", "articleType", "baseColour", "year")
_OTHER_ATTRIBUTES_SHOWN: Final = 4
_NOT_ATTRIBUTES: Final = frozenset({"id", "score", "confidence", "dataset", "image", "name"})


def show_look(screen: Screen, answer: Json) -> None:
    """Show each garment that was found with its results, and how long the search took."""
    garments: list[Json] = answer["garments"]
    for garment in garments:
        filters = "".join(f", {name} {' or '.join(values)}" for name, values in garment["filters"].items())
        nothing = ": nothing like this here" if garment["nothingLikeThis"] else ""
        screen.say(f"{garment['number']}. {garment['title']} ({garment['probability']:.0%}{filters}){nothing}")
        show_table(screen, garment["results"])
        screen.say()
    _note_end(screen, answer, f"{count(len(garments), 'garment')} found by {answer['parser']}")


def show_results(screen: Screen, answer: Json) -> None:
    """Show the results as a table, best first, and how long the search took."""
    if "garment" in answer:
        garment = answer["garment"]
        screen.note(f"garment {garment['number']}: {garment['title']} ({garment['probability']:.0%})")
    for hint in answer.get("hints", ()):
        screen.note(hint)
    show_table(screen, answer["results"])
    _note_end(screen, answer, f"{len(answer['results'])} of dataset {answer['dataset']}")


def show_table(screen: Screen, results: Sequence[Json]) -> None:
    """Show results as a table, best first."""
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


def _note_end(screen: Screen, answer: Json, what: str) -> None:
    if "calibratedFor" in answer:
        screen.note(f"confidence is calibrated for {answer['calibratedFor']}")
    took = answer["tookMs"]
    screen.note(
        f"{what}, release {answer['release']}, {answer['plan']} search: "
        f"{took['total']:.0f} ms (decode {took['decode']:.0f}, embed {took['embed']:.0f}, search {took['search']:.0f})"
    )


def shown_attributes(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The attributes that get a column: the usual ones if any is present, else the first few."""
    there = list(dict.fromkeys(name for result in results for name in result if name not in _NOT_ATTRIBUTES))
    return [name for name in _SHOWN_ATTRIBUTES if name in there] or there[:_OTHER_ATTRIBUTES_SHOWN]


def _scores(result: Json) -> list[str]:
    """The score, and the confidence if the answer has one."""
    score = f"{result['score']:.4f}"
    return [score, f"{result['confidence']:.2f}"] if "confidence" in result else [score]
