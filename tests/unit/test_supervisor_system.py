"""The supervisor as a process, with toy services, observed from outside."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from harness.processes import Process
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine_local.data_folder import DataFolder, RunRecord

TESTS = Path(__file__).resolve().parent.parent
NICENESS = 7  # of the second toy service, see harness.toy_system


class ToySystem(Process):
    """`python -m harness.toy_system` on a data folder."""

    def __init__(
        self, folder: Path, *, words: str = "", log: str = "console.txt", log_folder: Path | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.data = DataFolder.at(folder)
        super().__init__(
            [sys.executable, "-m", "harness.toy_system", str(folder)],
            log=(log_folder or folder) / log,
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
        """(name, process id, id of its child) of every started toy service, in order."""
        lines = (self.data.root / "started.txt").read_text().splitlines()
        return [(name, int(pid), int(child)) for name, pid, child in (line.split() for line in lines)]

    def every_pid(self) -> list[int]:
        return [pid for _, *pids in self.toys() for pid in pids]


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def wait_run(condition: Callable[[], RunRecord | None], *, what: str, deadline_s: float = 30.0) -> RunRecord:
    """run.json as soon as `condition` returns it."""
    run = wait_until(condition, deadline_s=deadline_s, what=what)
    assert run is not None
    return run


def ready(toys: ToySystem, *, after: RunRecord | None = None) -> RunRecord | None:
    """run.json if every toy service is ready; with `after`, if the second one is also a new process since then."""
    assert toys.running(), toys.tail()
    run = toys.data.read_run()
    if run is None or not run.ready or (after is not None and run.pids["second"] == after.pids["second"]):
        return None
    return run


def run_with_second_toy(toys: ToySystem, *, state: str = "restarting", deaths: int = 0) -> RunRecord | None:
    """run.json if the second toy service is in this state, or has died that often."""
    run = toys.data.read_run()
    if run is None:
        return None
    second = run.services["second"]
    if deaths and second.deaths >= deaths:
        return run
    return run if not deaths and second.state == state and second.since and second.reason else None


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


def test_ctrl_c_stops_everything_with_exit_status_0(toys: ToySystem) -> None:
    toys.wait_ready()
    toys.popen.send_signal(signal.SIGINT)
    assert toys.popen.wait(HUNG_AFTER_S) == 0
    assert all(gone(pid) for pid in toys.every_pid())


def test_output_is_shown_with_the_service_name_and_kept_in_its_log(toys: ToySystem, folder: Path) -> None:
    toys.wait_ready()
    assert "first   | toy ready  name=first" in toys.tail()
    assert "\x1b" not in toys.tail()
    assert '{"event": "toy ready"' in (folder / "logs" / "first.log").read_text()


def test_a_killed_service_is_restarted_on_its_port(toys: ToySystem) -> None:
    before = toys.wait_ready()
    os.kill(before.pids["second"], signal.SIGKILL)

    def restarted() -> RunRecord | None:
        run = toys.data.read_run()
        return run if run and run.pids["second"] != before.pids["second"] and len(toys.toys()) == 3 else None

    after = wait_until(restarted, what="the restart")
    assert after is not None
    assert after.ports == before.ports
    assert after.pids["first"] == before.pids["first"]
    assert gone(toys.toys()[1][2]), "the killed service's child must be killed too"
    wait_until(
        lambda: "ready after" in toys.tail().rpartition("killed by SIGKILL")[2], what="readiness after the restart"
    )


def test_a_service_that_keeps_dying_is_restarted_with_backoff_while_the_other_serves(
    toys: ToySystem,
) -> None:
    before = toys.wait_ready()
    for death in range(1, 5):
        run = wait_run(lambda: ready(toys), what=f"readiness before death {death}")
        os.kill(run.pids["second"], signal.SIGKILL)
        wait_until(partial(run_with_second_toy, toys, deaths=death), what=f"death {death} in run.json")
    run = wait_run(lambda: ready(toys), what="readiness after the last death")
    assert run.pids["first"] == before.pids["first"]
    assert run.services["second"].deaths == 4
    pauses = re.findall(r"died \(killed by SIGKILL\).*starting it again in ([0-9.]+) s", toys.tail())
    assert [float(pause) for pause in pauses] == [0.2, 0.4, 0.8, 1.6]
    own_log = (toys.data.logs / "vitrine.log").read_text()
    assert "error second: died (killed by SIGKILL), death 4" in own_log


def test_a_hung_service_is_killed_and_restarted(toys: ToySystem) -> None:
    before = toys.wait_ready()
    os.kill(before.pids["second"], signal.SIGSTOP)
    wait_until(lambda: "does not answer: " in toys.tail(), what="its silence in the log")
    run = wait_run(lambda: ready(toys, after=before), what="the restart")
    assert run.pids["first"] == before.pids["first"]
    assert re.search(r"died \(no answer for \d+ s: .*\); starting it again", toys.tail())
    assert gone(before.pids["second"])


def test_run_json_shows_a_silent_service_until_it_answers_again(folder: Path) -> None:
    toys = ToySystem(folder, words="patient")
    try:
        before = toys.wait_ready()
        os.kill(before.pids["second"], signal.SIGSTOP)
        silent = wait_run(lambda: run_with_second_toy(toys, state="silent"), what="its silence in run.json")
        assert not silent.ready
        assert silent.services["first"].state == "ready"
        os.kill(before.pids["second"], signal.SIGCONT)
        run = wait_run(lambda: ready(toys), what="its answers in run.json")
        assert run.pids == before.pids
        assert "answers again" in toys.tail()
    finally:
        toys.kill()


def test_niceness_applies_to_the_whole_session_of_a_service(toys: ToySystem) -> None:
    run = toys.wait_ready()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = min(19, own + NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, run.pids["second"]) == wanted
    assert os.getpriority(os.PRIO_PROCESS, run.pids["first"]) == own
    grouping = Path(f"/proc/{run.pids['second']}/autogroup")
    if grouping.exists() and grouping.read_text().strip():
        assert grouping.read_text().split()[-1] == str(wanted)


def test_a_full_disk_stops_no_other_service_and_all_recovers_with_space(small_disk: Path) -> None:
    toys = ToySystem(small_disk / "data", words="wordy hungry", log_folder=small_disk.parent)
    try:
        before = toys.wait_ready()
        assert f"the disk of {small_disk / 'data'} has" in toys.tail()
        filling = small_disk / "filling"
        filling.write_bytes(bytes(shutil.disk_usage(small_disk).free))
        os.kill(before.pids["second"], signal.SIGKILL)  # it writes a file when it starts, so it cannot start now
        wait_until(lambda: toys.tail().count("died (exit status 1)") > 1, what="starts without room")
        wait_until(lambda: "run.json cannot be written: No space left" in toys.tail(), what="the warning")
        assert not gone(before.pids["first"])
        filling.unlink()
        run = wait_run(lambda: ready(toys, after=before), what="readiness with room")
        assert run.pids["first"] == before.pids["first"]
        wait_until(lambda: "a line" in (toys.data.logs / "second.log").read_text()[-500:], what="the log going on")
        assert toys.terminate() == 0
    finally:
        toys.kill()


def test_damaged_files_of_an_earlier_run_do_not_prevent_the_start(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    (folder / "run.json").write_bytes(os.urandom(200))
    (folder / "secrets.json").write_bytes(bytes(200))
    (folder / "catalog-roots.txt").write_bytes(os.urandom(200))
    (folder / "uploads").write_text("a file where a folder belongs")
    system = ToySystem(folder)
    try:
        system.wait_ready()
        assert (folder / "uploads").is_dir()
        assert [path.read_text() for path in folder.glob("uploads.damaged-*")] == ["a file where a folder belongs"]
    finally:
        system.kill()


def test_a_service_that_cannot_start_shows_its_last_lines_and_the_exit_status_is_1(folder: Path) -> None:
    system = ToySystem(folder, words="dies-at-start")
    assert system.popen.wait(HUNG_AFTER_S) == 1
    assert "the second could not start: exit status 7" in system.tail()
    assert system.tail().count("the last words of second") == 2  # when it was written, and again with the failure
    assert all(gone(pid) for pid in system.every_pid())


def test_no_process_outlives_a_killed_supervisor(toys: ToySystem) -> None:
    toys.wait_ready()
    pids = toys.every_pid()
    assert len(pids) == 4
    os.kill(toys.pid, signal.SIGKILL)  # only the supervisor, not its group
    wait_until(lambda: all(gone(pid) for pid in pids), what="the end of every service")
    wait_until(lambda: not toys.data.is_locked(), what="the lock's release")


def test_a_second_ctrl_c_does_not_wait_for_a_service_that_ignores_sigterm(folder: Path) -> None:
    system = ToySystem(folder, words="deaf")
    system.wait_ready()
    system.popen.send_signal(signal.SIGINT)
    wait_until(lambda: "stopping" in system.tail(), what="the first Ctrl-C")
    with pytest.raises(subprocess.TimeoutExpired):
        system.popen.wait(0.5)
    system.popen.send_signal(signal.SIGINT)
    assert system.popen.wait(HUNG_AFTER_S) == 0
    assert all(gone(pid) for pid in system.every_pid())


def test_a_second_system_on_the_same_folder_is_refused(toys: ToySystem, folder: Path) -> None:
    run = toys.wait_ready()
    second = ToySystem(folder, log="second.txt")
    assert second.popen.wait(HUNG_AFTER_S) == 1
    assert f"another Vitrine already runs on {folder} at {run.url}" in second.tail()
    assert toys.running()


def test_a_system_starts_right_after_another_was_killed(toys: ToySystem, folder: Path) -> None:
    toys.wait_ready()
    os.kill(toys.pid, signal.SIGKILL)
    second = ToySystem(folder, log="second.txt")
    try:
        second.wait_ready()
        assert second.terminate() == 0
    finally:
        second.kill()


def test_a_closed_terminal_does_not_stop_the_system(folder: Path) -> None:
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
        process.wait(HUNG_AFTER_S)
