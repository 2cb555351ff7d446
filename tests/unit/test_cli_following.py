"""Following a job and showing its progress, with a search API that does not always answer."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from rich.console import Console

from vitrine.jobs import JobError, JobFault, JobKind, JobRecord, JobState, Progress, StepFailure
from vitrine_local.cli.api import Api, ApiRefused, Target
from vitrine_local.cli.following import follow, must_have_succeeded
from vitrine_local.cli.jobs import report_job, show
from vitrine_local.cli.output import ProgressDisplay, Screen, duration
from vitrine_local.errors import CommandFailed, ServerUnreachable

JOB = "0123456789abc01234567"


def record(version: int, state: JobState = JobState.RUNNING, **fields: Any) -> JobRecord:
    return JobRecord(
        id=JOB, kind=JobKind.INDEX, state=state, created_at="2026-01-01T00:00:00+00:00", version=version, **fields
    )


def event(of: JobRecord) -> str:
    return f"id: {of.version}\nevent: {of.state.value}\ndata: {of.model_dump_json()}\n\n"


def stream(*parts: str) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, text="".join(parts))


def answer(of: JobRecord) -> httpx.Response:
    return httpx.Response(200, json={"success": True, "job": of.model_dump(mode="json")})


def problem(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"success": False, "code": code, "detail": f"it is {code}"})


@dataclass
class Scene:
    """A search API that returns the answers in order (an exception is raised), and a clock that pauses advance."""

    answers: list[httpx.Response | Exception]
    seen: list[JobRecord] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    now_s: float = 0.0

    def follow(self, *, patience_s: float = 60.0) -> JobRecord:
        with Api(Target("http://127.0.0.1:1"), transport=httpx.MockTransport(self._give)) as api:
            return follow(
                api, JOB, self.seen.append, patience_s=patience_s, clock=lambda: self.now_s, pause=self._pause
            )

    def _give(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, request.headers.get("last-event-id")))
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(given, Exception):
            raise given
        return given

    def _pause(self, seconds: float) -> None:
        self.now_s += seconds


def versions(records: list[JobRecord]) -> list[int]:
    return [seen.version for seen in records]


def test_events_are_shown_in_order_until_the_finished_one() -> None:
    scene = Scene([stream(event(record(1)), ": alive\n\n", event(record(2)), event(record(3, JobState.SUCCEEDED)))])
    assert scene.follow().state is JobState.SUCCEEDED
    assert versions(scene.seen) == [1, 2, 3]


def test_a_broken_stream_is_resumed_where_it_ended() -> None:
    scene = Scene(
        [stream(event(record(4))), answer(record(4)), stream(event(record(5, JobState.FAILED)))],
    )
    assert scene.follow().state is JobState.FAILED
    assert versions(scene.seen) == [4, 5]
    assert scene.asked[2] == (f"/api/jobs/{JOB}/events", "4")


def test_the_job_is_polled_if_events_do_not_arrive() -> None:
    scene = Scene(
        [
            httpx.Response(502, text="<html>a proxy</html>"),
            answer(record(1)),
            httpx.Response(200, text="buffered away"),
            answer(record(7, JobState.CANCELLED)),
        ]
    )
    assert scene.follow().state is JobState.CANCELLED
    assert versions(scene.seen) == [1, 7]


def test_a_restart_of_the_search_api_is_waited_for() -> None:
    refused = httpx.ConnectError("refused")
    scene = Scene(
        [
            stream(event(record(1))),
            refused,
            refused,
            problem(503, "draining"),
            problem(503, "draining"),
            stream(event(record(2, JobState.SUCCEEDED))),
        ]
    )
    assert scene.follow().version == 2


def test_following_stops_if_the_search_api_stays_unavailable() -> None:
    scene = Scene([stream(event(record(1))), httpx.ConnectError("refused")])
    with pytest.raises(ServerUnreachable, match="no search API answers"):
        scene.follow(patience_s=10.0)
    assert 10.0 <= scene.now_s <= 12.0


def test_an_unknown_job_is_an_error_at_once() -> None:
    scene = Scene([problem(404, "job_not_found")])
    with pytest.raises(ApiRefused, match=r"it is job_not_found \(job_not_found\)"):
        scene.follow()
    assert scene.now_s == 0.0


def test_a_job_of_another_version_is_one_clear_error() -> None:
    scene = Scene([stream('data: {"id": "x"}\n\n')])
    with pytest.raises(CommandFailed, match="same version"):
        scene.follow()


@pytest.fixture
def screen() -> tuple[Screen, Callable[[], str], Callable[[], str]]:
    out, notes = io.StringIO(), io.StringIO()
    made = Screen(out=Console(file=out, width=200), notes=Console(file=notes, width=200))
    return made, out.getvalue, notes.getvalue


def test_without_a_terminal_progress_is_a_line_for_each_phase_and_every_few_seconds(
    screen: tuple[Screen, Callable[[], str], Callable[[], str]],
) -> None:
    made, _, notes = screen
    now_s = [0.0]
    with ProgressDisplay(made, "indexing", clock=lambda: now_s[0]) as progress:
        progress.show_job(record(1, phase="laying out"))
        progress.show_job(record(2, phase="embedding", progress=Progress(total=1000)))
        for step in range(1, 11):
            now_s[0] = float(step)
            progress.show_job(record(2 + step, phase="embedding", progress=Progress(done=step * 100, total=1000)))
    assert notes().splitlines() == [
        "indexing: laying out",
        "indexing: embedding: 0 of 1,000 pictures",
        "indexing: embedding: 500 of 1,000 pictures, 100.0 pictures/s",
        "indexing: embedding: 1,000 of 1,000 pictures, 100.0 pictures/s",
    ]
    assert "\x1b" not in notes()


def test_on_a_terminal_progress_is_a_bar_that_is_cleared() -> None:
    file = io.StringIO()
    screen = Screen(out=Console(file=io.StringIO()), notes=Console(file=file, force_terminal=True, width=120))
    with ProgressDisplay(screen, "indexing") as progress:
        progress.show_job(record(1, phase="embedding", progress=Progress(done=40, total=100)))
    assert "indexing: embedding" in file.getvalue()
    assert "40/100" in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K"), "the bar's line is cleared"


def test_the_report_has_counts_rate_and_every_issue_by_id(
    screen: tuple[Screen, Callable[[], str], Callable[[], str]],
) -> None:
    made, out, _ = screen
    ended = record(
        9,
        JobState.SUCCEEDED,
        started_at="2026-01-01T00:00:00.000+00:00",
        finished_at="2026-01-01T00:00:20.000+00:00",
        progress=Progress(done=1000, failed=2, skipped=5, total=1007),
        faults=(
            JobFault(product_id="7", kind="missing_picture", detail="there is no such picture"),
            JobFault(product_id=None, kind="malformed_row", detail="line 8"),
        ),
        fault_counts={"missing_picture": 3, "malformed_row": 1},
    )
    report_job(made, ended)
    assert out().splitlines() == [
        "index succeeded: 1,000 pictures done, 5 up to date already, 2 failed, in 20.0 s, 50.0 pictures/s",
        "4 faults: 1 malformed_row, 3 missing_picture",
        "  malformed_row  -  line 8",
        "  missing_picture  7  there is no such picture",
        "  and 2 more of the kind missing_picture",
    ]


def test_a_waiting_job_shows_its_last_failure(
    screen: tuple[Screen, Callable[[], str], Callable[[], str]],
) -> None:
    made, out, _ = screen
    failure = StepFailure(
        step="batch:3", code="embedder_unavailable", detail="the embedder cannot be reached", tries=7,
        since="2026-01-01T00:00:00.000+00:00", at="2026-01-01T00:01:00.000+00:00",
        retry_at="2026-01-01T00:01:20.000+00:00",
    )  # fmt: skip
    show(made, record(9, JobState.RUNNING, phase="indexing", last_failure=failure), as_json=False)
    lines = out().splitlines()
    assert "state          running (waiting: embedder_unavailable)" in lines
    assert (
        "last failure   the embedder cannot be reached (embedder_unavailable): batch:3, 7 times in a row since "
        "2026-01-01 00:00:00, tried again at 2026-01-01 00:01:20"
    ) in lines


def test_only_a_job_that_succeeded_is_a_success() -> None:
    succeeded = record(1, JobState.SUCCEEDED)
    assert must_have_succeeded(succeeded, "indexing") is succeeded
    with pytest.raises(CommandFailed, match="indexing was cancelled"):
        must_have_succeeded(record(1, JobState.CANCELLED), "indexing")
    failed = record(1, JobState.FAILED, error=JobError(code="verification_failed", detail="2 of 5 are missing"))
    with pytest.raises(CommandFailed, match=r"indexing failed: 2 of 5 are missing \(verification_failed\)"):
        must_have_succeeded(failed, "indexing")


def test_durations_are_readable() -> None:
    assert [duration(seconds) for seconds in (4.24, 200.0, 7500.0)] == ["4.2 s", "3 min 20 s", "2 h 5 min"]


def test_a_body_that_is_not_a_json_object_is_reported_as_not_vitrine() -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=json.dumps([1, 2])))
    with (
        Api(Target("http://127.0.0.1:1"), transport=transport) as api,
        pytest.raises(ServerUnreachable, match="no Vitrine search API"),
    ):
        api.get("/api/status")


def test_the_report_of_an_index_job_lists_changes_and_pending_removals(
    screen: tuple[Screen, Callable[[], str], Callable[[], str]],
) -> None:
    made, out, _ = screen
    removed = [str(number) for number in range(200)]
    result = {"added": 1, "changed": 2, "removed": 205, "removed_ids": removed, "notices": ["the column a -> a_"]}
    report_job(made, record(9, state=JobState.SUCCEEDED, result=result))
    printed = out().splitlines()
    assert "1 added, 2 changed, 205 removed" in printed
    assert any("199 and 5 more" in line for line in printed)
    assert "notice: the column a -> a_" in printed
    stopped = {"would_remove": 2, "would_remove_ids": ["7", "8"]}
    report_job(made, record(9, state=JobState.FAILED, result=stopped))
    assert "would be removed: 7, 8" in out()
