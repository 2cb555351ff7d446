"""The answer of the status call."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class StatusAnswer(BaseModel):
    """The services as this process sees them."""

    success: Literal[True]
    services: dict[str, dict[str, Any]]
    datasets: list[dict[str, Any]]
