"""Count the source files of Vitrine that a catalogue picture and a job's id pass through.

    PYTHONPATH=tests .venv/bin/python -m harness.traced_files [--names]

The embedder and the search API run inside this process, and the indexer's Celery tasks are called directly, so a
profile hook sees every call of every thread. Two figures are printed:

- picture: files with a function that runs while one batch task stores its pictures in Qdrant;
- job id: files with a function that gets or returns the id, or a record, message or target that holds it, from the
  request to the search API to the end of the job.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
_SOURCES: Final = tuple(f"{ROOT / folder}{os.sep}" for folder in ("shared", "services", "local"))
_COUNT: Final = 12

Wanted = Callable[[FrameType, Any], bool]


class FileTrace:
    """Notes the files whose functions are called in any thread while a block runs."""

    def __init__(self) -> None:
        self._wanted: Wanted | None = None
        self._found: set[str] = set()
        threading.setprofile(self._hook)
        sys.setprofile(self._hook)

    @property
    def is_on(self) -> bool:
        return self._wanted is not None

    @contextmanager
    def noting(self, wanted: Wanted) -> Iterator[set[str]]:
        self._found = set()
        self._wanted = wanted
        yield self._found
        self._wanted = None

    def _hook(self, frame: FrameType, event: str, value: Any) -> None:
        wanted = self._wanted
        if wanted is None or event not in ("call", "return") or frame.f_code.co_name == "<module>":
            return
        name = frame.f_code.co_filename
        if name.startswith(_SOURCES) and wanted(frame, value if event == "return" else None):
            self._found.add(name.removeprefix(f"{ROOT}{os.sep}"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", action="store_true", help="list the files too")
    names: bool = parser.parse_args().names
    trace = FileTrace()
    from harness.system import MODEL, System  # imported late: threads started before the hook would not be seen

    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder) / "system")
        try:
            os.environ.update(system.env)
            picture, job = _traced(trace, system, MODEL)
        finally:
            system.stop()
    for title, files in (("picture", picture), ("job id", job)):
        print(f"{title}: {len(files)} files")  # noqa: T201 - a report
        for name in sorted(files) if names else ():
            print(f"  {name}")  # noqa: T201 - a report
    return 0


def _traced(trace: FileTrace, system: Any, model: str) -> tuple[set[str], set[str]]:
    from starlette.testclient import TestClient

    from embedder.app import create_app as create_embedder
    from embedder.settings import Settings as EmbedderSettings
    from search_api.app import create_app as create_api
    from search_api.settings import Settings as ApiSettings
    from vitrine.jobs.celery import INDEX, Task, celery_app

    app = celery_app(INDEX, redis_url=system.redis.url, include=("indexer.tasks",))
    app.set_default()
    app.loader.import_default_modules()
    import indexer.tasks

    tasks: dict[Task, Any] = {
        Task.INDEX_START: indexer.tasks.start,
        Task.INDEX_BATCH: indexer.tasks.batch,
        Task.INDEX_FINISH: indexer.tasks.finish,
    }
    root, first, second = system.catalog(count=_COUNT), system.release(), system.release(weights="seed:1")
    body = {"dataset": "drawn", "root": str(root), "reader": "synthetic", "model": model}
    with (
        TestClient(create_embedder(EmbedderSettings()), base_url="http://127.0.0.1") as embedder,
        TestClient(create_api(ApiSettings()), base_url="http://127.0.0.1") as api,
    ):
        _embed_through(embedder)

        def index(release_id: str) -> set[str]:
            """Run one indexing job. Returns the files of its batch, unless another trace is on."""
            response = api.post("/api/jobs/index", json={**body, "release_id": release_id})
            assert response.status_code == 202, response.text
            job_id: str = response.json()["job"]["id"]
            tasks[Task.INDEX_START].apply(args=[job_id], throw=True)
            if trace.is_on:
                tasks[Task.INDEX_BATCH].apply(args=[job_id, 0], throw=True)
                files: set[str] = set()
            else:
                with trace.noting(lambda _frame, _value: True) as files:
                    tasks[Task.INDEX_BATCH].apply(args=[job_id, 0], throw=True)
            tasks[Task.INDEX_FINISH].apply(args=[job_id], throw=True)
            state = api.get(f"/api/jobs/{job_id}").json()["job"]["state"]
            assert state == "succeeded", state
            return files

        index(first)  # loads the release and opens the connections
        picture = index(second)
        with trace.noting(JobIds(system).in_frame) as job:
            index(first)
        return picture, job


class JobIds:
    """Matches job ids by their form."""

    def __init__(self, system: Any) -> None:
        self._before = {record.id for record in system.jobs.list()}

    def _is_new(self, value: Any) -> bool:
        return (
            isinstance(value, str)
            and len(value) == _ID_CHARS
            and value not in self._before
            and all(char in "0123456789abcdef" for char in value)
        )

    def _holds(self, value: Any) -> bool:
        if isinstance(value, str):
            return self._is_new(value)
        if isinstance(value, list | tuple):
            return any(self._holds(one) for one in value[:4])
        fields = getattr(value, "__dict__", None) or {}
        return any(
            self._is_new(fields.get(name) if name in fields else getattr(value, name, None))
            for name in ("id", "job_id", "_job_id")
        )

    def in_frame(self, frame: FrameType, value: Any) -> bool:
        code = frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount
        local = frame.f_locals
        return self._holds(value) or any(self._holds(local.get(name)) for name in code.co_varnames[:count])


_ID_CHARS: Final = 21


def _embed_through(embedder: Any) -> None:
    """Let the indexer's client of the embedder call the application in this process."""
    from indexer.parts import process_parts

    client = process_parts().embedder
    client._http.close()
    client._http = embedder


if __name__ == "__main__":
    sys.exit(main())
