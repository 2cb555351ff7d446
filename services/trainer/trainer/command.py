"""Train without a queue: `python -m trainer.command RECIPE.toml`. For a machine that has only the trainer.

The run is the same as that of a `train` job, with its progress on standard error. A stopped run continues from its last
checkpoint when it is started again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from trainer.full_disk import reporting_full_disk
from trainer.progress import NoProgress
from trainer.settings import Settings
from vitrine.catalogs import read_catalog
from vitrine.catalogs.downloads import Downloads
from vitrine.catalogs.mapping import parse_mapping
from vitrine.catalogs.registry import reader_for
from vitrine.catalogs.street_photographs import read_street_photographs
from vitrine.errors import ParameterInvalid, VitrineError
from vitrine.jobs import JobFault
from vitrine.parse_recipes import changed_parser
from vitrine.recipe_files import ParseRecipeFile, RecipeFile, read_chain, read_parser_chain
from vitrine.recipes import changed
from vitrine.releases import ReleaseStore
from vitrine.settings import load_settings
from vitrine.terminal import printable
from vitrine.vision.process import configure_process

_SHOWN_EVERY_S = 10.0


class Console(NoProgress):
    """Writes the progress of a run to standard error. An interrupt stops the run."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()
        self._shown_s = 0.0

    def phase(self, phase: str) -> None:
        self._write(phase)

    def note(self, text: str) -> None:
        self._write(text)

    def faults(self, source: str, faults: list[JobFault]) -> None:
        for fault in faults:
            self._write(f"{source}: {fault.product_id}: {fault.kind}: {fault.detail}")

    def progress(self, done: int, total: int, *, eta_s: float | None, phase: str | None = None) -> None:
        now = time.monotonic()
        if now - self._shown_s < _SHOWN_EVERY_S and done < total:
            return
        self._shown_s = now
        left = "" if eta_s is None else f", {eta_s:.0f} s left"
        self._write(f"{phase or 'working'}: {done:,} of {total:,}{left}")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self._started_s:7.1f} s  {printable(text)}\n")


def main() -> int:
    configure_process()  # before torch is imported, which `_train_one` does
    parser = argparse.ArgumentParser(prog="python -m trainer.command", description=__doc__, allow_abbrev=False)
    parser.add_argument("recipe", type=Path, help="the recipe, TOML")
    parser.add_argument("--root", type=Path, help="the catalogue's folder (default: the recipe's catalog.root)")
    parser.add_argument(
        "--map", action="append", metavar="NAME=COLUMN", help="a column of the catalogue (default: catalog.mapping)"
    )
    parser.add_argument("--weights", help="instead of the recipe's model.weights")
    parser.add_argument("--release", help="instead of the recipe's model.release or of the recipe that it continues")
    parser.add_argument("--unlabelled", type=Path, help="a folder catalogue of pictures to learn from without labels")
    parser.add_argument(
        "--street", type=Path, help="a folder of outlined street photographs, for a recipe with [street]"
    )
    parser.add_argument(
        "--outlined",
        type=Path,
        help="a second folder of outlined photographs, for a parser: it is trained on all of them",
    )
    parser.add_argument("--teacher", help="instead of the recipe's teacher")
    parser.add_argument("--run", help="the name by which the run continues (default: the model's)")
    arguments = parser.parse_args()
    try:
        with reporting_full_disk(load_settings(Settings)):
            result = _train(arguments)
    except VitrineError as error:
        sys.stderr.write(f"{printable(error.detail)}\n")
        return 1
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


def _train(arguments: argparse.Namespace) -> dict[str, object]:
    """Train the recipe and, without `--release`, the recipes that it continues before it."""
    parsers = read_parser_chain(arguments.recipe)
    if parsers is not None:
        return _train_parsers(parsers, arguments)
    chain, release = read_chain(arguments.recipe), arguments.release
    if release is not None:
        chain = chain[-1:]
    result: dict[str, object] = {}
    for number, file in enumerate(chain):
        weights = arguments.weights if number == 0 else None
        recipe = changed(
            file.recipe,
            weights=weights,
            release=release,
            teacher=arguments.teacher if file.recipe.kind == "distill" else None,
        )
        result = _train_one(file._replace(recipe=recipe), arguments)
        release = str(result["release_id"])
    return result


def _train_parsers(chain: tuple[ParseRecipeFile, ...], arguments: argparse.Namespace) -> dict[str, object]:
    from trainer.parser.run import ParserRun

    if arguments.unlabelled is not None:
        raise ParameterInvalid("a parser learns from outlined photographs only: leave out --unlabelled")
    release: str | None = arguments.release
    result: dict[str, object] = {}
    settings = _settings()
    store = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
    for number, (given, catalog) in enumerate(chain[-1:] if release is not None else chain):
        root = _root(arguments, catalog)
        if root is None:
            raise ParameterInvalid("name the folder of outlined photographs: --root, or catalog.root in the recipe")
        recipe = changed_parser(given, weights=arguments.weights if number == 0 else None, release=release)
        folder = settings.work_dir / (arguments.run or recipe.name)
        run = ParserRun(recipe, root, store, settings, folder, Console(), arguments.outlined)
        result = run.run()
        run.clean()
        release = str(result["release_id"])
    return result


def _root(arguments: argparse.Namespace, catalog: dict[str, object]) -> Path | None:
    return arguments.root or (Path(str(catalog["root"])) if "root" in catalog else None)


def _settings() -> Settings:
    # The allowed roots limit requests from the network. The user of this command may read any folder.
    settings = load_settings(Settings)
    return settings.model_copy(update={"catalog_roots": (*settings.catalog_roots, Path("/"))})


def _train_one(file: RecipeFile, arguments: argparse.Namespace) -> dict[str, object]:
    from trainer.training.run import TrainingRun

    recipe, catalog = file
    root = _root(arguments, catalog)
    if root is None or "dataset" not in catalog:
        raise ParameterInvalid("name the catalogue: catalog.dataset in the recipe, and --root or catalog.root")
    settings = _settings()
    downloads = Downloads(settings.downloads_dir)
    read = read_catalog(
        catalog.get("reader", reader_for(catalog["dataset"])),
        root,
        dataset=catalog["dataset"],
        limit=catalog.get("limit"),
        mapping=catalog.get("mapping") if arguments.map is None else parse_mapping(arguments.map),
        downloads=downloads,
    )
    unlabelled = None
    if arguments.unlabelled is not None:
        unlabelled = read_catalog("folder", arguments.unlabelled, dataset="unlabelled", downloads=downloads)
    street = None
    if arguments.street is not None and recipe.street is not None:
        street = read_street_photographs(arguments.street)
    store = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
    folder = settings.work_dir / (arguments.run or recipe.name)
    run = TrainingRun(recipe, read, store, settings, folder, Console(), unlabelled, street)
    result = run.run()
    run.clean()
    return result


if __name__ == "__main__":
    sys.exit(main())
