# Generated from _async/datasets.py by `make docs`.
"""The datasets: list them, see and schedule how one is indexed, drop one, list what was deleted from one."""

from __future__ import annotations

import builtins

from vitrine_client._sync.connection import Connection
from vitrine_client.models import (
    Dataset,
    DatasetAnswer,
    DatasetDroppedAnswer,
    DatasetsAnswer,
    DeletedProductsAnswer,
    ScheduleAnswer,
    ScheduleBody,
    ScheduleRemovedAnswer,
)
from vitrine_client.requests import parse, path_of


class Datasets:
    """Calls about datasets."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[Dataset]:
        """Every dataset that is indexed or has uploads."""
        return parse(DatasetsAnswer, self._connection.call("GET", path_of("datasets")), "datasets").datasets

    def get(self, dataset: str) -> DatasetAnswer:
        """One dataset with its catalogue, attributes, last indexing and schedules."""
        return parse(DatasetAnswer, self._connection.call("GET", path_of("datasets", dataset)), "a dataset")

    def schedule(
        self,
        dataset: str,
        every: str,
        *,
        model: str | None = None,
        allow_removal: bool = False,
        full: bool = False,
    ) -> ScheduleAnswer:
        """Index the dataset's catalogue again at each interval, such as `30min`, `6h` or `1d`."""
        body = ScheduleBody(every=every, model=model, allow_removal=allow_removal, full=full).body()
        content = self._connection.call("PUT", path_of("datasets", dataset, "schedule"), json=body)
        return parse(ScheduleAnswer, content, "a schedule")

    def unschedule(self, dataset: str, *, model: str | None = None) -> ScheduleRemovedAnswer:
        """Remove a dataset's schedule; `model` names one of several."""
        params = {} if model is None else {"model": model}
        content = self._connection.call("DELETE", path_of("datasets", dataset, "schedule"), params=params)
        return parse(ScheduleRemovedAnswer, content, "a schedule's removal")

    def deleted(self, dataset: str, *, limit: int | None = None) -> DeletedProductsAnswer:
        """The products that were deleted through the API."""
        params = {} if limit is None else {"limit": limit}
        content = self._connection.call("GET", path_of("datasets", dataset, "deleted"), params=params)
        return parse(DeletedProductsAnswer, content, "deleted products")

    def drop(self, dataset: str, *, uploads: bool = False) -> DatasetDroppedAnswer:
        """Stop serving a dataset and remove its collections; with `uploads` also the products put through the API."""
        params = {"uploads": "true"} if uploads else {}
        content = self._connection.call("DELETE", path_of("datasets", dataset), params=params)
        return parse(DatasetDroppedAnswer, content, "a dropped dataset")
