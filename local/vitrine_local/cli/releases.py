"""`vitrine release` and `vitrine index`: create releases, index a catalogue with one, choose the one that serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from vitrine.jobs import JobKind
from vitrine.jobs.params.catalog import IndexParams
from vitrine.jobs.params.releases import ProjectParams
from vitrine.qdrant.naming import RELEASE_ID
from vitrine_local.cli.api import Api, Json, Target, find_target
from vitrine_local.cli.following import job_params, run_job
from vitrine_local.cli.jobs import report_job
from vitrine_local.cli.options import (
    AsJson,
    Columns,
    Data,
    Dataset,
    Limit,
    Model,
    NoWait,
    Reader,
    Root,
    Subset,
    Url,
    assignments,
    mapping_of,
    model_name,
    option_value,
    screen_of,
)
from vitrine_local.cli.output import Column
from vitrine_local.cli.paths import catalog_of, weights_path
from vitrine_local.errors import CommandFailed, UsageInvalid

app = typer.Typer(rich_markup_mode=None, add_completion=False)
ReleaseId = Annotated[str, typer.Argument(metavar="ID", help="The release.")]


@app.command("create", help="Make a release: a network, its weights, and a projection fitted on a catalogue.")
def create(
    context: typer.Context,
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="A model of the table, or any other model of timm as timm:NAME.")
    ],
    dataset: Dataset,
    root: Root,
    reader: Reader = None,
    columns: Columns = None,
    limit: Limit = None,
    weights: Annotated[
        str,
        typer.Option(
            metavar="FILE|seed:N|pretrained", help="A safetensors file, random weights, or those that timm downloads."
        ),
    ] = "pretrained",
    weights_trained_on: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What the weights of a file were trained on, e.g. ImageNet; by default evaluations call it unknown.",
        ),
    ] = None,
    subset: Subset = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="ATTRIBUTE", help="The attribute the split is stratified by; by default articleType."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An option of the architecture that the weights need, e.g. pad_type=same; may be repeated.",
        ),
    ] = None,
    components: Annotated[int, typer.Option(metavar="N", help="Components of a vector.")] = 128,
    no_whiten: Annotated[bool, typer.Option("--no-whiten", help="Project without whitening.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the split, the sample and the PCA.")] = 0,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises CommandFailed if the job does not succeed."""
    screen, target = screen_of(context), find_target(url, data)
    rules = {"subset": subset, "label": label}
    params = job_params(
        ProjectParams,
        **catalog_of(target, dataset, reader, root, limit=limit, columns=mapping_of(columns)),
        model=model,
        weights=weights_path(target, weights),
        weights_trained_on=weights_trained_on,
        data={name: value for name, value in rules.items() if value},
        options={name: option_value(value) for name, value in assignments("--option", option or ())},
        components=components,
        whiten=not no_whiten,
        seed=seed,
    )
    record = run_job(
        screen,
        target,
        JobKind.PROJECT,
        params,
        no_wait=no_wait,
        as_json=as_json,
        doing=f"making a release of {model}",
        title="release",
        report=report_job,
    )
    if record is not None:
        screen.say(f"release: {(record.result or {}).get('release_id')}")


