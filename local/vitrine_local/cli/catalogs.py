"""`vitrine catalog`: inspect the folder of a catalogue, or draw one. Both use only files of this machine."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vitrine.catalogs import ISSUE_KINDS, Catalog, read_catalog
from vitrine.catalogs.registry import reader_for
from vitrine.products import UNFILTERED_ATTRIBUTES
from vitrine.settings import CommonSettings, load_settings
from vitrine_local.cli.options import AsJson, Dataset, Limit, Reader, screen_of
from vitrine_local.cli.output import Column, ProgressDisplay, Screen, count
from vitrine_local.demo_catalog.generate import generate_catalog
from vitrine_local.errors import CommandFailed
from vitrine_local.picture_report import PictureReport, inspect_pictures

_VALUES_SHOWN: Final = 8

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command("inspect", help="Count the attributes of a catalogue and list every fault by id.")
def inspect(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder of the catalogue.")],
    dataset: Dataset,
    reader: Reader = None,
    limit: Limit = None,
    pictures: Annotated[bool, typer.Option("--pictures", help="Decode every picture too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Succeeds whatever the faults are. Raises CatalogNotFound, CatalogMalformed and SettingsInvalid."""
    screen = screen_of(context)
    catalog = read_catalog(reader or reader_for(dataset), path, dataset=dataset, limit=limit)
    report = _inspect_pictures(catalog, screen) if pictures else None
    if as_json:
        screen.json(_as_json(catalog, report))
        return
    screen.say(
        f"{catalog.dataset} ({catalog.reader}): {count(len(catalog.products), 'product')} "
        f"in {count(catalog.rows, 'row')} of {catalog.root}"
    )
    _show_attributes(catalog, screen)
    _show_faults(catalog, screen)
    if report is not None:
        _show_pictures(report, screen)


@app.command("generate", help="Draw a catalogue of garments into a new folder.")
def generate(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist, or is empty.")],
    products: Annotated[int, typer.Option("--count", metavar="N", min=1, help="How many products.")] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed draws the same pictures.")] = 0,
) -> None:
    """Raises ParameterInvalid if the folder is not empty."""
    screen = screen_of(context)
    screen.note(f"drawing {count(products, 'product')}")
    try:
        catalog = generate_catalog(folder, count=products, seed=seed)
    except OSError as error:
        raise CommandFailed(f"the catalogue cannot be written to {folder}: {error.strerror}") from error
    screen.say(f"{count(len(catalog.products), 'product')} in {catalog.root}")


def _inspect_pictures(catalog: Catalog, screen: Screen) -> PictureReport:
    limits = load_settings(CommonSettings).image_limits  # the limits of the services
    with ProgressDisplay(screen, "looking at pictures") as progress:
        return inspect_pictures(
            catalog, limits=limits, progress=lambda done: progress.show(done, len(catalog.products))
        )


def _show_attributes(catalog: Catalog, screen: Screen) -> None:
    screen.say()
    screen.table(
        [Column("attribute"), Column("products", right=True), Column("values", right=True), Column("commonest")],
        [
            (
                name,
                f"{values.total():,}",
                f"{len(values):,}",
                _commonest(name, values),
            )
            for name, values in catalog.attribute_counts().items()
        ],
    )


def _commonest(name: str, values: Counter[Any]) -> str:
    if name in UNFILTERED_ATTRIBUTES:
        return ""
    shown = ", ".join(f"{value} {number:,}" for value, number in values.most_common(_VALUES_SHOWN))
    more = len(values) - _VALUES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _show_faults(catalog: Catalog, screen: Screen) -> None:
    screen.say()
    if not catalog.issues:
        screen.say("no faults")
        return
    skipped = len(catalog.rejected())
    screen.say(f"{count(len(catalog.issues), 'fault')}, {skipped:,} of which reject a product:")
    for kind, faults in groupby(sorted(catalog.issues, key=lambda fault: fault.kind), key=lambda fault: fault.kind):
        of_kind = list(faults)
        kept, meaning = ISSUE_KINDS[kind]
        screen.say(f"{kind}: {len(of_kind):,} ({meaning}; {'kept' if kept else 'left out'})")
        for fault in of_kind:
            line = f"line {fault.line}" if fault.line is not None else ""
            screen.say("  " + "  ".join(part for part in (fault.product_id or "-", line, fault.detail) if part))


def _show_pictures(report: PictureReport, screen: Screen) -> None:
    formats = ", ".join(f"{name} {number:,}" for name, number in report.formats.most_common())
    usual = "x".join(map(str, report.usual_size)) if report.usual_size else "none"
    screen.say()
    screen.say(f"{count(report.checked, 'picture')}: {formats or 'none can be read'}; usual size {usual}")
    screen.say(f"greyscale: {len(report.greyscale):,}" + _ids(report.greyscale))
    screen.say(f"of another size: {len(report.odd_size):,}")
    for product_id, (width, height) in report.odd_size:
        screen.say(f"  {product_id}  {width}x{height}")
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
        "products": len(catalog.products),
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
    if pictures is not None:
        described["pictures"] = {
            "checked": pictures.checked,
            "formats": dict(pictures.formats),
            "usual_size": pictures.usual_size,
            "greyscale": list(pictures.greyscale),
            "odd_size": dict(pictures.odd_size),
            "rejected": dict(pictures.rejected),
        }
    return described
