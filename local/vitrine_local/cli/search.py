"""`vitrine search` finds the products that look most like a picture, or like each picture of a folder; `vitrine
explain` shows why one does.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from vitrine_client import Query
from vitrine_client.batches import DEFAULT_CONCURRENCY
from vitrine_client.options import SearchOptions
from vitrine_local.cli.api import Api, Json, find_target, local_errors
from vitrine_local.cli.options import (
    AsJson,
    Data,
    Model,
    OneDataset,
    Url,
    assignments,
    model_name,
    screen_of,
)
from vitrine_local.cli.output import ProgressDisplay, Screen, count
from vitrine_local.cli.results import show_look, show_results
from vitrine_local.errors import CommandFailed, UsageInvalid

# An overloaded server is waited for: a batch has no one who would ask again.
_BATCH_RETRIES: Final = 5
_OUTPUTS: Final = ".jsonl or .csv"

Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture.")]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="N|X,Y,WIDTH,HEIGHT",
        help="Only one garment, by its number, or a part of the picture in fractions of its sides.",
    ),
]
Images = Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture, or with --output a folder of pictures.")]


def search(
    context: typer.Context,
    image: Images,
    model: Model,
    k: Annotated[int, typer.Option(metavar="N", min=1, help="How many products.")] = 15,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="FIELD=VALUE",
            help="Only products with this value, e.g. gender=Women, yearMin=2012. May be repeated; a field repeated "
            "means either value.",
        ),
    ] = None,
    dataset: OneDataset = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="S", help="Leave out products less similar than S (-1 to 1).")
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(metavar="P", help="Leave out products less likely to be of the query's kind (0 to 1)."),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(metavar="FIELD", help="At most one product for each value of the field.")
    ] = None,
    expand: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Expand the query by its N nearest products.")
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(metavar="auto", help="Search with each garment in the picture, such as a photograph of a person."),
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(metavar="P", help="With --regions: leave out garments less probable than P (0 to 1)."),
    ] = None,
    region: Region = None,
    cutout: Annotated[
        bool, typer.Option("--cutout", help="Cut the garment out of its background: for your own photographs.")
    ] = False,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write the query and its results as one picture.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the results of each picture to a .jsonl or .csv file. Pictures that it has are skipped.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="With --output: searches at a time.")
    ] = DEFAULT_CONCURRENCY,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Succeeds if the search was answered, even with no product. Raises CommandFailed."""
    screen, pairs = screen_of(context), assignments("--filter", filters or ())
    fields = search_fields(
        filters=pairs,
        model=model_name(model),
        topK=k,
        dataset=dataset,
        minScore=min_score,
        minConfidence=min_confidence,
        groupBy=group_by,
        expand=expand,
        cutout="true" if cutout else None,
        region=region,
        regions=regions,
        minProbability=min_probability,
    )
    if output is not None or image.expanduser().is_dir():
        options = SearchOptions(
            model=model_name(model),
            top_k=k,
            dataset=dataset,
            min_score=min_score,
            min_confidence=min_confidence,
            group_by=group_by,
            expand=expand,
            cutout=cutout or None,
            region=region,
        )
        _check_batch(image, output, of_one=sheet is not None or as_json or regions is not None)
        with Api(find_target(url, data), max_retries=_BATCH_RETRIES) as api:
            _search_all(api, screen, image, output or image, pairs, options, concurrency)
        return
    if sheet is not None and regions is not None:
        raise UsageInvalid("--sheet shows one ranking: search with one garment, --region N")
    picture = read_query(image)
    with Api(find_target(url, data)) as api:
        answer = api.post_picture("/api/search", picture, fields)
        if sheet is not None:
            _write_sheet(api, sheet, picture, answer)
    if as_json:
        screen.json(answer)
        return
    show_look(screen, answer) if answer.get("garments") else show_results(screen, answer)
    if sheet is not None:
        screen.note(f"written: {sheet}")


def _check_batch(image: Path, output: Path | None, *, of_one: bool) -> None:
    """Raise UsageInvalid for options that a batch does not go with."""
    if output is None:
        raise UsageInvalid(f"{image} is a folder: name a {_OUTPUTS} file for the results with --output")
    if of_one:
        raise UsageInvalid("--sheet, --json and --regions are for one picture; --output writes a file")


def _search_all(
    api: Api,
    screen: Screen,
    image: Path,
    output: Path,
    filters: Sequence[tuple[str, str]],
    options: SearchOptions,
    concurrency: int,
) -> None:
    """Search with each picture of a folder. Raises CommandFailed if none could be searched with."""
    by_name: dict[str, list[str]] = {}
    for name, value in filters:
        by_name.setdefault(name, []).append(value)
    with ProgressDisplay(screen, "searching") as display, local_errors():
        try:
            counts = api.client.search_to_file(
                image if image.expanduser().is_dir() else [Query(image.name, image)],
                output,
                on_progress=lambda seen: display.show(seen.done + seen.failed + seen.skipped, seen.total),
                concurrency=concurrency,
                filters=by_name,
                **options,
            )
        except (ValueError, OSError) as error:
            raise UsageInvalid(f"the results cannot be written to {output}: {error}") from error
    skipped = f", {counts.skipped:,} there already" if counts.skipped else ""
    summary = f"{count(counts.done, 'picture')} searched, {counts.failed:,} failed{skipped}: {output}"
    if counts.failed and not counts.done and not counts.skipped:
        raise CommandFailed(summary)
    screen.say(summary)


def explain(
    context: typer.Context,
    image: Image,
    product_id: Annotated[str, typer.Argument(metavar="ID", help="The product.")],
    model: Model,
    dataset: OneDataset = None,
    region: Region = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The file to write.")] = Path("why.png"),
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises CommandFailed if the picture cannot be written."""
    screen, picture = screen_of(context), read_query(image)
    fields = search_fields([("id", product_id)], model=model_name(model), dataset=dataset, region=region)
    with Api(find_target(url, data)) as api:
        answer = api.post_picture("/api/explain", picture, fields)
    if as_json:
        screen.json(answer)
        return
    try:
        out.write_bytes(base64.b64decode(answer["picture"].partition(",")[2]))
    except OSError as error:
        raise CommandFailed(f"the picture cannot be written to {out}: {error.strerror}") from error
    screen.say(f"score {answer['score']:.4f}; left the query, right product {answer['id']}: {out}")


def read_query(path: Path) -> bytes:
    """The bytes of the query picture. Raises UsageInvalid if the file cannot be read."""
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise UsageInvalid(f"the picture {path} cannot be read: {error.strerror}") from error


def search_fields(filters: Sequence[tuple[str, str]], **options: str | int | float | None) -> dict[str, list[str]]:
    """The form fields of a search, without options that are None. Raises UsageInvalid for a filter on an option."""
    fields = {name: [str(value)] for name, value in options.items() if value is not None}
    for name, value in filters:
        if name in options:
            raise UsageInvalid(f"{name} is no field to filter by: it is an option")
        fields.setdefault(name, []).append(value)
    return fields


def _write_sheet(api: Api, file: Path, query: bytes, answer: Json) -> None:
    from vitrine_local.cli.sheet import SheetResult, write_sheet  # Pillow, which no other search needs

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
    except (OSError, ValueError) as error:  # Pillow raises ValueError for an unknown suffix
        raise CommandFailed(f"the sheet cannot be written to {file}: {error}") from error
