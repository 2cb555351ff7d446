"""`vitrine catalog`: look into a catalogue's folder, or draw one. Both work on this machine's files alone."""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

from vitrine.catalogs import FAULT_KINDS, Catalog, read_catalog
from vitrine.catalogs.inspection import PictureReport, inspect_pictures
from vitrine.products import UNFILTERED_ATTRIBUTES
from vitrine.settings import CommonSettings, load_settings
from vitrine_local.cli.catalogs import reader_of
from vitrine_local.cli.options import Commands, add_dataset, add_json, add_limit, whole_number
from vitrine_local.cli.progress import ProgressDisplay
from vitrine_local.cli.screen import Column, Screen, count
from vitrine_local.demo_catalog.generate import generate_catalog
from vitrine_local.errors import CommandFailed

_VALUES_SHOWN = 8


def add_to(commands: Commands) -> None:
    level = commands.add_level("catalog", "look into a catalogue, or draw one")
    inspect = level.add("inspect", run_inspect, "count a catalogue's attributes and list every fault by id")
    inspect.add_argument("path", type=Path, metavar="PATH", help="the catalogue's folder")
    add_dataset(inspect)
    add_limit(inspect)
    inspect.add_argument("--pictures", action="store_true", help="decode every picture too")
    add_json(inspect)
    generate = level.add("generate", run_generate, "draw a catalogue of garments into a new folder")
    generate.add_argument("folder", type=Path, metavar="DIR", help="a folder that does not exist, or is empty")
    generate.add_argument(
        "--count", type=whole_number(at_least=1), default=1000, metavar="N", help="how many products (default: 1000)"
    )
    generate.add_argument(
        "--seed",
        type=whole_number(at_least=0),
        default=0,
        metavar="N",
        help="the same seed, the same pictures (default: 0)",
    )


def run_inspect(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 whatever the faults are. Raises CatalogNotFound, CatalogMalformed, SettingsInvalid."""
    reader = reader_of(arguments.dataset, arguments.reader)
    catalog = read_catalog(reader, arguments.path, dataset=arguments.dataset, limit=arguments.limit)
    pictures = _look_at_pictures(catalog, screen) if arguments.pictures else None
    if arguments.json:
        screen.json(_as_json(catalog, pictures))
        return 0
    screen.say(
        f"{catalog.dataset} ({catalog.reader}): {count(len(catalog.products), 'product')} "
        f"in {count(catalog.rows, 'row')} of {catalog.root}"
    )
    _show_attributes(catalog, screen)
    _show_faults(catalog, screen)
    if pictures is not None:
        _show_pictures(pictures, screen)
    return 0


def run_generate(arguments: argparse.Namespace, screen: Screen) -> int:
    """Raises ParameterInvalid where the folder is not empty."""
    screen.note(f"drawing {count(arguments.count, 'product')}")
    try:
        catalog = generate_catalog(arguments.folder, count=arguments.count, seed=arguments.seed)
    except OSError as error:
        raise CommandFailed(f"the catalogue cannot be written to {arguments.folder}: {error.strerror}") from error
    screen.say(f"{count(len(catalog.products), 'product')} in {catalog.root}")
    return 0


def _look_at_pictures(catalog: Catalog, screen: Screen) -> PictureReport:
    limits = load_settings(CommonSettings).image_limits  # those of the services, so that both refuse the same
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
                "" if name in UNFILTERED_ATTRIBUTES else _commonest(name, values),
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
    if not catalog.faults:
        screen.say("no faults")
        return
    skipped = len(catalog.skipped())
    screen.say(f"{count(len(catalog.faults), 'fault')}, {skipped:,} of which cost a product:")
    for kind, faults in groupby(sorted(catalog.faults, key=lambda fault: fault.kind), key=lambda fault: fault.kind):
        of_kind = list(faults)
        kept, meaning = FAULT_KINDS[kind]
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
        "fault_counts": catalog.fault_counts(),
        "faults": [
            {"product_id": fault.product_id, "line": fault.line, "kind": fault.kind, "kept": fault.kept}
            | {"detail": fault.detail}
            for fault in catalog.faults
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
