# Generated from _async/releases.py by `make docs`.
"""Models and releases: list them, and choose the release that serves."""

from __future__ import annotations

import builtins

from vitrine_client._sync.connection import Connection
from vitrine_client.models import ActivatedAnswer, ModelDetail, ModelsAnswer, Release, ReleasesAnswer
from vitrine_client.requests import option_pairs, parse, path_of


class Releases:
    """Calls about models and releases."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[Release]:
        """Every release that is stored or indexed."""
        return parse(ReleasesAnswer, self._connection.call("GET", path_of("releases")), "releases").releases

    def models(self, *, dataset: str | None = None) -> builtins.list[ModelDetail]:
        """What can be searched with: the release and the collection that serve each model in each dataset."""
        params = {} if dataset is None else {"dataset": dataset}
        content = self._connection.call("GET", path_of("models"), params=params)
        return parse(ModelsAnswer, content, "models").details

    def activate(
        self, release_id: str, *, dataset: str | None = None, collection: str | None = None
    ) -> ActivatedAnswer:
        """Let an indexed release serve its model. Activating the `previous` of the answer goes back."""
        params = dict(option_pairs({"dataset": dataset, "collection": collection}))
        content = self._connection.call("POST", path_of("releases", release_id, "activate"), params=params, json={})
        return parse(ActivatedAnswer, content, "an activation")
