"""Schemathesis tests of a running service.

Each operation of its OpenAPI document gets valid and invalid inputs. An answer must be declared, match its schema, and
not be a 5xx.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance, unsupported_method

# A schema cannot describe which bytes are a picture or which names exist. So valid input may be refused and invalid
# input accepted. An unknown method of a path answers 405 without `Allow`.
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
    """Call one operation of the service at `url` with `max_examples` inputs, the same in every run.

    `amend` may remove from a case the inputs whose answer is not fixed.
    """
    schema = _schema(url, tuple((headers or {}).items()))
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


@cache
def _schema(url: str, headers: tuple[tuple[str, str], ...]) -> Any:
    """The document of a running service. Reading it and resolving its references takes longer than most calls."""
    return schemathesis.openapi.from_url(f"{url}/openapi.json", headers=dict(headers))
