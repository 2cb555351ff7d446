# Generated from _async/datasets.py by `make docs`.
"""The datasets: list them, drop one, list what was deleted from one."""

from __future__ import annotations

import builtins

from vitrine_client._sync.connection import Connection
from vitrine_client.models import Dataset, DatasetDroppedAnswer, DatasetsAnswer, DeletedProductsAnswer
from vitrine_client.requests import parse, path_of


class Datasets:
    """Calls about datasets."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[Dataset]:
        """Every dataset that is indexed or has uploads."""
        return parse(DatasetsAnswer, self._connection.call("GET", path_of("datasets")), "datasets").datasets

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