@app.command("list", help="List the releases and where each is indexed.")
def list_releases(context: typer.Context, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    screen = screen_of(context)
    with Api(find_target(url, data)) as api:
        answer = api.get("/api/releases")
    if as_json:
        screen.json(answer)
    elif not answer["releases"]:
        screen.say("there are no releases yet: make one with `vitrine release create`")
    else:
        screen.table(
            [Column("release"), Column("model"), Column("kind"), Column("components", right=True), Column("indexed")],
            [
                (
                    item["id"],
                    item["model"],
                    item["kind"],
                    item["dim"],
                    ", ".join(_collection(found) for found in item["collections"]),
                )
                for item in answer["releases"]
            ],
        )


@app.command("show", help="Show one release.")
def show(
    context: typer.Context, release_id: ReleaseId, as_json: AsJson = False, url: Url = None, data: Data = None
) -> None:
    """Raises CommandFailed if the release is unknown."""
    screen = screen_of(context)
    with Api(find_target(url, data)) as api:
        answer = api.get("/api/releases")
    release = _find(answer["releases"], release_id)
    if as_json:
        screen.json(release)
        return
    unknown = "none: it finds garments" if release["kind"] == "parser" else "unknown: its manifest cannot be read"
    dim = release["dim"] if release["dim"] is not None else unknown
    screen.say(f"release      {release['id']}")
    screen.say(f"model        {release['model']}")
    screen.say(f"components   {dim}")
    screen.say(f"stored       {'yes' if release['stored'] else 'no: it is indexed, but its files are gone'}")
    for collection in release["collections"]:
        screen.say(f"indexed      {_collection(collection)}")


@app.command("activate", help="Let an indexed release serve its model.")
def activate(
    context: typer.Context,
    release_id: ReleaseId,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The dataset; by default the only one it is indexed for.")
    ] = None,
    collection: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of its collections; by default the newest that is ready.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    screen = screen_of(context)
    named = {"dataset": dataset, "collection": collection}
    parameters = {name: value for name, value in named.items() if value}
    with Api(find_target(url, data)) as api:
        answer = api.post(f"/api/releases/{release_id}/activate", {}, **parameters)
    if as_json:
        screen.json(answer)
        return
    screen.say(f"{answer['release']} serves {answer['model']} in {answer['dataset']}")
    if answer["previousCollection"] and answer["previousCollection"] != answer["collection"]:
        back = (
            f"vitrine release activate {answer['previous']} --dataset {answer['dataset']} "
            f"--collection {answer['previousCollection']}"
        )
        screen.note(f"to go back: `{back}`")


def index(
    context: typer.Context,
    dataset: Dataset,
    root: Root,
    model: Model,
    reader: Reader = None,
    columns: Columns = None,
    limit: Limit = None,
    release: Annotated[
        str | None, typer.Option(metavar="ID", help="The release; by default the newest of the model.")
    ] = None,
    allow_removal: Annotated[
        bool,
        typer.Option(
            "--allow-removal",
            help="Index even if more than a fifth of the products that are served would be removed.",
        ),
    ] = False,
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help="Download pictures that are links and not in the folder, from the hosts in VITRINE_DOWNLOAD_HOSTS.",
        ),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Read every picture, also those whose file has not changed.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(metavar="INTERVAL", help="Index again and again, for example every 30min, 6h or 1d."),
    ] = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises CommandFailed if the job does not succeed."""
    target = find_target(url, data)
    params = job_params(
        IndexParams,
        **catalog_of(target, dataset, reader, root, limit=limit, columns=mapping_of(columns)),
        model=model_name(model),
        release_id=release,
        allow_removal=allow_removal,
        full=full,
        every=every,
        download=download,
    )
    run_job(
        screen_of(context),
        target,
        JobKind.INDEX,
        params,
        no_wait=no_wait,
        as_json=as_json,
        doing=f"indexing {dataset} with {release or model}",
        title="index",
        report=report_job,
    )


def find_release(target: Target, named: str) -> str:
    """The id of a release, or the release that serves a model. Raises UsageInvalid if no or more than one does."""
    if RELEASE_ID.fullmatch(named):
        return named
    with Api(target) as api:
        details = api.get("/api/models")["details"]
    serving = sorted({detail["release"] for detail in details if detail["model"] == model_name(named)})
    if len(serving) != 1:
        why = "no release serves it" if not serving else f"several serve it: {', '.join(serving)}"
        raise UsageInvalid(f"{named!r} is no release, and as a model {why}; `vitrine release list` lists them")
    return str(serving[0])


def _find(releases: list[Json], release_id: str) -> Json:
    for release in releases:
        if release["id"] == release_id:
            return release
    raise CommandFailed(f"there is no release {release_id!r}; `vitrine release list` lists them")


def _collection(collection: Mapping[str, Any]) -> str:
    state = "serving" if collection["serving"] else collection["state"]
    return f"{collection['dataset']} ({collection['products']:,} products, {state})"
