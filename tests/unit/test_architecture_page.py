"""docs/architecture.md: every box of its diagrams is an existing file or folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()
DIAGRAMS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```mermaid\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
# A box is `name["path"]` or `name["path<br/>description"]`. Cylinders, `name[("Qdrant")]`, are other programs.
BOX = re.compile(r'\w+\["([^"<]+)(?:<br/>[^"]*)?"\]')
PROGRAMS = {"Qdrant", "Redis", "client"}


def boxes(diagram: str) -> list[str]:
    return [label.strip() for label in BOX.findall(diagram)]


def test_there_is_a_diagram_of_the_layers_and_one_of_each_flow() -> None:
    assert list(DIAGRAMS) == ["Layers", "A search", "A catalogue picture", "A job", "A recipe"]


@pytest.mark.parametrize("title", DIAGRAMS)
def test_every_box_is_a_file_or_a_folder_that_exists(title: str) -> None:
    shown = boxes(DIAGRAMS[title])
    assert len(shown) >= 5
    assert len(shown) == len(set(shown)), "a box is drawn twice"
    assert [path for path in shown if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("title", DIAGRAMS)
def test_a_box_that_is_not_a_file_is_a_program(title: str) -> None:
    nodes = re.findall(r"\w+[\[(]+\"([^\"]+)\"[\])]+", DIAGRAMS[title])
    others = {node for node in nodes if node.partition("<br/>")[0] not in boxes(DIAGRAMS[title])}
    assert others <= PROGRAMS
