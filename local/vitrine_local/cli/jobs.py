"""`vitrine jobs`: list the jobs, or show, follow, cancel or delete one. Also the report of a job that has ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from vitrine.jobs import JobRecord, StepFailure
from vitrine.jobs.schedules import CHANGES
from vitrine_local.cli.api import Api, find_target
from vitrine_local.cli.following import follow_job, must_have_succeeded, parse_job, read_job
from vitrine_local.cli.options import AsJson, Data, Url, screen_of
from vitrine_local.cli.output import Column, Screen, count, duration
from vitrine_local.errors import UsageInvalid


def jobs(
    context: typer.Context,
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help="The job.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Wait until the job ends; fails if the job fails.")] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the job: at once if it is queued, else at its next step.")
    ] = False,
    changes: Annotated[
        str | None,
        typer.Option(
            metavar="added|changed|removed|all", help="List the products that an index job added, changed or removed."
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the record of a job that has ended.")] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="List at most N jobs.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises CommandFailed if a followed job did not succeed."""
    screen = screen_of(context)
    if follow + cancel + delete + (changes is not None) > 1:
        raise UsageInvalid("--follow, --cancel, --changes and --delete exclude each other")
    if changes is not None and changes not in (*CHANGES, "all"):
        raise UsageInvalid(f"--changes takes {', '.join(CHANGES)} or all, not {changes!r}")
    if job_id is None and (follow or cancel or delete or changes):
        raise UsageInvalid("--follow, --cancel, --changes and --delete take the id of a job; `vitrine jobs` lists them")
    with Api(find_target(url, data)) as api:
        if job_id is None:
            _list(api, screen, limit=limit, as_json=as_json)
        elif follow:
            _follow(api, screen, job_id, as_json=as_json)
        elif changes is not None:
            _list_changes(api, screen, job_id, changes, as_json=as_json)
        elif cancel:
            show(screen, parse_job(api.delete(f"/api/jobs/{job_id}").get("job")), as_json=as_json)
        elif delete:
            answer = api.delete(f"/api/jobs/{job_id}/record")
            if as_json:
                screen.json(answer)
            else:
                screen.say(f"the record of the job {job_id} is removed")
        else:
            show(screen, read_job(api, job_id), as_json=as_json)


def _list_changes(api: Api, screen: Screen, job_id: str, kind: str, *, as_json: bool) -> None:
    """Print the ids, a line each; of all kinds with what happened before them."""
    parameters = {} if kind == "all" else {"kind": kind}
    for line in api.text(f"/api/jobs/{job_id}/changes", **parameters).splitlines():
        if as_json:
            screen.say(line)
            continue
        change = json.loads(line)
        screen.say(change["id"] if parameters else f"{change['change']}  {change['id']}")


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
    """Show one job, as JSON or as text."""
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


def report_job(screen: Screen, record: JobRecord, *, what: str = "picture") -> None:
    """Show how a finished job ended: its counts, its rate, its faults and what it changed."""
    progress = record.progress
    parts = [f"{count(progress.done, what)} done"]
    if progress.skipped:
        parts.append(f"{progress.skipped:,} up to date already")
    parts.append(f"{progress.failed:,} failed")
    seconds = lasted_s(record)
    if seconds is not None:
        parts.append(f"in {duration(seconds)}")
        if progress.done and seconds > 0:
            parts.append(f"{progress.done / seconds:.1f} {what}s/s")
    screen.say(f"{record.kind.value} {record.state.value}: " + ", ".join(parts))
    report_faults(screen, record)
    _report_changes(screen, record.id, record.result or {})


def _report_changes(screen: Screen, job_id: str, result: Mapping[str, Any]) -> None:
    """What an indexing added, changed and removed, or would have removed, and which columns it renamed."""
    if "would_remove" in result:
        _report_ids(screen, "would be removed", result["would_remove"], result["would_remove_ids"])
    if "removed_ids" in result:
        screen.say(f"{result['added']:,} added, {result['changed']:,} changed, {result['removed']:,} removed")
        _report_ids(screen, "removed", result["removed"], result["removed_ids"])
        if result["added"] or result["changed"] or result["removed"]:
            screen.say(f"`vitrine jobs {job_id} --changes all` lists them")
    for notice in result.get("notices", ()):
        screen.say(f"notice: {notice}")


def _report_ids(screen: Screen, what: str, number: int, ids: Sequence[str]) -> None:
    if number:
        more = f" and {number - len(ids):,} more" if number > len(ids) else ""
        screen.say(f"{what}: {', '.join(ids)}{more}")


def report_faults(screen: Screen, record: JobRecord) -> None:
    """Show every fault in the record by kind and id."""
    if not record.fault_counts:
        return
    screen.say(_summary(record))
    # The rarest kind first: a long list would hide it.
    for kind, number in sorted(record.fault_counts.items(), key=lambda item: (item[1], item[0])):
        listed = [fault for fault in record.faults if fault.kind == kind]
        for fault in listed:
            screen.say(f"  {kind}  {fault.product_id or '-'}  {fault.detail}")
        if number > len(listed):
            screen.say(f"  and {number - len(listed):,} more of the kind {kind}")


def report_fault_counts(screen: Screen, record: JobRecord) -> None:
    """Show how many faults there were of each kind, and where they are listed."""
    if record.fault_counts:
        screen.say(f"{_summary(record)}; `vitrine jobs {record.id}` lists them")


def _summary(record: JobRecord) -> str:
    total = sum(record.fault_counts.values())
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(record.fault_counts.items()))
    return f"{count(total, 'fault')}: {kinds}"


def lasted_s(record: JobRecord) -> float | None:
    """Seconds from the job's start to its end; None if it has not started or not ended."""
    if record.started_at is None or record.finished_at is None:
        return None
    return (datetime.fromisoformat(record.finished_at) - datetime.fromisoformat(record.started_at)).total_seconds()
