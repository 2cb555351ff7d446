"""Training on several devices. Rank 0 runs in the job's process and starts one process for each other device.

All ranks read the same recipe, pixels and checkpoint. Only rank 0 writes, reports progress and publishes.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import distributed

from trainer.progress import NoProgress
from trainer.settings import Settings
from trainer.training.callbacks import TrainingCallbacks
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.downloads import Downloads
from vitrine.catalogs.street_photographs import StreetPhotographs, read_street_photographs
from vitrine.errors import ReleaseError, VitrineError
from vitrine.recipes import Recipe, parse_recipe
from vitrine.releases import ReleaseStore
from vitrine.terminal import printable
from vitrine.vision.network import choose_device
from vitrine.vision.process import configure_process

_HOST: Final = "127.0.0.1"
_RANK: Final = "LOCAL_RANK"
_TAIL_BYTES: Final = 2_000
_EXIT_TIMEOUT_S: Final = 10.0
_PARENT_POLL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class TrainingSources:
    """What a run reads its pictures from."""

    catalog: Catalog
    unlabelled: Catalog | None
    street: StreetPhotographs | None


@contextmanager
def spawned_ranks(recipe: Recipe, sources: TrainingSources, settings: Settings, folder: Path) -> Iterator[None]:
    """Start the other ranks, if there are several devices, and end them with the block.

    Raises ReleaseError if one of them failed and so the block could not finish.
    """
    if settings.trainer_devices == 1:
        yield
        return
    rendezvous = {"MASTER_ADDR": _HOST, "MASTER_PORT": str(_free_port()), "NODE_RANK": "0"}
    task = {
        "recipe": recipe.as_json(),
        "catalog": _described(sources.catalog),
        "unlabelled": None if sources.unlabelled is None else _described(sources.unlabelled),
        "street": None if sources.street is None else str(sources.street.root),
        "settings": settings.model_dump(mode="json", exclude={"qdrant_api_key", "redis_url", "embedder_api_key"}),
        "folder": str(folder),
    }
    before = {name: os.environ.get(name) for name in (*rendezvous, _RANK)}
    with tempfile.TemporaryDirectory(prefix="vitrine-ranks-") as made:
        path = Path(made, "task.json")
        path.write_text(json.dumps(task), encoding="utf-8")
        processes = []
        try:
            for rank in range(1, settings.trainer_devices):
                with Path(made, f"{rank}.log").open("wb") as log:
                    processes.append(
                        subprocess.Popen(
                            [sys.executable, "-m", "trainer.training.distributed", str(path)],
                            env={**os.environ, **rendezvous, _RANK: str(rank)},
                            stdout=log,
                            stderr=log,
                        )
                    )
            os.environ.update(rendezvous | {_RANK: "0"})
            yield
        except (RuntimeError, ConnectionError) as error:
            for rank, process in enumerate(processes, 1):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_EXIT_TIMEOUT_S)
                if process.returncode:
                    output = Path(made, f"{rank}.log").read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
                    raise ReleaseError(
                        f"rank {rank} of the training ended with {process.returncode}: {output}"
                    ) from error
            raise
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
            for process in processes:
                process.kill()
                process.wait()
            if distributed.is_initialized():
                distributed.destroy_process_group()


def main() -> int:
    """Run as another rank: `python -m trainer.training.distributed TASK.json`."""
    configure_process()
    from trainer.training.checkpoint import CheckpointFolder
    from trainer.training.setup import SetupBuilder, build_loop

    threading.Thread(target=_exit_with, args=(os.getppid(),), name="parent-watch", daemon=True).start()
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        settings = Settings.model_validate(task["settings"])
        recipe = parse_recipe(task["recipe"])
        catalog = _read(task["catalog"], settings)
        unlabelled = None if task["unlabelled"] is None else _read(task["unlabelled"], settings)
        street = None if task["street"] is None else read_street_photographs(Path(task["street"]))
        choice = choose_device(settings.trainer_device, settings.trainer_precision)
        store = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
        progress = NoProgress()
        setup = SetupBuilder(recipe, catalog, store, settings, choice, progress, unlabelled, street).prepare()
        loop = build_loop(
            setup, recipe, settings, choice, CheckpointFolder(Path(task["folder"])), TrainingCallbacks(progress)
        )
        loop.restore()
        loop.run()
    except VitrineError as error:
        sys.stderr.write(f"{printable(error.detail)}\n")
        return 1
    return 0


def _exit_with(parent: int) -> None:
    """Exit when rank 0 has ended, even if it was killed. The other ranks would wait for it forever."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    os._exit(1)


def _described(catalog: Catalog) -> dict[str, Any]:
    """What another process needs to read the same products."""
    return {
        "reader": catalog.reader,
        "root": str(catalog.root),
        "dataset": catalog.dataset,
        "limit": len(catalog.products),
        "mapping": dict(catalog.mapping),
    }


def _read(described: dict[str, Any], settings: Settings) -> Catalog:
    root = Path(described["root"])
    return read_catalog(
        described["reader"],
        root,
        dataset=described["dataset"],
        limit=described["limit"],
        mapping=described["mapping"] or None,
        downloads=Downloads(settings.downloads_dir),
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((_HOST, 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
