"""The commands that start and follow jobs, against the real search API, Redis and local Qdrant. The test is the worker
and changes the records of the jobs, so that every state can be checked.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.processes import LocalQdrant, Process, Redis, Service, free_port
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.errors import ProjectionImpossible
from vitrine.jobs import BatchOutcome, JobFault, JobRecord, JobState, JobStore, open_redis
from vitrine_local.cli import main
from vitrine_local.data_folder import DataFolder, RunRecord
from vitrine_local.demo_catalog.generate import generate_catalog

pytestmark = pytest.mark.slow

VITRINE = str(Path(sys.executable).with_name("vitrine"))
COUNT = 20


@dataclass
class System:
    """A search API on a data folder, without workers. `known` are the jobs of earlier tests."""

    data: DataFolder
    api: Service
    store: JobStore
    catalog: Path
    known: set[str] = field(default_factory=set)

    def command(self, *arguments: str) -> Process:
        """`vitrine ...` as a process, its output in a file."""
        log = self.data.root / f"command-{len(self.known)}.txt"
        return Process([VITRINE, *arguments, "--data", str(self.data.root)], log=log)

    def create_release(self, *more: str) -> list[str]:
        return ["release", "create", "--model", "timm:resnet18", "--dataset", "shop", "--reader", "synthetic", *more]

    def new_job(self) -> JobRecord:
        """The job that the command has started."""
        job = wait_until(
            lambda: next((job for job in self.store.list() if job.id not in self.known), None), what="a job"
        )
        assert job is not None
        self.known.add(job.id)
        return job


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    tmp_path = tmp_path_factory.mktemp("system")
    data = DataFolder.at(tmp_path / "data")
    data.create()
    catalog = tmp_path / "catalog"
    generate_catalog(catalog, count=COUNT, seed=1, processes=1)
    redis, qdrant, port = Redis(data.redis), LocalQdrant(data.qdrant), free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "VITRINE_API_PORT": str(port),
        "VITRINE_REDIS_URL": redis.url,
        "VITRINE_QDRANT_URL": qdrant.url,
        "VITRINE_EMBEDDER_URL": "http://127.0.0.1:9",
        "VITRINE_RELEASES_URL": f"file:{data.releases}",
        "VITRINE_UPLOADS_DIR": str(data.uploads),
        "VITRINE_CATALOG_ROOTS_FILE": str(data.catalog_roots_file),
    }
    api = Service("search_api", folder=data.logs, env=environment, ready_url=f"{url}/livez")
    try:
        with data.lock(), open_redis(redis.url) as connection:
            data.write_run(
                RunRecord(url=url, ready=True, started_at="2026-01-01T00:00:00Z", supervisor_pid=1, ports={}, pids={})
            )
            yield System(data, api, JobStore(connection), catalog)
    finally:
        for process in (api, qdrant, redis):
            process.kill()


def test_a_job_is_followed_to_its_end_with_counts_faults_and_rate(system: System) -> None:
    command = system.command(*system.create_release("--root", str(system.catalog), "--components", "8"))
    try:
        job = system.new_job()
        assert job.params["root"] == str(system.catalog), "the folder was allowed before the job was asked for"
        assert (job.params["model"], job.params["components"], job.params["whiten"]) == ("timm:resnet18", 8, True)
        system.store.update(job.id, lambda record: record.started(phase="reading"))
        system.store.update(job.id, lambda record: record.with_plan(total=COUNT, batches=1, phase="embedding"))
        wait_until(lambda: f"release: embedding: 0 of {COUNT} pictures" in command.tail(), what="the phase's line")
        fault = JobFault(product_id="10003", kind="image_truncated", detail="the file ends early")
        system.store.finish_batch(job.id, 0, BatchOutcome(done=COUNT - 1, faults=(fault,)))
        system.store.update(job.id, lambda record: record.succeeded({"release_id": "resnet18-0123456789"}))
        assert command.popen.wait(HUNG_AFTER_S) == 0, command.tail()
        text = command.tail()
        assert f"project succeeded: {COUNT - 1} pictures done, 1 failed, in " in text
        assert "pictures/s" in text
        assert "1 fault: 1 image_truncated" in text
        assert "  image_truncated  10003  the file ends early" in text
        assert text.endswith("release: resnet18-0123456789\n")
    finally:
        command.kill()


def test_the_search_api_may_be_restarted_while_a_job_is_followed(system: System) -> None:
    command = system.command(*system.create_release("--root", str(system.catalog)))
    try:
        job = system.new_job()
        wait_until(lambda: f"job {job.id}" in command.tail(), what="the command's first line")
        system.api.kill()
        system.store.update(job.id, lambda record: record.started(phase="reading"))
        system.api.start()
        system.api.wait_ready()
        wait_until(lambda: "release: reading" in command.tail(), what="the line of the new phase")
        refusal = ProjectionImpossible("20 pictures cannot give 128 components")
        system.store.update(job.id, lambda record: record.failed(refusal))
        assert command.popen.wait(HUNG_AFTER_S) == 1, command.tail()
        assert command.tail().splitlines()[-1] == (
            "error: making a release of timm:resnet18 failed: "
            "20 pictures cannot give 128 components (projection_impossible)"
        )
    finally:
        command.kill()


def test_ctrl_c_leaves_the_job_running_and_names_the_commands_to_continue(system: System) -> None:
    command = system.command(*system.create_release("--root", str(system.catalog)))
    try:
        job = system.new_job()
        wait_until(lambda: "release: queued" in command.tail(), what="the first event's line")
        command.popen.send_signal(signal.SIGINT)
        assert command.popen.wait(HUNG_AFTER_S) == 130, command.tail()
        assert f"vitrine jobs {job.id} --cancel" in command.tail()
        assert "Traceback" not in command.tail()
        assert system.store.get(job.id).state is JobState.QUEUED
    finally:
        command.kill()


def test_no_wait_prints_the_job_which_can_be_shown_and_cancelled(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(system.data.root)]
    assert main([*system.create_release("--root", str(system.catalog), "--no-wait"), *data]) == 0
    job = capsys.readouterr().out.strip()
    assert system.new_job().id == job
    assert main(["jobs", job, *data]) == 0
    assert "state          queued" in capsys.readouterr().out
    assert main(["jobs", *data]) == 0
    assert job in capsys.readouterr().out
    assert main(["jobs", job, "--cancel", "--json", *data]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "cancelled"
    assert main(["jobs", job, "--follow", *data]) == 1
    assert "the project job was cancelled" in capsys.readouterr().err


def test_options_reach_the_job_with_their_types(system: System) -> None:
    more = ["--option", "pad_type=same", "--option", "drop_rate=0.5", "--no-whiten", "--seed", "3", "--limit", "9"]
    arguments = [*system.create_release("--root", str(system.catalog), "--no-wait", *more), "--weights", "seed:4"]
    assert main([*arguments, "--data", str(system.data.root)]) == 0
    params = system.new_job().params
    assert params["options"] == {"pad_type": "same", "drop_rate": 0.5}
    assert (params["whiten"], params["seed"], params["limit"], params["weights"]) == (False, 3, 9, "seed:4")


def test_a_model_without_a_release_and_an_unknown_job_are_refused_in_one_line(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(system.data.root)]
    root = ["--dataset", "synthetic", "--root", str(system.catalog)]
    assert main(["index", "--model", "resnet18", *root, *data]) == 1
    captured = capsys.readouterr()
    assert "has no release" in captured.err
    assert captured.err.count("\n") == 1
    assert main(["jobs", "0123456789abc01234567", *data]) == 1
    assert "(job_not_found)" in capsys.readouterr().err


def test_status_names_what_is_down_and_fails(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--data", str(system.data.root)]) == 1
    captured = capsys.readouterr()
    assert "nothing is indexed yet" in captured.out
    assert re.search("^embedder +DOWN ", captured.out, re.MULTILINE)
    assert captured.err.startswith("error: not every service is up: embedder, indexer, trainer")
