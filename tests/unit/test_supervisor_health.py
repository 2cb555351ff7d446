"""Detection of hung processes, and the restart backoff."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from harness.waiting import wait_until
from vitrine_local.supervisor.health import LivenessMonitor, cpu_s, is_hung
from vitrine_local.supervisor.service import RestartBackoff

QUICK = {"interval_s": 0.05, "ask_timeout_s": 0.2}


class Answers:
    """A probe with these answers in turn; the last one repeats."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, _pid: int | None) -> str | None:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that does nothing."""
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def worker() -> Iterator[int]:
    """A process that uses the CPU all the time."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process.pid
    process.kill()
    process.wait()


def watch(liveness: LivenessMonitor) -> tuple[str, list[str]]:
    events: list[str] = []

    async def watched() -> str:
        async with asyncio.timeout(60):
            return await liveness.watch(on_silent=events.append, on_answer=lambda: events.append("answers"))

    return asyncio.run(watched()), events


def test_an_idle_process_that_does_not_answer_has_hung(sleeper: int) -> None:
    reason, events = watch(LivenessMonitor(Answers(None, "gone"), pid=sleeper, hung_after_s=0.5, **QUICK))
    assert "no answer" in reason
    assert reason.endswith("gone")
    assert events == ["gone"]


def test_a_probe_that_never_returns_counts_as_no_answer(sleeper: int) -> None:
    async def never(_pid: int | None) -> str | None:
        await asyncio.Event().wait()
        return None

    assert "no answer within 0.2 s" in watch(LivenessMonitor(never, pid=sleeper, hung_after_s=0.5, **QUICK))[0]


def test_an_answer_resets_the_time_without_answers(sleeper: int) -> None:
    answers = Answers("slow", "slow", "slow", None, "gone")
    _, events = watch(LivenessMonitor(answers, pid=sleeper, hung_after_s=0.5, **QUICK))
    assert events == ["slow", "answers", "gone"]


def test_a_busy_process_gets_three_times_as_long() -> None:
    standing = [is_hung(silent_s=silent_s, used_s=0.0, hung_after_s=1.0) for silent_s in (0.9, 1.0)]
    computing = [is_hung(silent_s=silent_s, used_s=silent_s / 2, hung_after_s=1.0) for silent_s in (2.9, 3.0)]
    unknown = [is_hung(silent_s=silent_s, used_s=None, hung_after_s=1.0) for silent_s in (2.9, 3.0)]
    assert standing == computing == unknown == [False, True]


def test_the_cpu_time_of_a_busy_process_grows(worker: int, sleeper: int) -> None:
    before_s, idle_s = cpu_s(worker), cpu_s(sleeper)
    assert before_s is not None
    assert wait_until(lambda: (cpu_s(worker) or 0.0) > before_s + 0.1, what="0.1 s of the processor")
    assert cpu_s(sleeper) == idle_s


def test_time_without_checks_does_not_count_as_time_without_answers(sleeper: int) -> None:
    """For example after the machine slept or the supervisor was suspended."""
    answers = Answers("late")

    async def late(pid: int | None) -> str | None:
        if answers.asked == 0:
            time.sleep(2.0)  # noqa: ASYNC251 - the whole event loop stands still, as it does then
        return await answers(pid)

    reason, _ = watch(LivenessMonitor(late, pid=sleeper, hung_after_s=1.0, **QUICK))
    assert answers.asked > 4, reason


def test_the_backoff_grows_to_30_seconds_and_resets_after_a_long_run() -> None:
    policy = RestartBackoff()
    pauses = [policy.next_delay_s(uptime_s=1.0) for _ in range(12)]
    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert pauses[-3:] == [30.0] * 3
    assert policy.next_delay_s(uptime_s=3600.0) == 0.2
    assert max(policy.next_delay_s(uptime_s=1.0) for _ in range(10_000)) == 30.0


def test_an_ended_process_counts_as_idle() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
    assert "no answer" in watch(LivenessMonitor(Answers("gone"), pid=child.pid, hung_after_s=0.2, **QUICK))[0]
