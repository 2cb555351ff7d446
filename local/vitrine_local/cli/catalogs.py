"""`vitrine catalog`: inspect the folder of a catalogue, or draw one, with files of this machine only; and report on the
health of an indexed one.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vitrine.catalogs import ISSUE_KINDS, Catalog, read_catalog
from vitrine.catalogs.downloads import Downloads
from vitrine.catalogs.registry import reader_for
from vitrine.images.checks import ImageLimits
from vitrine.products import UNFILTERED_ATTRIBUTES, AttributeKind
from vitrine.settings import CommonSettings, load_settings
from vitrine_local.cli.health import report as health_report
from vitrine_local.cli.options import AsJson, Columns, Limit, Reader, mapping_of, screen_of
from vitrine_local.cli.output import Column, ProgressDisplay, Screen, count
from vitrine_local.demo_catalog.generate import Layout, generate_catalog
from vitrine_local.errors import CommandFailed
from vitrine_local.picture_report import PictureReport, inspect_pictures

_VALUES_SHOWN: Final = 8
_EXAMPLES: Final = 3
_NAME_CHARS: Final = 100

app = typer.Typer(rich_markup_mode=None, add_completion=False)
app.command("report", help="Look for duplicates, wrong labels, odd pictures and values in what is indexed.")(
    health_report
)


@app.command("inspect", help="Show how a catalogue is read: its layout, columns, attributes and issues.")
def inspect(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder of the catalogue.")],
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name its products go by; by default that of the folder.")
    ] = None,
    reader: Reader = None,
    columns: Columns = None,
    limit: Limit = None,
    list_all: Annotated[bool, typer.Option("--all", help="List every issue, not three of each kind.")] = False,
    pictures: Annotated[bool, typer.Option("--pictures", help="Decode every picture too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Succeeds whatever the faults are. Raises CatalogNotFound, CatalogMalformed and SettingsInvalid."""
    screen = screen_of(context)
    dataset = dataset or _name_of(path)
    settings = load_settings(CommonSettings)
    catalog = read_catalog(
        reader or reader_for(dataset),
        path,
        dataset=dataset,
        limit=limit,
        mapping=mapping_of(columns),
        downloads=Downloads(settings.downloads_dir),
    )
    report = _inspect_pictures(catalog, settings.image_limits, screen) if pictures else None
    if as_json:
        screen.json(_as_json(catalog, report))
        return
    screen.say(
        f"{catalog.dataset} ({catalog.reader}): {count(len(catalog.products), 'product')} "
        f"in {count(catalog.rows + catalog.further_rows, 'row')} of {catalog.root}"
    )
    _show_reading(catalog, screen)
    _show_attributes(catalog, screen)
    _show_issues(catalog, screen, most=None if list_all else _EXAMPLES)
    if report is not None:
        _show_pictures(report, screen)


@app.command("generate", help="Draw a catalogue of garments into a new folder.")
def generate(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist, or is empty.")],
    products: Annotated[int, typer.Option("--count", metavar="N", min=1, help="How many products.")] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed draws the same pictures.")] = 0,
    layout: Annotated[Layout, typer.Option(help="The files of the catalogue.")] = "fashion-product",
) -> None:
    """Raises ParameterInvalid if the folder is not empty."""
    screen = screen_of(context)
    screen.note(f"drawing {count(products, 'product')}")
    try:
        catalog = generate_catalog(folder, count=products, seed=seed, layout=layout)
    except OSError as error:
        raise CommandFailed(f"the catalogue cannot be written to {folder}: {error.strerror}") from error
    screen.say(f"{count(len(catalog.products), 'product')} in {catalog.root}")


def _inspect_pictures(catalog: Catalog, limits: ImageLimits, screen: Screen) -> PictureReport:
    with ProgressDisplay(screen, "looking at pictures") as progress:
        return inspect_pictures(
            catalog, limits=limits, progress=lambda done: progress.show(done, len(catalog.products))
        )


def _name_of(path: Path) -> str:
    """A dataset name made of the folder's name."""
    name = re.sub(r"[^A-Za-z0-9._]+|-{2,}", "-", path.resolve().name).strip("-._")
    return name[:_NAME_CHARS].rstrip("-") or "catalogue"


def _show_reading(catalog: Catalog, screen: Screen) -> None:
    reading = catalog.reading
    if reading is None:
        return
    forced = "" if catalog.reader != reading.layout else " (as named)"
    screen.say(f"layout: {reading.layout}{forced}")
    for file, found in reading.tables:
        screen.say(f"table: {file.relative_to(catalog.root)} ({found})")
    if reading.used:
        screen.say("columns: " + ", ".join(f"{name} = {column!r}" for name, column in reading.used.items()))
    pictures = sum(len(product.pictures) for product in catalog.products)
    grouped = sum(product.variant_of is not None for product in catalog.products)
    groups = len({product.variant_of for product in catalog.products} - {None})
    variants = f", {grouped:,} of them variants of {count(groups, 'product')}" if groups else ""
    screen.say(f"{count(len(catalog.products), 'product')} with {count(pictures, 'picture')}{variants}")


