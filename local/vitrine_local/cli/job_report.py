"""What is said of a job when it has ended: its counts, its rate, and its faults by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from vitrine.jobs import JobRecord, JobState
from vitrine_local.cli.screen import Screen, count, duration
from vitrine_local.errors import CommandFailed


def report_job(screen: Screen, record: JobRecord, *, what: str = "picture") -> None:
    """Say how a finished job ended."""
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
    _report_changes(screen, record.result or {})


def _report_changes(screen: Screen, result: Mapping[str, Any]) -> None:
    """Say what an indexing added, changed and removed, or would have removed, and which columns it renamed."""
    if "would_remove" in result:
        _report_ids(screen, "would be removed", result["would_remove"], result["would_remove_ids"])
    if "removed_ids" in result:
        screen.say(f"{result['added']:,} added, {result['changed']:,} changed, {result['removed']:,} removed")
        _report_ids(screen, "removed", result["removed"], result["removed_ids"])
    for notice in result.get("notices", ()):
        screen.say(f"notice: {notice}")


def _report_ids(screen: Screen, what: str, number: int, ids: Sequence[str]) -> None:
    if number:
        more = f" and {number - len(ids):,} more" if number > len(ids) else ""
        screen.say(f"{what}: {', '.join(ids)}{more}")


def report_faults(screen: Screen, record: JobRecord) -> None:
    """Say every fault by kind and id; of very many of a kind, those the record holds."""
    if not record.fault_counts:
        return
    screen.say(_summary(record))
    # The rarest kind first, for it is the one that a long list would hide.
    for kind, number in sorted(record.fault_counts.items(), key=lambda item: (item[1], item[0])):
        listed = [fault for fault in record.faults if fault.kind == kind]
        for fault in listed:
            screen.say(f"  {kind}  {fault.product_id or '-'}  {fault.detail}")
        if number > len(listed):
            screen.say(f"  and {number - len(listed):,} more of the kind {kind}")


def report_fault_counts(screen: Screen, record: JobRecord) -> None:
    """Say how many faults there were of each kind, and where they are listed: for jobs that pass them by."""
    if record.fault_counts:
        screen.say(f"{_summary(record)}; `vitrine jobs {record.id}` lists them")


def _summary(record: JobRecord) -> str:
    total = sum(record.fault_counts.values())
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(record.fault_counts.items()))
    return f"{count(total, 'fault')}: {kinds}"


def must_have_succeeded(record: JobRecord, doing: str) -> JobRecord:
    """Return the record of a job that succeeded. Raises CommandFailed with the reason for any other."""
    if record.state is JobState.SUCCEEDED:
        return record
    if record.state is JobState.CANCELLED:
        raise CommandFailed(f"{doing} was cancelled (job {record.id})")
    reason = f"{record.error.detail} ({record.error.code})" if record.error else "the job gives no reason"
    raise CommandFailed(f"{doing} failed: {reason}")


def lasted_s(record: JobRecord) -> float | None:
    """Seconds from the job's start to its end; None where it did not start or end."""
    if record.started_at is None or record.finished_at is None:
        return None
    return (datetime.fromisoformat(record.finished_at) - datetime.fromisoformat(record.started_at)).total_seconds()
