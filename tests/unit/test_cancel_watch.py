"""A cancelled job ends within seconds: an uninterruptible call is ended with its process."""

from __future__ import annotations

import subprocess
import sys
import threading

import redis

from harness.processes import Redis
from harness.waiting import wait_until
from trainer.cancel_watch import CancelWatch
from vitrine.jobs import JobKind, JobState, JobStore, keys

# A job in one long call, such as loading a network or reading a catalogue.
_STUCK = """
import sys, threading
from trainer.settings import Settings
from trainer.tasks import build_dependencies, run_job
from vitrine.jobs import open_redis
from vitrine.jobs.celery import Task
settings = Settings(redis_url=sys.argv[1])
parts = build_dependencies(settings, open_redis(settings.redis_url))
run_job(parts, sys.argv[2], Task.PROJECT, lambda *_: threading.Event().wait(600))
"""


def test_a_cancelled_job_in_a_long_call_is_ended_with_its_process(server: Redis, client: redis.Redis) -> None:
    jobs = JobStore(client)
    job_id = jobs.create(JobKind.PROJECT, {})[0].id
    process = subprocess.Popen([sys.executable, "-c", _STUCK, server.url, job_id])
    try:
        wait_until(lambda: jobs.get(job_id).state is JobState.RUNNING, what="the job runs")
        jobs.request_cancel(job_id)
        wait_until(lambda: process.poll() is not None, what="its process ends")
    finally:
        process.kill()
        process.wait()
    assert jobs.get(job_id).state is JobState.CANCELLED
    assert not client.hexists(keys.part(job_id, "crashes"), "project"), "nothing is kept that counts as a crash"


def test_a_job_that_stops_in_time_keeps_its_process(client: redis.Redis) -> None:
    jobs = JobStore(client)
    job_id = jobs.create(JobKind.PROJECT, {})[0].id
    jobs.update(job_id, lambda record: record.started(phase="loading"))
    with CancelWatch(jobs, job_id, cancel=lambda _: None, grace_s=600):
        jobs.request_cancel(job_id)
    assert not [thread for thread in threading.enumerate() if thread.name == "cancel-watch"]
