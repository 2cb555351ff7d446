"""The Qdrant server itself: its version and the issues it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from qdrant_client import AsyncQdrantClient

from vitrine.errors import VectorStoreRefused
from vitrine.qdrant.client import VersionLog
from vitrine.qdrant.errors import qdrant_errors

_MAX_ISSUES: Final = 20


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """Qdrant's version, and a notice if it does not match the client's."""

    version: str
    notice: str | None


class QdrantServer:
    """Asks the server about itself."""

    def __init__(self, client: AsyncQdrantClient) -> None:
        self._client = client
        self._version_log = VersionLog()
        self._issues_refused = False

    async def version(self) -> ServerVersion:
        """The version of Qdrant. A mismatch with the client is logged once."""
        with qdrant_errors():
            found = (await self._client.info()).version
        return ServerVersion(found, self._version_log.note(found))

    async def issues(self) -> list[str]:
        """The issues that Qdrant reports, each with its remedy. Empty if the server has no such report."""
        if self._issues_refused:
            return []
        try:
            with qdrant_errors():
                answer: Any = await self._client.http.beta_api.get_issues()
        except VectorStoreRefused:  # the key may not ask for it, or the server has no such report
            self._issues_refused = True
            return []
        found = answer.get("result", {}).get("issues", []) if isinstance(answer, dict) else []
        return [_issue_text(issue) for issue in found[:_MAX_ISSUES] if isinstance(issue, dict)]


def _issue_text(issue: Mapping[str, Any]) -> str:
    """An issue in one line: what is wrong, and the remedy if that is text."""
    solution = issue.get("solution")
    remedy = solution.get("refactor") if isinstance(solution, dict) else None
    return f"{issue.get('description')}; {remedy}" if isinstance(remedy, str) else str(issue.get("description"))
