"""Jobs: records in Redis that say what is to be done, how far it is and how it ended. A record changes by
compare-and-set only; a finished one changes no more. Celery messages carry a job's id and a batch number, nothing else.

    JobStore(redis: redis.Redis)                      sync, for workers
        create(kind, params, *, idempotency_key=None) -> (JobRecord, created: bool)     TooManyJobs
        get(job_id) -> JobRecord                      JobNotFound
        list(*, limit=50, kind=None, state=None) -> list[JobRecord]   newest first, without the list of faults
        update(job_id, change) -> JobRecord           JobFinished, Conflict, RecordChanged
        request_cancel(job_id) -> JobRecord           queued: cancelled at once; running: at its next step; JobFinished
        finish_batch(job_id, batch, outcome) -> BatchMark             counted once however often it is called
        note_faults(job_id, source, faults) -> bool   faults that belong to no batch; counted once a source
        batch_finished(job_id, batch) -> bool
        finished_batches(job_id) -> frozenset[int];   outcomes(job_id) -> dict[int, BatchOutcome]
        unfinished(kinds) -> list[JobRecord];         trim(...) -> int
        watch(job_id, *, poll_s) -> Iterator[JobRecord]
    AsyncJobStore(redis: redis.asyncio.Redis)         the same keys and scripts, for the search API
        create, get, list, request_cancel             as above, awaited
        delete(job_id)                                the record of a job that has ended; JobUnfinished
    StepStore(redis)                                  leases, deferrals and crash counts of a job's steps
    open_redis(url) / open_async_redis(url)           clients with timeouts and health checks

Every call raises BrokerUnavailable where Redis cannot answer. `vitrine.jobs.publisher` publishes a job's first message.
"""

from vitrine.jobs.leases import Deferral, Lease, StepStore
from vitrine.jobs.record import (
    MAX_FAULTS_OF_A_KIND,
    BatchOutcome,
    JobError,
    JobFault,
    JobKind,
    JobRecord,
    JobState,
    Progress,
    Series,
    StepFailure,
)
from vitrine.jobs.redis import open_async_redis, open_redis
from vitrine.jobs.store import AsyncJobStore, BatchMark, JobStore

__all__ = [
    "MAX_FAULTS_OF_A_KIND",
    "AsyncJobStore",
    "BatchMark",
    "BatchOutcome",
    "Deferral",
    "JobError",
    "JobFault",
    "JobKind",
    "JobRecord",
    "JobState",
    "JobStore",
    "Lease",
    "Progress",
    "Series",
    "StepFailure",
    "StepStore",
    "open_async_redis",
    "open_redis",
]
