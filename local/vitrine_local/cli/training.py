"""`vitrine train`, `adapt` and `tune`: make a better release for a catalogue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vitrine.errors import ParameterInvalid
from vitrine.jobs import JobKind, JobRecord
from vitrine.jobs.params.releases import AdaptParams, TrainParams, TuneParams
from vitrine.parse_recipes import ParseRecipe, changed_parser
from vitrine.recipe_files import ParseRecipeFile, RecipeFile, read_chain, read_parser_chain
from vitrine.recipes import Recipe, changed
from vitrine_local.cli.api import Target, find_target
from vitrine_local.cli.following import job_params, run_job
from vitrine_local.cli.jobs import report_fault_counts
from vitrine_local.cli.options import (
    AsJson,
    Columns,
    Data,
    Dataset,
    Limit,
    NoWait,
    Reader,
    Release,
    Root,
    Subset,
    Url,
    assignments,
    mapping_of,
    screen_of,
)
from vitrine_local.cli.output import Column, Screen, duration
from vitrine_local.cli.paths import catalog_of, catalog_of_file, catalog_root, second_catalog, weights_path
from vitrine_local.cli.releases import find_release
from vitrine_local.errors import UsageInvalid

_FIGURES = (
    ("test_precision_at_15", "P@15, every product in the gallery"),
    ("test_mean_average_precision", "mAP, every product in the gallery"),
    ("unseen_precision_at_15", "P@15, unseen products only"),
    ("unseen_mean_average_precision", "mAP, unseen products only"),
    ("test_accuracy", "accuracy of the classifier"),
    ("mean_iou", "mean IoU of all kinds, photographs held out"),
    ("upper_and_outer_iou", "IoU of upper and outer garments as one"),
)
NewName = Annotated[str, typer.Option(metavar="NAME", help="The model name of the new release.")]


def train(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What is trained, from where, and how.")],
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of catalog.dataset of the recipe.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(metavar="READER", help="Instead of catalog.reader of the recipe.")
    ] = None,
    root: Annotated[Path | None, typer.Option(metavar="PATH", help="Instead of catalog.root of the recipe.")] = None,
    columns: Columns = None,
    limit: Limit = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE|seed:N|pretrained", help="Instead of model.weights of the recipe."),
    ] = None,
    release: Annotated[
        str | None, typer.Option(metavar="ID", help="Start from this release, whatever the recipe starts from.")
    ] = None,
    teacher: Annotated[str | None, typer.Option(metavar="ID", help="Instead of the teacher of the recipe.")] = None,
    unlabelled_dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The catalogue to learn from without labels.")
    ] = None,
    unlabelled_root: Annotated[Path | None, typer.Option(metavar="PATH", help="Its folder.")] = None,
    unlabelled_reader: Annotated[str | None, typer.Option(metavar="READER", help="How it is laid out.")] = None,
    street: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Outlined street photographs, for recipes with street garments."),
    ] = None,
    outlined: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="More outlined photographs, for a parser: it is trained on all of them."),
    ] = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Train the recipe, and first the recipes it continues, unless --release names the start.

    Raises ParameterInvalid for a recipe that is not valid, and CommandFailed if a job does not succeed.
    """
    screen, target = screen_of(context), find_target(url, data)
    chain: tuple[RecipeFile | ParseRecipeFile, ...] = read_parser_chain(recipe) or read_chain(recipe)
    if release is not None:
        chain = chain[-1:]
    *before, last = chain
    if before and no_wait:
        raise ParameterInvalid(
            f"the recipe continues other recipes ({len(before)}), which are trained first: "
            "leave out --no-wait, or name the --release to start from"
        )

    def run(
        file: RecipeFile | ParseRecipeFile,
        report: Callable[[Screen, JobRecord], None],
        *,
        print_json: bool = False,
        **changes: str | None,
    ) -> JobRecord | None:
        catalog = catalog_of_file(
            target,
            file.catalog,
            file="recipe",
            dataset=dataset,
            reader=reader,
            root=root,
            limit=limit,
            columns=mapping_of(columns),
        )
        unlabelled = second_catalog(
            target, "unlabelled", dataset=unlabelled_dataset, reader=unlabelled_reader, root=unlabelled_root
        )
        trained = _changed(file.recipe, target, **changes)
        folders: dict[str, str] = {}
        if street is not None and isinstance(trained, Recipe) and trained.street is not None:
            folders["street"] = catalog_root(target, street)
        if outlined is not None and isinstance(trained, ParseRecipe):
            folders["outlined"] = catalog_root(target, outlined)
        params = job_params(TrainParams, **catalog, recipe=trained.as_json(), unlabelled=unlabelled, **folders)
        doing = f"training {trained.name}"
        return run_job(
            screen,
            target,
            JobKind.TRAIN,
            params,
            no_wait=no_wait,
            as_json=print_json,
            doing=doing,
            title="train",
            report=report,
        )

    for file in before:
        # With --json only the last job is printed.
        record = run(file, _nothing if as_json else _report, weights=weights, release=release)
        assert record is not None
        assert record.result is not None
        release, weights = str(record.result["release_id"]), None
    run(last, _report, print_json=as_json, weights=weights, release=release, teacher=teacher)


