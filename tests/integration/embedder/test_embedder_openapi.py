"""The embedder's answers match its OpenAPI document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from schemathesis import Case

from embedder.openapi import document_text
from harness.embedder import Embedder
from harness.openapi import check_operation, operations
from vitrine.embedding.wire import DEADLINE_HEADER

PAGE = Path(__file__).parents[3] / "docs" / "openapi" / "embedder.json"


def test_the_page_in_docs_matches_the_code() -> None:
    assert PAGE.read_text() == document_text(), "run 'make docs'"


@pytest.mark.parametrize("operation", operations(json.loads(PAGE.read_text())))
def test_no_input_causes_a_server_error(embedder: Embedder, operation: str) -> None:
    check_operation(embedder.url, operation, max_examples=30, amend=without_deadline)


def without_deadline(case: Case[Any]) -> None:
    """A deadline of one millisecond may pass, which is rightly answered with 504."""
    if case.headers:
        case.headers.pop(DEADLINE_HEADER, None)