def _show_attributes(catalog: Catalog, screen: Screen) -> None:
    reports = {} if catalog.reading is None else {report.attribute: report for report in catalog.reading.columns}
    screen.say()
    counts = catalog.attribute_counts()
    names = [*reports, *(name for name in counts if name not in reports)]
    screen.table(
        [
            Column("attribute"), Column("kind"), Column("products", right=True), Column("values", right=True),
            Column("commonest"),
        ],
        [
            (
                name,
                str(catalog.kinds.get(name, "")),
                f"{sum(name in product.attributes for product in catalog.products):,}",
                f"{len(counts.get(name, ())):,}",
                _commonest(catalog, name, counts.get(name, Counter())),
            )
            for name in names
        ],
    )  # fmt: skip
    for report in reports.values():
        renamed = f" from column {report.column!r}" if report.column != report.attribute else ""
        if report.spoiled:
            screen.say(f"{report.attribute}{renamed} is {report.kind}: {report.spoiled}")


def _commonest(catalog: Catalog, name: str, values: Counter[Any]) -> str:
    if name in UNFILTERED_ATTRIBUTES or catalog.kinds.get(name) == AttributeKind.TEXT:
        return ""
    shown = ", ".join(f"{value} {number:,}" for value, number in values.most_common(_VALUES_SHOWN))
    more = len(values) - _VALUES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _show_issues(catalog: Catalog, screen: Screen, *, most: int | None) -> None:
    """Each kind with its number and `most` examples, None for all of them."""
    screen.say()
    if not catalog.issues:
        screen.say("no issues")
        return
    rejected = len(catalog.rejected())
    screen.say(f"{count(len(catalog.issues), 'issue')}, {rejected:,} of which reject a product:")
    for kind, issues in groupby(sorted(catalog.issues, key=lambda issue: issue.kind), key=lambda issue: issue.kind):
        of_kind = list(issues)
        kept, meaning = ISSUE_KINDS[kind]
        screen.say(f"{kind}: {len(of_kind):,} ({meaning}; {'kept' if kept else 'left out'})")
        for issue in of_kind[:most]:
            line = f"line {issue.line}" if issue.line is not None else ""
            screen.say("  " + "  ".join(part for part in (issue.product_id or "-", line, issue.detail) if part))
        if most is not None and len(of_kind) > most:
            screen.say(f"  and {len(of_kind) - most:,} more; --all lists them")


def _show_pictures(report: PictureReport, screen: Screen) -> None:
    formats = ", ".join(f"{name} {number:,}" for name, number in report.formats.most_common())
    usual = "x".join(map(str, report.usual_size)) if report.usual_size else "none"
    screen.say()
    screen.say(f"{count(report.checked, 'picture')}: {formats or 'none can be read'}; usual size {usual}")
    screen.say(f"greyscale: {len(report.greyscale):,}" + _ids(report.greyscale))
    screen.say(f"of another size: {len(report.odd_size):,}")
    for product_id, (width, height) in report.odd_size:
        screen.say(f"  {product_id}  {width}x{height}")
    refused = ", ".join(f"{name} {number:,}" for name, number in report.rejected_formats.most_common())
    if refused:
        screen.say(f"formats of those that cannot be used: {refused}")
    screen.say(f"cannot be used: {len(report.rejected):,}")
    for product_id, reason in report.rejected:
        screen.say(f"  {product_id}  {reason}")


def _ids(ids: tuple[str, ...]) -> str:
    return f": {', '.join(ids)}" if ids else ""


def _as_json(catalog: Catalog, pictures: PictureReport | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "dataset": catalog.dataset,
        "reader": catalog.reader,
        "root": str(catalog.root),
        "rows": catalog.rows,
        "further_rows": catalog.further_rows,
        "products": len(catalog.products),
        "product_pictures": sum(len(product.pictures) for product in catalog.products),
        "variant_groups": len({product.variant_of for product in catalog.products} - {None}),
        "kinds": {name: str(kind) for name, kind in catalog.kinds.items()},
        "attributes": {
            name: {str(value): number for value, number in values.most_common()}
            for name, values in catalog.attribute_counts().items()
        },
        "fault_counts": catalog.issue_counts(),
        "faults": [
            {"product_id": fault.product_id, "line": fault.line, "kind": fault.kind, "kept": fault.kept}
            | {"detail": fault.detail}
            for fault in catalog.issues
        ],
    }
    if catalog.reading is not None:
        described["reading"] = {
            "layout": catalog.reading.layout,
            "tables": {str(path.relative_to(catalog.root)): found for path, found in catalog.reading.tables},
            "columns": dict(catalog.reading.used),
            "attributes": [
                {"name": one.attribute, "column": one.column, "kind": str(one.kind), "spoiled": one.spoiled}
                for one in catalog.reading.columns
            ],
        }
    if pictures is not None:
        described["pictures"] = {
            "checked": pictures.checked,
            "formats": dict(pictures.formats),
            "usual_size": pictures.usual_size,
            "greyscale": list(pictures.greyscale),
            "odd_size": dict(pictures.odd_size),
            "rejected": dict(pictures.rejected),
            "rejected_formats": dict(pictures.rejected_formats),
        }
    return described
