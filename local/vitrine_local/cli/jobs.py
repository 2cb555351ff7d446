"""`vitrine jobs`: the jobs, newest first; or one of them, to look at, follow, cancel or delete."""

from __future__ import annotations

import argparse

from vitrine.jobs import JobRecord, StepFailure
from vitrine_local.cli.api import Api
from vitrine_local.cli.following import parse_job, read_job
from vitrine_local.cli.job_report import must_have_succeeded, report_faults, report_job
from vitrine_local.cli.job_run import follow_job
from vitrine_local.cli.options import Commands, add_json, add_target, target_of, whole_number
from vitrine_local.cli.screen import Column, Screen, count, duration
from vitrine_local.errors import UsageInvalid


def add_to(commands: Commands) -> None:
    parser = commands.add("jobs", run, "list the jobs, or look at one, follow, cancel or delete it")
    parser.add_argument("id", nargs="?", metavar="ID", help="the job")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--follow", action="store_true", help="stay until the job ends; fails where the job does")
    what.add_argument(
        "--cancel", action="store_true", help="end the job: at once if it is queued, else at its next step"
    )
    what.add_argument("--delete", action="store_true", help="remove what is kept of a job that has ended")
    parser.add_argument("--limit", type=whole_number(at_least=1), default=20, metavar="N", help="list only N jobs")
    add_json(parser)
    add_target(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """List the jobs or treat one. Raises CommandFailed where a followed job did not succeed."""
    job_id: str | None = arguments.id
    if job_id is None:
        if arguments.follow or arguments.cancel or arguments.delete:
            raise UsageInvalid("--follow, --cancel and --delete take the id of a job; `vitrine jobs` lists them")
        with Api(target_of(arguments)) as api:
            _list(api, screen, limit=arguments.limit, as_json=arguments.json)
        return 0
    with Api(target_of(arguments)) as api:
        if arguments.follow:
            _follow(api, screen, job_id, as_json=arguments.json)
        elif arguments.cancel:
            record = parse_job(api.delete(f"/api/jobs/{job_id}").get("job"))
            show(screen, record, as_json=arguments.json)
        elif arguments.delete:
            answer = api.delete(f"/api/jobs/{job_id}/record")
            if arguments.json:
                screen.json(answer)
            else:
                screen.say(f"the record of the job {job_id} is removed")
        else:
            show(screen, read_job(api, job_id), as_json=arguments.json)
    return 0


def _list(api: Api, screen: Screen, *, limit: int, as_json: bool) -> None:
    answer = api.get("/api/jobs", limit=limit)
    if as_json:
        screen.json(answer)
        return
    records = [parse_job(content) for content in answer["jobs"]]
    if not records:
        screen.say("there are no jobs")
        return
    screen.table(
        [
            Column("job"),
            Column("kind"),
            Column("state"),
            Column("progress", right=True),
            Column("of"),
            Column("created"),
        ],
        [
            (job.id, job.kind.value, _state(job), _progress(job), _subject(job), _time(job.created_at))
            for job in records
        ],
    )


def _follow(api: Api, screen: Screen, job_id: str, *, as_json: bool) -> None:
    record = read_job(api, job_id)
    if not record.state.finished:
        record = follow_job(api, screen, job_id, record.kind.value)
    if as_json:
        screen.json(record.model_dump(mode="json"))
    else:
        report_job(screen, record)
    must_have_succeeded(record, f"the {record.kind.value} job")


def show(screen: Screen, record: JobRecord, *, as_json: bool) -> None:
    """Show one job, as JSON or as lines for people."""
    if as_json:
        screen.json(record.model_dump(mode="json"))
        return
    lines: list[tuple[str, object]] = [
        ("job", record.id),
        ("kind", record.kind.value),
        ("state", _state(record)),
        ("progress", f"{_progress(record)} ({record.progress.failed:,} failed, {record.progress.skipped:,} skipped)"),
        *([("time left", duration(record.eta_s))] if record.eta_s is not None else []),
        ("attempt", record.attempt),
        ("created", _time(record.created_at)),
        ("started", _time(record.started_at)),
        ("finished", _time(record.finished_at)),
        *((name, value) for name, value in record.params.items() if value is not None),
        *((name, value) for name, value in (record.result or {}).items() if not isinstance(value, dict | list)),
        *([("error", f"{record.error.detail} ({record.error.code})")] if record.error else []),
        *([("last failure", _failure(record.last_failure))] if record.last_failure else []),
    ]
    for name, value in lines:
        screen.say(f"{name:<14} {value}")
    for note in record.notes:
        screen.say(f"{_time(note.at)}  {note.text}")
    report_faults(screen, record)


def _failure(failure: StepFailure) -> str:
    again = f", tried again at {_time(failure.retry_at)}" if failure.retry_at else ""
    return (
        f"{failure.detail} ({failure.code}): {failure.step}, {count(failure.tries, 'time')} in a row "
        f"since {_time(failure.since)}{again}"
    )


def _state(record: JobRecord) -> str:
    if record.state.finished:
        return record.state.value
    if record.last_failure is not None:
        return f"{record.state.value} (waiting: {record.last_failure.code})"
    wanted = ", to be cancelled" if record.cancel_requested else ""
    phase = f" ({record.phase})" if record.phase != record.state.value else ""
    return f"{record.state.value}{phase}{wanted}"


def _progress(record: JobRecord) -> str:
    progress = record.progress
    done = progress.done + progress.failed + progress.skipped if progress.course is None else progress.course
    return f"{done:,}" if progress.total is None else f"{done:,} of {progress.total:,}"


def _subject(record: JobRecord) -> str:
    named = (record.params.get(name) for name in ("dataset", "product_id", "release_id"))
    subject = " ".join(str(value) for value in named if value)
    return subject if record.params.get("release_id") else " ".join(filter(None, (subject, record.params.get("model"))))


def _time(moment: str | None) -> str:
    return moment[:19].replace("T", " ") if moment else "-"
