"""Starting jobs and changing them: which kinds can be started, with what body, by whom. One table for the JSON calls
and for the forms of the pages.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel

from search_api.context import Context
from search_api.jobs.params.evaluation import (
    EvaluateRequest,
    ExperimentRequest,
    VisualizeRequest,
    evaluate_params,
    experiment_params,
    visualize_params,
)
from search_api.jobs.params.releases import IndexRequest, ProjectRequest, index_params, project_params
from search_api.jobs.params.training import (
    AdaptRequest,
    TrainRequest,
    TuneRequest,
    adapt_params,
    train_params,
    tune_params,
)
from vitrine.errors import KeyRefused
from vitrine.jobs import JobKind, JobRecord


@dataclass(frozen=True, slots=True)
class Start:
    """How jobs of a kind are started: the body, what makes a record's parameters of it, and the scope that takes."""

    body_type: type[BaseModel]
    params_of: Callable[..., Awaitable[dict[str, Any]]]
    scope: Literal["ingest", "train"] = "train"

    async def params(self, body: BaseModel, context: Context) -> dict[str, Any]:
        """The parameters of the job. Raises what is wrong with the body."""
        takes_releases = "releases" in inspect.signature(self.params_of).parameters
        more = {"releases": context.releases} if takes_releases else {}
        return await self.params_of(body, settings=context.settings, **more)


STARTS: Final[dict[JobKind, Start]] = {
    JobKind.INDEX: Start(IndexRequest, index_params, "ingest"),
    JobKind.PROJECT: Start(ProjectRequest, project_params),
    JobKind.TRAIN: Start(TrainRequest, train_params),
    JobKind.ADAPT: Start(AdaptRequest, adapt_params),
    JobKind.TUNE: Start(TuneRequest, tune_params),
    JobKind.EVALUATE: Start(EvaluateRequest, evaluate_params),
    JobKind.VISUALIZE: Start(VisualizeRequest, visualize_params),
    JobKind.EXPERIMENT: Start(ExperimentRequest, experiment_params),
}
# Jobs that change a dataset; the others make releases and reports.
_INGEST_KINDS: Final = frozenset({JobKind.INDEX, JobKind.UPSERT, JobKind.DELETE})


async def start_job(
    context: Context, kind: JobKind, body: BaseModel, *, idempotency_key: str | None = None
) -> JobRecord:
    """The job, or the one that the same key made before. Raises what is wrong with the body, BrokerUnavailable."""
    params = await STARTS[kind].params(body, context)
    record, _ = await context.jobs.submit(kind, params, idempotency_key=idempotency_key)
    return record


def scope_of(kind: JobKind) -> Literal["ingest", "train"]:
    """The scope that starting, cancelling and removing a job of this kind takes."""
    return "ingest" if kind in _INGEST_KINDS else "train"


def check_may_change(scopes: Collection[str], record: JobRecord) -> None:
    """Raise KeyRefused if a caller with these scopes could not have started the job."""
    needed = scope_of(record.kind)
    if needed not in scopes:
        raise KeyRefused(f"the API key lacks the scope {needed!r}, which a job of the kind {record.kind.value!r} takes")
