"""A worker whose Redis reaches its memory limit: nothing queued is lost, and work continues once there is memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from harness.system import running_system
from harness.waiting import wait_until
from vitrine.jobs import JobKind

PARAMS = {
    "dataset": "drawn", "reader": "synthetic", "root": "/nowhere", "model": "m", "release_id": "m-0123456789",
    "limit": None,
}  # fmt: skip


def test_a_worker_survives_a_full_redis_and_takes_the_waiting_job_afterwards(tmp_path: Path) -> None:
    with running_system(tmp_path / "system", "indexer") as system:
        client, worker = system.redis_client, system.services["indexer"]

        def announced() -> bool:
            return next(client.scan_iter(match="vitrine:worker:indexer:*"), None) is not None

        wait_until(announced, what="the worker")
        os.killpg(worker.pid, signal.SIGSTOP)  # the job must still be queued when Redis is full
        job, _ = system.jobs.create(JobKind.INDEX, PARAMS)
        system.publisher.publish(job)
        client.config_set("maxmemory", 100_000)
        os.killpg(worker.pid, signal.SIGCONT)
        wait_until(lambda: "when used memory > 'maxmemory'" in worker.tail(), what="the refusal")
        assert announced(), "it is still announced"
        client.config_set("maxmemory", 0)
        error = system.finished(job.id).error
        assert error is not None
        assert error.code == "release_not_found", "the worker did the job: there is no such release"
        assert worker.running()