def adapt(
    context: typer.Context,
    release: Annotated[str, typer.Argument(metavar="RELEASE", help="The release that is adapted.")],
    name: NewName,
    dataset: Dataset,
    root: Root,
    reader: Reader = None,
    columns: Columns = None,
    limit: Limit = None,
    target_dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The catalogue to adapt to; by default the same.")
    ] = None,
    target_root: Annotated[Path | None, typer.Option(metavar="PATH", help="Its folder.")] = None,
    target_reader: Annotated[str | None, typer.Option(metavar="READER", help="How it is laid out.")] = None,
    share: Annotated[float, typer.Option(metavar="0..1", help="How far the statistics move; 1 is all the way.")] = 1.0,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises CommandFailed if the job does not succeed."""
    api = find_target(url, data)
    params = job_params(
        AdaptParams,
        **catalog_of(api, dataset, reader, root, limit=limit, columns=mapping_of(columns)),
        release_id=release,
        name=name,
        share=share,
        target=second_catalog(api, "target", dataset=target_dataset, reader=target_reader, root=target_root),
    )
    run_job(
        screen_of(context),
        api,
        JobKind.ADAPT,
        params,
        no_wait=no_wait,
        as_json=as_json,
        doing=f"adapting {release}",
        title="adapt",
        report=_report,
    )


def tune(
    context: typer.Context,
    release: Release,
    name: NewName,
    dataset: Dataset,
    root: Root,
    reader: Reader = None,
    columns: Columns = None,
    limit: Limit = None,
    subset: Subset = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MEASURE=WEIGHT",
            help="A measure to optimise; may be repeated. By default average_precision=1 and precision@15=1.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="ATTRIBUTE", help="The attribute relevant products share; by default articleType."),
    ] = None,
    augment: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Make a second release, NAME_augmented: when it is indexed, each gallery vector is smoothed with N "
            "neighbours.",
        ),
    ] = 0,
    augment_alpha: Annotated[
        float, typer.Option(metavar="A", help="Weigh each neighbour by its score to this power.")
    ] = 0.0,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises CommandFailed if the job does not succeed."""
    screen, target = screen_of(context), find_target(url, data)
    rules: dict[str, Any] = {"subset": subset} if subset else {}
    if label:
        rules |= {"label": label, "relevance": [label]}
    weights = {measure: _weight(value) for measure, value in assignments("--objective", objective or ())}
    params = job_params(
        TuneParams,
        **catalog_of(target, dataset, reader, root, limit=limit, columns=mapping_of(columns)),
        release_id=find_release(target, release),
        name=name,
        augment=augment,
        augment_alpha=augment_alpha,
        data=rules,
        objective=weights or None,
    )
    record = run_job(
        screen,
        target,
        JobKind.TUNE,
        params,
        no_wait=no_wait,
        as_json=as_json,
        doing=f"tuning {release}",
        title="tune",
        report=report_fault_counts,
    )
    if record is not None and record.result is not None:
        result = record.result
        whitened = "whitened" if result["whiten"] else "not whitened"
        screen.say(
            f"{result['dim']} components, {whitened}, of {result['tried']} tried; "
            f"validation objective {result['validation_objective']:.3f}"
        )
        screen.say(f"release: {result['release_id']}")
        if "augmented_release_id" in result:
            screen.say(f"with an augmented gallery: {result['augmented_release_id']}")


def _changed(
    recipe: Recipe | ParseRecipe,
    target: Target,
    *,
    weights: str | None = None,
    release: str | None = None,
    teacher: str | None = None,
) -> Recipe | ParseRecipe:
    """The recipe with the given changes. Raises ParameterInvalid if they do not fit it."""
    path = None if weights is None else weights_path(target, weights)
    if isinstance(recipe, ParseRecipe):
        if teacher is not None:
            raise ParameterInvalid("a parser has no teacher: leave out --teacher")
        if release is None and recipe.model.release is None and path is None:
            path = weights_path(target, recipe.model.weights)
        return changed_parser(recipe, weights=path, release=release)
    recipe = changed(recipe, weights=path, release=release, teacher=teacher)
    if recipe.model.release is not None or path is not None:
        return recipe
    return changed(recipe, weights=weights_path(target, recipe.model.weights))


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageInvalid(f"--objective takes MEASURE=WEIGHT with a number, not {text!r}") from None


def _nothing(screen: Screen, record: JobRecord) -> None: ...


def _report(screen: Screen, record: JobRecord) -> None:
    for note in record.notes:
        screen.say(f"{note.at[:19].replace('T', ' ')}  {note.text}")
    report_fault_counts(screen, record)
    result = record.result
    if result is None:
        return
    figures = [(name, f"{result[key]:.3f}") for key, name in _FIGURES if key in result]
    if figures:
        screen.table([Column("measured"), Column("", right=True)], figures)
    seconds = result.get("training_seconds", result.get("seconds"))
    took = f" in {duration(seconds)}" if isinstance(seconds, int | float) else ""
    screen.say(f"release: {result.get('release_id')}{took}")
