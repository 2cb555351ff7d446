"""The tables of the embedder benchmark: results, and ratios with their goals."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from benchmarks.embedder_parts.prepared import Weights
from benchmarks.embedder_parts.rounds import BATCH, SINGLE, Cell, Plan, Round
from benchmarks.tables import head, quantiles, row

GOAL_ON_CPU: Final = 0.90
GOAL_ON_GPU: Final = 0.95
GOAL_BESIDE_PEERS: Final = 1.2
_LIBRARIES: Final = ("torch", "timm", "pillow", "numpy", "fastapi", "uvicorn", "litserve")


def machine(plan: Plan, first: Round, *, real_pictures: bool) -> Iterator[str]:
    """The machine, the versions and the pictures."""
    facts = first.before
    overrides = {name: value for name, value in sorted(os.environ.items()) if name.startswith("VITRINE_")}
    yield f"- machine: {_processor()}, {os.cpu_count()} cores shared by server and clients"
    yield f"- device: {facts['device_name'] or facts['device']}, {facts['precision']}, {facts['threads']} torch threads"
    yield f"- versions: Python {platform.python_version()}, {', '.join(_versions())}"
    yield f"- pictures: {len(plan.pictures)} {'given' if real_pictures else 'drawn'} ones, {plan.seconds:g} s a cell"
    if overrides:
        yield f"- settings from the environment: {', '.join(f'`{name}`' for name in overrides)}"


def tables(model: str, weights: Weights, plan: Plan, measured: Round) -> Iterator[str]:
    """All tables of one network."""
    kind = "random weights" if weights.are_random else f"weights from {Path(weights.source).name}"
    yield f"## {model}: {kind}, {measured.before['dim']} components"
    yield ""
    yield from _baselines(measured)
    yield ""
    yield from _cells(plan, measured)
    yield ""
    yield from _ratios(measured)


def _baselines(measured: Round) -> Iterator[str]:
    yield head("without HTTP", "best batch", "pictures/s before", "after", "mean", "pictures/s by batch")
    for name, text in (("bare", "bare forward"), ("offline", "offline loop")):
        before, after = measured.before[name], measured.after[name]
        trials = ", ".join(f"{batch}: {per_s:.1f}" for batch, per_s in before["trials"].items())
        yield row(
            text,
            before["batch"],
            f"{before['per_s']:.1f}",
            f"{after['per_s']:.1f}",
            f"{measured.baseline(name):.1f}",
            trials,
        )


def _cells(plan: Plan, measured: Round) -> Iterator[str]:
    yield head(
        "server", "call", "clients", "pictures/s", "÷ offline", "p50 ms", "p95 ms", "client CPU s",
        "client's share of all CPU", "server CPU s", "seconds", "failed", "calls refused",
    )  # fmt: skip
    for cell in measured.cells:
        yield row(
            cell.server,
            f"batch of {plan.call_pictures}" if cell.call == BATCH else "single",
            cell.clients,
            f"{cell.per_s:.1f}",
            f"{cell.per_s / measured.baseline('offline'):.2f}",
            *quantiles(cell.took_ms, 0.5, 0.95),
            f"{cell.client_cpu_s:.2f}",
            f"{cell.client_cpu_s / (cell.took_s * (os.cpu_count() or 1)):.1%}",
            "-" if cell.server_cpu_s is None else f"{cell.server_cpu_s:.2f}",
            f"{cell.took_s:.1f}",
            cell.failed,
            cell.refused,
        )
    if measured.litserve_setting is not None:
        trials = "; ".join(f"{setting}: {per_s:.1f}/s" for setting, per_s in measured.litserve_trials.items())
        yield ""
        yield f"LitServe runs with {measured.litserve_setting}{f', the best of: {trials}' if trials else ''}."


def _ratios(measured: Round) -> Iterator[str]:
    yield head("ratio", "value", "goal", "met")
    goal = GOAL_ON_CPU if measured.before["device"] == "cpu" else GOAL_ON_GPU
    offline, bare = measured.baseline("offline"), measured.baseline("bare")
    batch, single = measured.best("embedder", BATCH), measured.best("embedder", SINGLE)
    peer = measured.best("LitServe", SINGLE)
    if batch is not None:
        yield _ratio(f"HTTP batch ({_clients(batch)}) ÷ offline loop", batch.per_s / offline, goal)
        yield _ratio(f"HTTP batch ({_clients(batch)}) ÷ bare forward", batch.per_s / bare)
    if single is not None:
        yield _ratio(f"HTTP single ({_clients(single)}) ÷ offline loop", single.per_s / offline)
    yield _ratio("offline loop ÷ bare forward", offline / bare)
    if peer is not None and single is not None and batch is not None:
        best = max(single.per_s, batch.per_s)
        yield _ratio(f"embedder's best ÷ LitServe's best ({_clients(peer)})", best / peer.per_s, GOAL_BESIDE_PEERS)
        yield _ratio(
            f"HTTP single ({_clients(single)}) ÷ LitServe's best", single.per_s / peer.per_s, GOAL_BESIDE_PEERS
        )


def _ratio(text: str, value: float, goal: float | None = None) -> str:
    if goal is None:
        return row(text, f"{value:.2f}", "-", "-")
    return row(text, f"{value:.2f}", f"≥ {goal:.2f}", "yes" if value >= goal else "no")


def _clients(cell: Cell) -> str:
    return f"{cell.clients} client{'s' if cell.clients > 1 else ''}"


def _versions() -> Iterator[str]:
    for library in _LIBRARIES:
        try:
            yield f"{library} {version(library)}"
        except PackageNotFoundError:
            yield f"no {library}"


def _processor() -> str:
    try:
        lines: Sequence[str] = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
