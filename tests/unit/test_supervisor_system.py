"""The supervisor as its user meets it: a process that runs other processes, watched from outside through toys."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.processes import Process
from harness.waiting import wait_until
from vitrine_local.data_folder import DataFolder, RunRecord

TESTS = Path(__file__).resolve().parent.parent


class ToySystem(Process):
    """`python -m harness.toy_system` on a data folder."""

    def __init__(self, folder: Path, *, words: str = "", log: str = "console.txt") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.data = DataFolder.at(folder)
        super().__init__(
            [sys.executable, "-m", "harness.toy_system", str(folder)],
            log=folder / log,
            env={"PYTHONPATH": str(TESTS), "VITRINE_TEST_TOY": words},
        )

    def wait_ready(self) -> RunRecord:
        def record() -> RunRecord | None:
            assert self.running(), self.tail()
            run = self.data.read_run()
            return run if run is not None and run.ready and "ready: http" in self.tail() else None

        run = wait_until(record, what="the toy system")
        assert run is not None
        return run

    def toys(self) -> list[tuple[str, int, int]]:
        """(name, process, its child) of every toy that started, in order."""
        lines = (self.data.root / "started.txt").read_text().splitlines()
        return [(name, int(pid), int(child)) for name, pid, child in (line.split() for line in lines)]

    def every_pid(self) -> list[int]:
        return [pid for _, *pids in self.toys() for pid in pids]


def gone(pid: int) -> bool:
    """Neither running nor about to be waited for by a parent that is there."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def toys(folder: Path) -> Iterator[ToySystem]:
    system = ToySystem(folder)
    yield system
    system.kill()


def test_services_start_in_order_and_stop_in_reverse(toys: ToySystem, folder: Path) -> None:
    run = toys.wait_ready()
    assert [name for name, _, _ in toys.toys()] == ["first", "second"]
    assert set(run.pids) == set(run.ports) == {"first", "second"}
    assert toys.terminate() == 0
    assert (folder / "stopped.txt").read_text().split() == ["second", "first"]
    assert all(gone(pid) for pid in toys.every_pid())
    assert toys.data.read_run() is None
    assert not toys.data.is_locked()


def test_ctrl_c_stops_everything_with_status_0(toys: ToySystem) -> None:
    toys.wait_ready()
    toys.popen.send_signal(signal.SIGINT)
    assert toys.popen.wait(20) == 0
    assert all(gone(pid) for pid in toys.every_pid())


def test_output_carries_the_service_name_and_is_kept_in_its_own_log(toys: ToySystem, folder: Path) -> None:
    toys.wait_ready()
    assert "first   | toy ready  name=first" in toys.tail()
    assert "\x1b" not in toys.tail()
    assert '{"event": "toy ready"' in (folder / "logs" / "first.log").read_text()


def test_a_killed_service_is_started_again_on_its_port(toys: ToySystem) -> None:
    before = toys.wait_ready()
    os.kill(before.pids["second"], signal.SIGKILL)

    def restarted() -> RunRecord | None:
        run = toys.data.read_run()
        return run if run and run.pids["second"] != before.pids["second"] and len(toys.toys()) == 3 else None

    after = wait_until(restarted, what="the restart")
    assert after is not None
    assert after.ports == before.ports
    assert after.pids["first"] == before.pids["first"]
    assert gone(toys.toys()[1][2]), "the killed service's child must not live on"
    wait_until(
        lambda: "ready after" in toys.tail().rpartition("killed by SIGKILL")[2], what="readiness after the restart"
    )


def test_a_service_that_keeps_dying_ends_the_system_loudly(toys: ToySystem, folder: Path) -> None:
    toys.wait_ready()

    def killed_until_given_up() -> bool:
        if toys.running() and (run := toys.data.read_run()) and not gone(run.pids["second"]):
            os.kill(run.pids["second"], signal.SIGKILL)
        return not toys.running()

    wait_until(killed_until_given_up, deadline_s=60, what="giving up")
    assert toys.popen.returncode == 1
    assert "the second keeps dying (killed by SIGKILL); gave up" in toys.tail()
    assert all(gone(pid) for pid in toys.every_pid())


def test_a_service_that_cannot_start_shows_its_last_words_and_the_status_is_1(folder: Path) -> None:
    system = ToySystem(folder, words="dies-at-start")
    assert system.popen.wait(20) == 1
    assert "the second could not start: exit status 7" in system.tail()
    assert system.tail().count("the last words of second") == 2  # as it came, and again beside the failure
    assert all(gone(pid) for pid in system.every_pid())


def test_no_process_outlives_a_killed_supervisor(toys: ToySystem) -> None:
    toys.wait_ready()
    pids = toys.every_pid()
    assert len(pids) == 4
    os.kill(toys.pid, signal.SIGKILL)  # the supervisor alone, not its group
    wait_until(lambda: all(gone(pid) for pid in pids), deadline_s=5, what="the end of every service")
    wait_until(lambda: not toys.data.is_locked(), deadline_s=5, what="the lock's release")


def test_a_second_ctrl_c_does_not_wait_for_a_deaf_service(folder: Path) -> None:
    system = ToySystem(folder, words="deaf")
    system.wait_ready()
    system.popen.send_signal(signal.SIGINT)
    wait_until(lambda: "stopping" in system.tail(), what="the first Ctrl-C")
    with pytest.raises(subprocess.TimeoutExpired):
        system.popen.wait(0.5)
    system.popen.send_signal(signal.SIGINT)
    assert system.popen.wait(10) == 0
    assert all(gone(pid) for pid in system.every_pid())


def test_two_systems_on_one_folder_refuse(toys: ToySystem, folder: Path) -> None:
    run = toys.wait_ready()
    second = ToySystem(folder, log="second.txt")
    assert second.popen.wait(20) == 1
    assert f"another Vitrine already runs on {folder} at {run.url}" in second.tail()
    assert toys.running()


def test_a_system_starts_where_another_was_killed_a_moment_ago(toys: ToySystem, folder: Path) -> None:
    toys.wait_ready()
    os.kill(toys.pid, signal.SIGKILL)
    second = ToySystem(folder, log="second.txt")
    try:
        second.wait_ready()
        assert second.terminate() == 0
    finally:
        second.kill()


def test_a_screen_that_goes_away_does_not_stop_the_system(folder: Path) -> None:
    folder.mkdir()
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.toy_system", str(folder)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=write_end,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(write_end)
    os.close(read_end)
    try:
        second_log = folder / "logs" / "second.log"
        wait_until(lambda: "toy ready" in second_log.read_text(), what="both services in spite of the closed screen")
    finally:
        process.terminate()
        process.wait(20)
