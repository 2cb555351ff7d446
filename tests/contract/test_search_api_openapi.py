"""The search API's answers match its OpenAPI document, with the whole system running."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from schemathesis import Case

from harness.openapi import check_operation, operations
from harness.shop import Shop, running_shop
from search_api.print_openapi import document_text

PAGE = Path(__file__).parents[2] / "docs" / "openapi" / "search-api.json"
PRODUCTS = 24


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running_shop(tmp_path_factory.mktemp("search-openapi") / "system", products=PRODUCTS) as shop:
        yield shop


def test_the_page_in_docs_matches_the_code() -> None:
    assert PAGE.read_text() == document_text(), "run 'make docs'"


@pytest.mark.parametrize("operation", operations(json.loads(PAGE.read_text())))
def test_no_input_causes_a_server_error(shop: Shop, operation: str) -> None:
    check_operation(shop.system.url("search_api"), operation, max_examples=15, amend=with_names_that_exist)


def with_names_that_exist(case: Case[Any]) -> None:
    """Replace a generated dataset name by the indexed one, because the call would otherwise end with an unknown
    dataset. Nothing is excluded: no generated id is that of a running job, so every event stream ends.
    """
    if isinstance(case.query, dict) and "dataset" in case.query:
        case.query["dataset"] = "drawn"
