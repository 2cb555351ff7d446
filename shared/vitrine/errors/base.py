"""The base class of all errors that a user or a caller can meet."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, ClassVar, Final

_WORD_START: Final = re.compile(r"(?<!^)(?=[A-Z])")


class VitrineError(Exception):
    """An error with a stable `code`, an HTTP `status`, and whether the same call can succeed later (`retryable`).

    `detail` is a sentence for the user: what is wrong and what to do. `context` are further members of the answer.
    The code is the class name in snake case, unless the class sets another one.
    """

    code: str = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "code" not in cls.__dict__:
            cls.code = code_of_class(cls.__name__)

    def __init__(self, detail: str, *, retry_after_s: float | None = None, **context: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.context = context

    def problem(self) -> dict[str, Any]:
        """The error as RFC 9457 problem details, with Vitrine's `success`, `code` and `retryable` members."""
        return {
            "type": f"urn:vitrine:error:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "success": False,
            "retryable": self.retryable,
            **self.context,
        }


def code_of_class(name: str) -> str:
    """`BodyTooLarge` becomes `body_too_large`."""
    return _WORD_START.sub("_", name).lower()
