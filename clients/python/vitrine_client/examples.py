"""The examples of a recommendation: products by id, and pictures."""

from __future__ import annotations

from os import PathLike
from typing import BinaryIO, TypeGuard

from vitrine_client.pictures import Link, Upload

Example = str | int | PathLike[str] | bytes | BinaryIO | Upload | Link


def is_id(example: Example) -> TypeGuard[str | int]:
    """Whether an example is the id of a product."""
    return isinstance(example, str | int)
