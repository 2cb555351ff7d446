"""All measurements of one network: the baselines without HTTP before and after, the embedder, and LitServe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from benchmarks.embedder_parts import servers
from benchmarks.embedder_parts.prepared import StoredRelease
from benchmarks.processes import run_module

SINGLE: Final = "single"
BATCH: Final = "batch"
_LEAST_COSINE: Final = 0.99
_WARM_UP_S: Final = 2.0
_TRIAL_SHARE: Final = 0.4


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of every round."""

    pictures: list[str]
    seconds: float
    clients: list[int]
    call_pictures: int
    batches: list[int]
    device: str
    precision: str
    litserve: list[servers.Setting]


@dataclass(frozen=True, slots=True)
class Cell:
    """The result of one server, one kind of call and one number of clients."""

    server: str
    call: str
    clients: int
    per_s: float
    took_s: float
    took_ms: list[float]
    client_cpu_s: float
    server_cpu_s: float | None
    failed: int
    refused: int


@dataclass(frozen=True, slots=True)
class Round:
    """All results of one network. `before` and `after` are the baselines without HTTP."""

    before: dict[str, Any]
    after: dict[str, Any]
    cells: list[Cell]
    litserve_trials: dict[str, float]
    litserve_setting: str | None

    def baseline(self, name: str) -> float:
        """Mean pictures/s of `offline` or `bare`."""
        return float(np.mean([self.before[name]["per_s"], self.after[name]["per_s"]]))

    def best(self, server: str, call: str) -> Cell | None:
        cells = [cell for cell in self.cells if (cell.server, cell.call) == (server, call)]
        return max(cells, key=lambda cell: cell.per_s, default=None)


def measure(stored: StoredRelease, plan: Plan) -> Round:
    before = _baselines(stored, plan, plan.batches)
    device, vector = before["device"], before["vector"]
    with servers.embedder(stored, device=device, precision=plan.precision) as up:
        cells = [
            _cell(plan, up, stored, "embedder", call, clients, vector)
            for call in (SINGLE, BATCH)
            for clients in plan.clients
        ]
    after = _baselines(stored, plan, sorted({before["offline"]["batch"], before["bare"]["batch"]}))
    trials = _litserve_trials(stored, plan, device, vector) if len(plan.litserve) > 1 else {}
    chosen = max(plan.litserve, key=lambda setting: trials.get(setting, 0.0), default=None)
    if chosen is not None:
        with servers.litserve(stored, chosen, device=device, precision=plan.precision) as up:
            cells += [_cell(plan, up, stored, "LitServe", SINGLE, clients, vector) for clients in plan.clients]
    names = {str(setting): per_s for setting, per_s in trials.items()}
    return Round(before, after, cells, names, str(chosen) if chosen else None)


def _baselines(stored: StoredRelease, plan: Plan, batches: list[int]) -> dict[str, Any]:
    order = {
        "stored": asdict(stored),
        "pictures": plan.pictures,
        "seconds": plan.seconds,
        "batches": batches,
        "device": plan.device,
        "precision": plan.precision,
    }
    answer: dict[str, Any] = run_module("benchmarks.embedder_parts.offline", order)
    return answer


def _litserve_trials(
    stored: StoredRelease, plan: Plan, device: str, vector: list[float]
) -> dict[servers.Setting, float]:
    """Pictures/s of each setting with the largest number of clients, in a shorter run."""
    trials = {}
    for setting in plan.litserve:
        with servers.litserve(stored, setting, device=device, precision=plan.precision) as up:
            cell = _cell(
                plan, up, stored, "LitServe", SINGLE, max(plan.clients), vector, seconds=_TRIAL_SHARE * plan.seconds
            )
        trials[setting] = cell.per_s
    return trials


def _cell(
    plan: Plan,
    up: tuple[str, int],
    stored: StoredRelease,
    server: str,
    call: str,
    clients: int,
    vector: list[float],
    *,
    seconds: float | None = None,
) -> Cell:
    url, session = up
    order = {
        "url": url,
        "session": session,
        "kind": call,
        "path": servers.LITSERVE_PATH if server == "LitServe" else f"/v1/embed?release={stored.release_id}",
        "release_id": stored.release_id,
        "pictures": plan.pictures,
        "clients": clients,
        "pictures_a_call": plan.call_pictures if call == BATCH else 1,
        "seconds": plan.seconds if seconds is None else seconds,
        # Batch calls need no warm-up of their own, and with many clients it would take long.
        "warm_up_s": min(_WARM_UP_S, plan.seconds / 4) if call == SINGLE else 0.0,
    }
    answer = run_module("benchmarks.embedder_parts.load", order)
    _check_same(f"{server}, {call}", answer.pop("vector"), vector)
    return Cell(server=server, call=call, clients=clients, **answer)


def _check_same(name: str, found: list[float] | None, wanted: list[float]) -> None:
    """Raises SystemExit if a server computes other vectors: its speed is then no comparison."""
    if found is None:
        raise SystemExit(f"{name}: the first call failed")
    cosine = float(np.dot(found, wanted))
    if cosine < _LEAST_COSINE:
        raise SystemExit(
            f"{name}: its vector of the first picture differs from the offline loop's (cosine {cosine:.4f})"
        )
