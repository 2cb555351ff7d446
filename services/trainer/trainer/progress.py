"""How long-running work reports its progress and learns that it must stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vitrine.jobs import JobFault


class Progress(Protocol):
    """Receives the progress of a run. Every method but `note` and `measures` may raise to stop the run."""

    def phase(self, phase: str) -> None: ...

    def note(self, text: str) -> None: ...

    def measures(self, x: float, values: Mapping[str, float]) -> None: ...

    def faults(self, source: str, faults: list[JobFault]) -> None: ...

    def progress(self, done: int, total: int, *, eta_s: float | None, phase: str | None = None) -> None: ...

    def saved(self) -> None: ...

    def check(self) -> None: ...
