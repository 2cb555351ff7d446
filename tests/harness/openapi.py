"""Schemathesis over a running service: for each operation of its OpenAPI document, inputs that fit it and inputs that
do not; no answer may be a 5xx, undeclared, or of another shape than declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance, unsupported_method

# A schema cannot say which bytes are a picture or which names exist, so what fits it may be refused and what does not
# may be taken; and a path's unknown method answers 405 without `Allow`.
_EXCLUDED = (negative_data_rejection, positive_data_acceptance, unsupported_method)


def operations(document: Mapping[str, Any]) -> list[str]:
    """The operations of a document as `METHOD /path`."""
    return sorted(
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item
        if method in ("get", "put", "post", "delete", "patch")
    )


def check_operation(
    url: str,
    operation: str,
    *,
    max_examples: int,
    headers: Mapping[str, str] | None = None,
    excluded: Sequence[Callable[..., Any]] = (),
    amend: Callable[[schemathesis.Case[Any]], None] = lambda _case: None,
) -> None:
    """Call one operation of the service at `url` with `max_examples` inputs, always the same ones.

    `amend` may take out of a case what has no fixed answer.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=dict(headers or {}))
    method, _, path = operation.partition(" ")

    @given(case=schema[path][method].as_strategy())
    @settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case[Any]) -> None:
        amend(case)
        case.call_and_validate(excluded_checks=[*_EXCLUDED, *excluded], headers=dict(headers or {}))

    check()
