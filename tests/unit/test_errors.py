from __future__ import annotations

from collections.abc import Iterator

import pytest

from vitrine import errors
from vitrine.errors import EmbedderSilent, ImageRejected, VitrineError
from vitrine.errors.base import code_of_class


def classes(kind: type[VitrineError] = VitrineError) -> Iterator[type[VitrineError]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("vitrine.errors"):
            yield child
            yield from classes(child)


def tree(kind: type[VitrineError], indent: str = "") -> Iterator[str]:
    children = [child for child in kind.__subclasses__() if child.__module__.startswith("vitrine.errors")]
    for child in children:
        last = child is children[-1]
        line = f"{indent}{'└── ' if last else '├── '}{child.__name__}"
        yield f"{line:<38}{child.status}{'  retryable' if child.retryable else ''}"
        yield from tree(child, indent + ("    " if last else "│   "))


def test_the_tree_in_the_documentation_is_that_of_the_classes() -> None:
    assert errors.__doc__ is not None
    described = [line.strip() for line in errors.__doc__.splitlines() if "──" in line]
    assert described == [line.strip() for line in tree(VitrineError)]


def test_the_code_follows_from_the_name() -> None:
    exceptions = {EmbedderSilent: "embedder_unavailable", ImageRejected: "input_invalid"}
    for kind in classes():
        assert kind.code == exceptions.get(kind, code_of_class(kind.__name__))
        assert issubclass(getattr(errors, kind.__name__), kind)
    assert VitrineError.code == "internal_error"
    assert ImageRejected("truncated", "the file ends too early").code == "image_truncated"


@pytest.mark.parametrize("name", ["BodyTooLarge", "KeyMissing", "Unavailable"])
def test_a_class_name_becomes_a_code(name: str) -> None:
    expected = {"BodyTooLarge": "body_too_large", "KeyMissing": "key_missing", "Unavailable": "unavailable"}
    assert code_of_class(name) == expected[name]
