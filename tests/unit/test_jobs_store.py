"""Job records on a real Redis: compare-and-set, counting once, listing, retention, and the async twin."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path

import pytest
import redis

from harness.processes import Redis
from vitrine.errors import (
    BrokerUnavailable,
    Conflict,
    JobFinished,
    JobNotFound,
    JobUnfinished,
    ParameterInvalid,
    TooManyJobs,
)
from vitrine.jobs import (
    MAX_FAULTS_OF_A_KIND,
    AsyncJobStore,
    BatchOutcome,
    JobFault,
    JobKind,
    JobRecord,
    JobState,
    JobStore,
    open_async_redis,
    open_redis,
    operations,
)
from vitrine.jobs import keys as job_keys
from vitrine.jobs.operations import text


@pytest.fixture
def store(client: redis.Redis) -> JobStore:
    return JobStore(client)


def start(record: JobRecord) -> JobRecord:
    return record.started(phase="reading")


def running(store: JobStore, kind: JobKind = JobKind.INDEX) -> JobRecord:
    record, _ = store.create(kind, {"dataset": "shop"})
    return store.update(record.id, start)


def faults(count: int, kind: str = "image_truncated") -> tuple[JobFault, ...]:
    return tuple(JobFault(product_id=str(number), kind=kind, detail="it ends early") for number in range(count))


def test_a_new_job_is_queued_and_read_back_unchanged(store: JobStore) -> None:
    made, created = store.create(JobKind.INDEX, {"dataset": "shop", "limit": None, "roots": []}, request_id="r" * 8)
    assert created
    assert store.get(made.id) == made
    assert made.state is JobState.QUEUED
    assert made.params == {"dataset": "shop", "limit": None, "roots": []}


def test_a_damaged_record_is_not_found_and_the_others_still_are(store: JobStore, client: redis.Redis) -> None:
    damaged, _ = store.create(JobKind.INDEX, {"dataset": "shop"})
    whole, _ = store.create(JobKind.INDEX, {"dataset": "shop"})
    client.hset(job_keys.job(damaged.id), "record", bytes(64))
    with pytest.raises(JobNotFound, match="damaged"):
        store.get(damaged.id)
    assert [record.id for record in store.list()] == [whole.id]
    assert [record.id for record in store.unfinished([JobKind.INDEX])] == [whole.id]


def test_an_unknown_id_and_an_id_that_names_another_key_are_not_found(store: JobStore, client: redis.Redis) -> None:
    client.set("vitrine:job:x", "1")
    for job_id in ("0" * 21, "x", "", "a" * 500, "../../etc"):
        with pytest.raises(JobNotFound):
            store.get(job_id)


def test_the_same_idempotency_key_gives_the_same_job_until_it_is_removed(store: JobStore) -> None:
    first, created = store.create(JobKind.INDEX, {"n": 1}, idempotency_key="abc")
    again, created_again = store.create(JobKind.INDEX, {"n": 2}, idempotency_key="abc")
    other, _ = store.create(JobKind.PROJECT, {}, idempotency_key="abc")
    assert (created, created_again) == (True, False)
    assert again == first
    assert other.id != first.id  # a key belongs to a kind of job
    store.request_cancel(first.id)
    store.trim(keep=0)
    assert store.create(JobKind.INDEX, {}, idempotency_key="abc")[1]


def test_fifty_concurrent_posts_with_one_key_create_one_job(store: JobStore) -> None:
    made: list[tuple[str, bool]] = []
    posts = [
        threading.Thread(
            target=lambda: made.append(
                (lambda r: (r[0].id, r[1]))(store.create(JobKind.INDEX, {}, idempotency_key="k"))
            )
        )
        for _ in range(50)
    ]
    for post in posts:
        post.start()
    for post in posts:
        post.join()
    assert len({job_id for job_id, _ in made}) == 1
    assert sum(created for _, created in made) == 1


def test_a_job_is_queued_then_running_and_ends_once(store: JobStore) -> None:
    record = running(store)
    assert (record.state, record.attempt, record.phase) == (JobState.RUNNING, 1, "reading")
    ended = store.update(record.id, lambda job: job.succeeded({"indexed": 3}))
    assert ended.result == {"indexed": 3}
    assert ended.finished_at is not None
    assert ended.version > record.version
    for change in (start, JobRecord.cancelled, lambda job: job.with_phase("again")):
        with pytest.raises(JobFinished):
            store.update(record.id, change)
    assert store.get(record.id) == ended


def test_a_queued_job_cannot_succeed_without_having_run(store: JobStore) -> None:
    record, _ = store.create(JobKind.INDEX, {})
    with pytest.raises(Conflict):
        store.update(record.id, lambda job: job.succeeded({}))


def test_concurrent_updates_lose_nothing(store: JobStore) -> None:
    record = running(store)

    def add() -> None:
        for _ in range(10):
            store.update(record.id, start)  # each update adds an attempt

    writers = [threading.Thread(target=add) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert store.get(record.id).attempt == 41


def test_a_batch_counts_once_with_its_first_outcome(store: JobStore) -> None:
    record = running(store)
    first = store.finish_batch(record.id, 0, BatchOutcome(done=5, skipped=2, faults=faults(1)))
    replay = store.finish_batch(record.id, 0, BatchOutcome(done=99))
    assert (first.counted, replay.counted) == (True, False)
    assert first.finished_batches == replay.finished_batches == 1
    progress = store.get(record.id).progress
    assert (progress.done, progress.skipped, progress.failed) == (5, 2, 1)
    assert store.outcomes(record.id)[0].failed_ids() == {"0"}
    assert store.finished_batches(record.id) == {0}


def test_the_first_200_issues_of_a_kind_are_stored_and_all_are_counted(store: JobStore) -> None:
    record = running(store)
    store.note_faults(record.id, "catalogue", (*faults(150, "empty_field"), *faults(3, "missing_picture")))
    assert not store.note_faults(record.id, "catalogue", faults(150, "empty_field"))
    assert store.note_faults(record.id, "pictures", (*faults(900, "empty_field"), *faults(1, "bad_id")))
    store.finish_batch(record.id, 7, BatchOutcome(faults=faults(130)))
    seen = store.get(record.id)
    kept = Counter(fault.kind for fault in seen.faults)
    assert kept == {"empty_field": MAX_FAULTS_OF_A_KIND, "missing_picture": 3, "bad_id": 1, "image_truncated": 130}
    assert seen.fault_counts == {"empty_field": 1050, "missing_picture": 3, "bad_id": 1, "image_truncated": 130}
    assert seen.progress.failed == 130  # issues of the catalogue are not items of the job


def test_a_finished_job_counts_no_more_batches(store: JobStore) -> None:
    record = running(store)
    store.update(record.id, JobRecord.cancelled)
    mark = store.finish_batch(record.id, 0, BatchOutcome(done=1))
    assert not mark.counted
    assert not mark.running
    assert store.get(record.id).progress.done == 0
    assert not store.note_faults(record.id, "catalogue", faults(1))


def test_cancelling_ends_a_queued_job_and_requests_it_of_a_running_one(store: JobStore) -> None:
    queued, _ = store.create(JobKind.INDEX, {})
    assert store.request_cancel(queued.id).state is JobState.CANCELLED
    with pytest.raises(JobFinished):
        store.request_cancel(queued.id)
    record = running(store)
    asked = store.request_cancel(record.id)
    assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
    assert store.request_cancel(record.id).cancel_requested


def test_the_list_is_newest_first_and_can_be_filtered(store: JobStore) -> None:
    made = [store.create(JobKind.INDEX if n % 2 else JobKind.PROJECT, {"n": n})[0].id for n in range(6)]
    store.request_cancel(made[5])
    assert [record.params["n"] for record in store.list(limit=3)] == [5, 4, 3]
    assert [record.id for record in store.list()] == made[::-1]
    assert {record.params["n"] for record in store.list(kind=JobKind.INDEX)} == {1, 3, 5}
    assert [record.id for record in store.list(state=JobState.CANCELLED)] == [made[5]]
    assert {record.id for record in store.unfinished([JobKind.INDEX])} == {made[1], made[3]}


def test_a_filtered_list_continues_past_its_first_page(store: JobStore) -> None:
    wanted, _ = store.create(JobKind.PROJECT, {})
    for _ in range(120):
        store.create(JobKind.INDEX, {})
    assert [record.id for record in store.list(limit=5, kind=JobKind.PROJECT)] == [wanted.id]


def test_retention_removes_old_finished_jobs_with_all_their_keys_and_never_unfinished_ones(
    store: JobStore, client: redis.Redis
) -> None:
    kept_running = running(store)
    for _ in range(5):
        done = running(store)
        store.finish_batch(done.id, 0, BatchOutcome(done=1, faults=faults(1)))
        store.update(done.id, lambda job: job.succeeded({}))
    assert store.trim(keep=2) == 3
    assert len(store.list()) == 3
    assert store.trim(keep=100, keep_days=-1) == 2  # every finished job is older
    assert [record.id for record in store.list()] == [kept_running.id]
    left = {text(key) for key in client.keys("*")}
    assert left == {job_keys.job(kept_running.id), job_keys.ALL_JOBS, job_keys.UNFINISHED}


def test_every_key_is_in_the_vitrine_namespace(store: JobStore, client: redis.Redis) -> None:
    record, _ = store.create(JobKind.INDEX, {}, idempotency_key="k")
    store.update(record.id, start)
    store.finish_batch(record.id, 0, BatchOutcome(faults=faults(1)))
    assert all(text(key).startswith("vitrine:") for key in client.keys("*"))


def test_the_async_store_and_the_sync_store_see_the_same_jobs(server: Redis, store: JobStore) -> None:
    async def scenario() -> list[JobState]:
        connection = open_async_redis(server.url)
        twin = AsyncJobStore(connection)
        made, created = await twin.create(JobKind.INDEX, {"dataset": "shop"}, idempotency_key="same")
        again, created_again = await twin.create(JobKind.INDEX, {}, idempotency_key="same")
        assert (created, created_again, again) == (True, False, made)
        assert store.create(JobKind.INDEX, {}, idempotency_key="same") == (made, False)
        assert store.get(made.id) == await twin.get(made.id) == made
        await asyncio.to_thread(store.update, made.id, start)
        states = [made.state, (await twin.get(made.id)).state]
        await twin.request_cancel(made.id)
        await asyncio.to_thread(store.update, made.id, JobRecord.cancelled)
        states.append((await twin.get(made.id)).state)
        assert [record.id for record in await twin.list(kind=JobKind.INDEX)] == [made.id]
        with pytest.raises(JobFinished):
            await twin.request_cancel(made.id)
        with pytest.raises(JobNotFound):
            await twin.get("0" * 21)
        await connection.aclose()
        return states

    states = asyncio.run(scenario())
    assert states == [JobState.QUEUED, JobState.RUNNING, JobState.CANCELLED]


def test_without_redis_every_call_reports_an_unavailable_broker(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis")
    server.kill()
    connection = open_redis(server.url)
    with pytest.raises(BrokerUnavailable) as refusal:
        JobStore(connection).create(JobKind.INDEX, {})
    assert server.url not in refusal.value.detail
    connection.close()


def test_only_the_record_of_a_finished_job_can_be_removed(store: JobStore, client: redis.Redis, server: Redis) -> None:
    queued, _ = store.create(JobKind.INDEX, {}, idempotency_key="again")
    at_work = running(store)
    store.finish_batch(at_work.id, 0, BatchOutcome(done=1, faults=faults(3)))

    async def delete(job_id: str) -> None:
        connection = open_async_redis(server.url)
        try:
            await AsyncJobStore(connection).delete(job_id)
        finally:
            await connection.aclose()

    for job in (queued, at_work):
        with pytest.raises(JobUnfinished):
            asyncio.run(delete(job.id))
        assert store.get(job.id).state is not JobState.CANCELLED
    store.request_cancel(queued.id)
    store.update(at_work.id, lambda record: record.succeeded({}))
    for job in (queued, at_work):
        asyncio.run(delete(job.id))
        with pytest.raises(JobNotFound):
            store.get(job.id)
        with pytest.raises(JobNotFound):
            asyncio.run(delete(job.id))
    assert store.list() == []
    assert not list(client.scan_iter(match="vitrine:job:*"))
    assert store.create(JobKind.INDEX, {}, idempotency_key="again")[1]


def test_the_number_of_unfinished_jobs_is_bounded(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_UNFINISHED", 3)
    made = [store.create(JobKind.INDEX, {}, idempotency_key=str(number))[0] for number in range(3)]
    with pytest.raises(TooManyJobs, match="cancel some"):
        store.create(JobKind.TRAIN, {}, idempotency_key="one more")
    assert store.create(JobKind.INDEX, {}, idempotency_key="0") == (made[0], False)
    store.request_cancel(made[1].id)
    assert store.create(JobKind.TRAIN, {}, idempotency_key="one more")[1]


def test_the_size_of_a_record_is_bounded(store: JobStore) -> None:
    with pytest.raises(ParameterInvalid, match="at most 131072"):
        store.create(JobKind.TRAIN, {"options": {"note": "x" * 19_000_000}})
    job = running(store)
    long = JobFault(product_id="p" * 5_000, kind="k" * 5_000, detail="d" * 5_000_000)
    store.finish_batch(job.id, 0, BatchOutcome(faults=(long,)))
    store.update(job.id, lambda record: record.with_note("n" * 1_000_000).with_phase("p" * 1_000_000))
    ended = store.update(
        job.id, lambda record: record.succeeded({"release": "net-0123456789", "table": ["x" * 100] * 5_000, "count": 7})
    )
    assert ended.result == {"release": "net-0123456789", "count": 7, "left_out": ["table"]}
    assert len(store.get(job.id).model_dump_json()) < 10_000
    failed = running(store)
    updated = store.update(failed.id, lambda record: record.failed(Conflict("c" * 5_000_000)))
    assert updated.error is not None
    assert len(updated.error.detail) == 2_000
