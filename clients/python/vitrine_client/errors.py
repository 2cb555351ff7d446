"""Every failure of a call as an exception.

VitrineError
    ApiError             the search API answered with an error; `vitrine_client.api_errors` has a class for each code
    ServerUnreachable    nothing was sent, so the call is safe to repeat
    ConnectionLost       the connection broke while the answer was awaited
    TimedOut             no answer in time
    AnswerInvalid        the answer is not one of Vitrine's
    PictureUnusable      the picture cannot be read or fetched; nothing was sent
    JobFailed            a job that was waited for did not succeed
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class VitrineError(Exception):
    """Base class. `detail` is a sentence for the user; `retryable` is whether the same call can succeed later."""

    code: str = "error"
    retryable: bool = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def as_dict(self) -> dict[str, Any]:
        """The code and the detail, as batches write them."""
        return {"code": self.code, "detail": self.detail}


class ApiError(VitrineError):
    """The search API answered with an error.

    `problem` is the answer's body, `request_id` names the call in the server's log, `retry_after_s` is the pause that
    the server asks for.
    """

    code = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        status: int = 500,
        retryable: bool | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code or type(self).code
        self.status = status
        if retryable is not None:
            self.retryable = retryable
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.problem = dict(problem or {})

    def __str__(self) -> str:
        return f"{self.detail} ({self.code})"


class ServerUnreachable(VitrineError):
    """No connection to the search API could be made."""

    code = "server_unreachable"
    retryable = True


class ConnectionLost(VitrineError):
    """The connection broke before the answer was complete. The call may have taken effect."""

    code = "connection_lost"
    retryable = True


class TimedOut(VitrineError):
    """The search API did not answer in time. The call may have taken effect."""

    code = "timed_out"
    retryable = True


class AnswerInvalid(VitrineError):
    """The answer is not one of Vitrine's, or of a version that this client cannot read."""

    code = "answer_invalid"

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


class PictureUnusable(VitrineError):
    """The picture of a query cannot be read or fetched. Nothing was sent."""

    code = "picture_unusable"


class JobFailed(VitrineError):
    """A job failed or was cancelled. `code` is the code of its error."""

    code = "job_failed"

    def __init__(self, detail: str, *, job_id: str, code: str) -> None:
        super().__init__(detail)
        self.job_id = job_id
        self.code = code
