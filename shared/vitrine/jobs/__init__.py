"""Jobs: records in Redis, and the queues, leases and retries that carry them out.

A record changes only by scripts and compare-and-set, and a finished one no longer changes. A Celery message has a job's
id and a batch number; everything else is in the record. This module imports neither Celery nor the queues.
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
