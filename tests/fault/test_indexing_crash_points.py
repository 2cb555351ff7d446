"""Indexing with a crash before every single call to Qdrant, Redis and the queue.

The old collection serves until the new one does, and the process that resumes the job finishes it with exact counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness.system import MODEL, System, running_system
from indexer.dependencies import Dependencies, build_dependencies
from indexer.settings import Settings
from indexer.tasks import due_messages, run_step
from vitrine.jobs import JobKind, JobRecord, JobState
from vitrine.qdrant.naming import Serving

COUNT = 12
BATCH = 6
DATASET = "drawn"
_WATCHED = ("jobs", "plans", "vectors", "publisher")


class Crashed(BaseException):
    """The simulated crash, which no code may catch."""


class Watch:
    """Counts the calls to the dependencies, and crashes before one of them."""

    def __init__(self, *, crash_before: int | None = None) -> None:
        self.crash_before = crash_before
        self.calls: list[str] = []

    def over(self, deps: Dependencies) -> Dependencies:
        return replace(deps, **{name: cast(Any, _Watched(name, getattr(deps, name), self)) for name in _WATCHED})

    def note(self, call: str) -> None:
        if len(self.calls) == self.crash_before:
            raise Crashed(call)
        self.calls.append(call)


class _Watched:
    def __init__(self, name: str, part: object, watch: Watch) -> None:
        self._name, self._part, self._watch = name, part, watch

    def __getattr__(self, method: str) -> Callable[..., Any]:
        call = getattr(self._part, method)

        def watched(*args: Any, **options: Any) -> Any:
            self._watch.note(f"{self._name}.{method}")
            return call(*args, **options)

        return watched


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("crashes") / "system", "embedder") as system:
        yield system


@pytest.fixture(scope="module")
def deps(system: System) -> Iterator[Dependencies]:
    settings = Settings(
        redis_url=system.redis.url,
        qdrant_url=system.qdrant.url,
        embedder_url=system.url("embedder"),
        releases_url=system.env["VITRINE_RELEASES_URL"],
        releases_cache_dir=Path(system.env["VITRINE_RELEASES_CACHE_DIR"]),
        uploads_dir=Path(system.env["VITRINE_UPLOADS_DIR"]),
        catalog_roots=(system.catalogs,),
        index_batch=BATCH,
    )
    deps = build_dependencies(settings, system.redis_client)
    yield deps
    deps.close()


def resume(deps: Dependencies, job_id: str) -> JobRecord:
    """Run every task that the sweeper finds due, once."""
    record = deps.jobs.get(job_id)
    for message in due_messages(deps, record):
        run_step(deps, message)
    return deps.jobs.get(job_id)


def run_to_the_end(deps: Dependencies, job_id: str) -> JobRecord:
    for _ in range(5):
        record = resume(deps, job_id)
        if record.state.finished:
            return record
    raise AssertionError(f"the job does not end: {record}")


def test_a_crash_before_any_call_loses_nothing(system: System, deps: Dependencies) -> None:
    first, second = system.release(), system.release(weights="seed:1")
    root = system.catalog(count=COUNT)

    def job(release_id: str) -> str:
        params = {"dataset": DATASET, "reader": "synthetic", "root": str(root), "model": MODEL,
                  "release_id": release_id, "limit": None}  # fmt: skip
        return deps.jobs.create(JobKind.INDEX, params)[0].id

    old, new = system.collection(first), system.collection(second)
    assert run_to_the_end(deps, job(first)).state is JobState.SUCCEEDED
    watch = Watch()  # count the calls in one undisturbed run
    assert run_to_the_end(watch.over(deps), job(second)).state is JobState.SUCCEEDED
    assert {"vectors.switch", "vectors.mark_ready", "vectors.upsert", "plans.write", "jobs.finish_batch"} <= set(
        watch.calls
    )
    for point in range(len(watch.calls)):
        deps.vectors.switch(Serving(DATASET, MODEL, first, old))
        deps.vectors.drop(new)
        job_id = job(second)
        crash = Watch(crash_before=point)
        with pytest.raises(Crashed):
            run_to_the_end(crash.over(deps), job_id)
        after = f"after {crash.calls[-1] if crash.calls else 'nothing'} ({point} calls)"
        assert system.serving() == (new if "vectors.switch" in crash.calls else old), after
        record = run_to_the_end(deps, job_id)
        assert record.state is JobState.SUCCEEDED, f"{after}: {record.error}"
        assert record.progress.done + record.progress.skipped == record.progress.total == COUNT, after
        assert record.result is not None
        assert record.result["indexed"] == COUNT, after
        assert system.serving() == new, after
        assert system.store.count(new, exact=True).count == COUNT, after
        assert system.store.count(old, exact=True).count == COUNT, f"{after}: the one before is kept"
