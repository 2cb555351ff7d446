"""Count the source files of Vitrine that a catalogue picture, a job's id and a training recipe pass through.

    PYTHONPATH=tests .venv/bin/python -m harness.traced_files [--names]

The embedder and the search API run inside this process, and the indexer's Celery tasks are called directly, so that a
profile hook sees every call in every thread. Prints three counts of files:

- picture: a function of the file holds a product, its picture or its vector, from the batch task to Qdrant;
- job id: a function of the file holds the id or an object with it, from the request to the end of the job;
- recipe: a function of the file runs during a small training, from the recipe to the release.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
_SOURCES: Final = tuple(f"{ROOT / folder}{os.sep}" for folder in ("shared", "services", "local"))
_COUNT: Final = 12
_JOB_ID: Final = re.compile(r"[0-9a-f]{21}")
_JOB_ATTRIBUTES: Final = ("id", "job_id", "_job_id", "record", "message")
_CARRIERS: Final = frozenset(
    {"Product", "ndarray", "Tensor", "Image", "JpegImageFile", "Upload", "DecodeTask", "BatchItem", "Call", "Body"}
)
_LEAST_PICTURE_BYTES: Final = 400
# Dataclasses that outlive a picture, and hold arrays of their own.
_LASTING: Final = frozenset({"LoadedRelease", "Context", "Dependencies", "Manifest", "Boundary"})

Wanted = Callable[[Any], bool]


class FileTrace:
    """Notes the files with a function that has a wanted value as argument, local variable or result, in any thread."""

    def __init__(self) -> None:
        self._wanted: Wanted | None = None
        self._found: set[str] = set()
        threading.setprofile(self._hook)
        sys.setprofile(self._hook)

    @contextmanager
    def noting(self, wanted: Wanted) -> Iterator[set[str]]:
        self._found = set()
        self._wanted = wanted
        yield self._found
        self._wanted = None

    def _hook(self, frame: FrameType, event: str, value: Any) -> None:
        wanted, code = self._wanted, frame.f_code
        name = code.co_filename
        if wanted is None or event not in ("call", "return") or not name.startswith(_SOURCES):
            return
        if code.co_name == "<module>" or (name := name.removeprefix(f"{ROOT}{os.sep}")) in self._found:
            return
        if any(map(wanted, (value, *frame.f_locals.values()))):
            self._found.add(name)


def carries_picture(value: Any, depth: int = 3) -> bool:
    """Whether a value is a product, a picture's bytes, pixels or a vector, or a container of one."""
    if isinstance(value, bytes):
        return len(value) >= _LEAST_PICTURE_BYTES and not value.startswith(b"{")  # JSON is a record or a manifest
    kind = type(value).__name__
    if kind in _CARRIERS:
        return True
    if not depth or kind in _LASTING:
        return False
    if isinstance(value, list | tuple):
        return any(carries_picture(one, depth - 1) for one in value[:3])
    if is_dataclass(value) and not isinstance(value, type):
        return any(carries_picture(getattr(value, field.name, None), depth - 1) for field in fields(value))
    return False


def carries_job_id(value: Any) -> bool:
    """Whether a value is a job's id or an object that has it."""
    if isinstance(value, str):
        return _JOB_ID.fullmatch(value) is not None
    if isinstance(value, list | tuple):
        return any(map(carries_job_id, value[:3]))
    own = getattr(value, "__dict__", {})
    held = [own[name] if name in own else getattr(type(value), name, None) for name in _JOB_ATTRIBUTES]
    if is_dataclass(value):
        slots = [getattr(value, name, None) for name in _JOB_ATTRIBUTES]
        held += [*slots, *(getattr(one, "id", None) for one in slots)]
    return any(isinstance(one, str) and carries_job_id(one) for one in held)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", action="store_true", help="list the files too")
    names: bool = parser.parse_args().names
    trace = FileTrace()
    from harness.system import System  # imported late, because the hook does not see threads that started earlier

    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder) / "system")
        try:
            os.environ.update(system.env)
            found = _traced(trace, system)
        finally:
            system.stop()
        found["recipe"] = _traced_training(trace, Path(folder))
    for title, files in found.items():
        print(f"{title}: {len(files)} files")  # noqa: T201 - a report
        for name in sorted(files) if names else ():
            print(f"  {name}")  # noqa: T201 - a report
    return 0


def _traced(trace: FileTrace, system: Any) -> dict[str, set[str]]:
    from starlette.testclient import TestClient

    from embedder.app import create_app as create_embedder
    from embedder.settings import Settings as EmbedderSettings
    from harness.system import MODEL
    from search_api.app import create_app as create_api
    from search_api.settings import Settings as ApiSettings
    from vitrine.jobs.celery import INDEX, celery_app

    app = celery_app(INDEX, redis_url=system.redis.url, include=("indexer.tasks",))
    app.set_default()
    import indexer.tasks as tasks

    root, release_id = system.catalog(count=_COUNT), system.release()
    body = {"root": str(root), "reader": "synthetic", "model": MODEL, "release_id": release_id}
    with (
        TestClient(create_embedder(EmbedderSettings()), base_url="http://127.0.0.1") as embedder,
        TestClient(create_api(ApiSettings()), base_url="http://127.0.0.1") as api,
    ):
        _embed_through(embedder)

        def post(dataset: str) -> str:
            response = api.post("/api/jobs/index", json={**body, "dataset": dataset})
            assert response.status_code == 202, response.text
            job_id: str = response.json()["job"]["id"]
            return job_id

        def run(task: Any, *args: Any) -> None:
            task.apply(args=list(args), throw=True)

        def end(job_id: str) -> None:
            run(tasks.finish, job_id)
            assert system.jobs.get(job_id).state == "succeeded"

        job_id = post("warm")  # loads the release and opens the connections
        run(tasks.start, job_id)
        run(tasks.batch, job_id, 0)
        end(job_id)
        job_id = post("traced")
        run(tasks.start, job_id)
        with trace.noting(carries_picture) as picture:
            run(tasks.batch, job_id, 0)
        end(job_id)
        with trace.noting(carries_job_id) as job:
            job_id = post("warm")
            run(tasks.start, job_id)
            _sweeper(system).sweep()
            run(tasks.batch, job_id, 0)
            end(job_id)
    return {"picture": picture, "job id": job}


def _traced_training(trace: FileTrace, folder: Path) -> set[str]:
    from harness.training import drawn_catalog, tiny_recipe, training_run

    recipe = tiny_recipe(optim={"epochs": 2}, augment={"flip": 0.5, "crop": [0.6, 1.0], "brightness": 0.2})
    training = training_run(recipe, drawn_catalog(folder / "drawn", count=120), folder)
    with trace.noting(lambda _: True) as found:
        training.run()
    return found


def _sweeper(system: Any) -> Any:
    from indexer.dependencies import process_dependencies
    from indexer.tasks import sweep_policy
    from vitrine.jobs.celery import INDEX
    from vitrine.jobs.sweeper import Sweeper

    deps = process_dependencies()
    return Sweeper(
        system.redis_client, service="indexer", profile=INDEX, policy=sweep_policy(deps), publisher=deps.publisher
    )


def _embed_through(embedder: Any) -> None:
    """Let the indexer's client of the embedder call the application in this process."""
    from indexer.dependencies import process_dependencies

    client = process_dependencies().embedder
    client._http.close()
    client._http = embedder


if __name__ == "__main__":
    sys.exit(main())
