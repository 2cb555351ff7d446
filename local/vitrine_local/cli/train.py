"""`vitrine train` and `vitrine adapt`: from a catalogue to a better release."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitrine.errors import ParameterInvalid
from vitrine.jobs import JobRecord
from vitrine.recipe_files import RecipeFile, read_chain
from vitrine.recipes import Recipe, changed
from vitrine_local.cli.catalogs import catalog_of_file, named_catalog, other_catalog
from vitrine_local.cli.job_report import report_fault_counts
from vitrine_local.cli.job_run import run_job
from vitrine_local.cli.options import (
    Commands,
    add_catalog,
    add_json,
    add_limit,
    add_target,
    target_of,
    weights_path,
)
from vitrine_local.cli.screen import Column, Screen, duration
from vitrine_local.cli.target import Target

_FIGURES = (
    ("test_precision_at_15", "P@15, every product in the gallery"),
    ("test_mean_average_precision", "mAP, every product in the gallery"),
    ("unseen_precision_at_15", "P@15, unseen products only"),
    ("unseen_mean_average_precision", "mAP, unseen products only"),
    ("test_accuracy", "accuracy of the classifier"),
)


def add_to(commands: Commands) -> None:
    train = commands.add("train", run_train, "train a network by a recipe, and make a release of it")
    train.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what is trained, from where, and how")
    train.add_argument("--dataset", metavar="NAME", help="instead of the recipe's catalog.dataset")
    train.add_argument("--reader", help="instead of the recipe's catalog.reader")
    train.add_argument("--root", type=Path, metavar="PATH", help="instead of the recipe's catalog.root")
    add_limit(train)
    train.add_argument("--weights", metavar="FILE|seed:N|pretrained", help="instead of the recipe's model.weights")
    train.add_argument(
        "--release", metavar="ID", help="start from it, instead of what the recipe names or goes on after"
    )
    train.add_argument("--teacher", metavar="ID", help="instead of the recipe's teacher")
    for what in ("dataset", "root", "reader"):
        train.add_argument(
            f"--unlabelled-{what}", metavar=what.upper(), help="of the catalogue to learn from without labels"
        )
    adapt = commands.add("adapt", run_adapt, "adapt a release's batch normalisation to a catalogue, without labels")
    adapt.add_argument("release", metavar="RELEASE", help="the release that is adapted")
    adapt.add_argument("--name", required=True, help="the model's name of the new release")
    add_catalog(adapt)
    adapt.add_argument("--target-dataset", metavar="NAME", help="the catalogue to adapt to (default: the same)")
    adapt.add_argument("--target-root", type=Path, metavar="PATH", help="its folder")
    adapt.add_argument("--target-reader", metavar="READER", help="how it is laid out")
    adapt.add_argument(
        "--share", type=float, default=1.0, metavar="0..1", help="how far the statistics move (default: 1, all the way)"
    )
    for parser in (train, adapt):
        parser.add_argument("--no-wait", action="store_true", help="start the job, print its id and leave")
        add_json(parser)
        add_target(parser)


def run_train(arguments: argparse.Namespace, screen: Screen) -> int:
    """Train the recipe, and before it those that it goes on after, unless --release names what it starts from.

    Returns 0 when the release is stored (with --no-wait: when the job is queued). Raises ParameterInvalid for a recipe
    that is none, CommandFailed where a job does not succeed.
    """
    chain, target = read_chain(arguments.recipe), target_of(arguments)
    release = arguments.release
    if release is not None:
        chain = chain[-1:]
    *before, last = chain
    if before and arguments.no_wait:
        raise ParameterInvalid(
            f"the recipe goes on after other recipes ({len(before)}), which are trained first and waited for: "
            "leave --no-wait out, or name the --release to start from"
        )
    weights = arguments.weights
    for file in before:
        recipe = _changed(file.recipe, target, weights=weights, release=release)
        release, weights = _release_of(file._replace(recipe=recipe), arguments, screen, target), None
    recipe = _changed(last.recipe, target, weights=weights, release=release, teacher=arguments.teacher)
    _run(last._replace(recipe=recipe), arguments, screen, target, _report)
    return 0


def _release_of(file: RecipeFile, arguments: argparse.Namespace, screen: Screen, target: Target) -> str:
    """Train what the recipe that was asked for goes on from. With --json nothing is told of it."""
    followed = argparse.Namespace(**{**vars(arguments), "json": False})
    record = _run(file, followed, screen, target, _nothing if arguments.json else _report)
    assert record is not None
    assert record.result is not None
    return str(record.result["release_id"])


def _run(
    file: RecipeFile,
    arguments: argparse.Namespace,
    screen: Screen,
    target: Target,
    report: Callable[[Screen, JobRecord], None],
) -> JobRecord | None:
    body = {
        **catalog_of_file(arguments, file.catalog, target, file="recipe"),
        "recipe": file.recipe.as_json(),
        "unlabelled": other_catalog(arguments, "unlabelled", target),
    }
    doing = f"training {file.recipe.name}"
    return run_job(arguments, screen, target, "/api/jobs/train", body, doing=doing, title="train", report=report)


def run_adapt(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns as `run_train` does. Raises CommandFailed where the job does not succeed."""
    target = target_of(arguments)
    body: dict[str, Any] = {
        **named_catalog(arguments, target),
        "release_id": arguments.release,
        "name": arguments.name,
        "share": arguments.share,
    }
    body["target"] = other_catalog(arguments, "target", target)
    doing = f"adapting {arguments.release}"
    run_job(arguments, screen, target, "/api/jobs/adapt", body, doing=doing, title="adapt", report=_report)
    return 0


def _changed(
    recipe: Recipe, target: Target, *, weights: str | None, release: str | None, teacher: str | None = None
) -> Recipe:
    """The recipe with what is given instead. Raises ParameterInvalid where the two do not go together."""
    path = None if weights is None else weights_path(target, weights)
    recipe = changed(recipe, weights=path, release=release, teacher=teacher)
    if recipe.model.release is not None or path is not None:
        return recipe
    return changed(recipe, weights=weights_path(target, recipe.model.weights))


def _nothing(screen: Screen, record: JobRecord) -> None: ...


def _report(screen: Screen, record: JobRecord) -> None:
    for note in record.notes:
        screen.say(f"{note.at[:19].replace('T', ' ')}  {note.text}")
    report_fault_counts(screen, record)
    result = record.result
    if result is None:
        return
    figures = [(told, f"{result[name]:.3f}") for name, told in _FIGURES if name in result]
    if figures:
        screen.table([Column("on the test part"), Column("", right=True)], figures)
    seconds = result.get("training_seconds", result.get("seconds"))
    took = f" in {duration(seconds)}" if isinstance(seconds, int | float) else ""
    screen.say(f"release: {result.get('release_id')}{took}")
