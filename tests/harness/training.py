"""Small training runs on a generated catalog, with the real loop and a tiny network. Each takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.releases import TINY_MODEL, store_of
from trainer.settings import Settings
from trainer.training.run import TrainingRun
from vitrine.catalogs import Catalog
from vitrine.catalogs.street_photographs import StreetPhotographs
from vitrine.jobs import JobFault
from vitrine.recipes import Recipe, parse_recipe
from vitrine_local.demo_catalog.generate import generate_catalog

OPTIONS = {"input_px": 48, "resize_px": 48}


def tiny_recipe(**changes: Any) -> Recipe:
    """A recipe that trains in a few seconds. Tables in `changes` are merged into those of the recipe."""
    content: dict[str, Any] = {
        "kind": "classify",
        "name": "tiny",
        "data": {"label": "subCategory", "relevance": ["subCategory"]},
        "model": {"model": TINY_MODEL, "weights": "seed:0", "options": OPTIONS},
        "optim": {"epochs": 2, "batch": 16, "learning_rate": 3e-3},
        "projection": {"components": [8], "whiten": [False]},
        "validation": {"queries": 50},
    }
    for name, value in changes.items():
        content[name] = {**content.get(name, {}), **value} if isinstance(value, dict) else value
    return parse_recipe(content)


def drawn_catalog(folder: Path, *, count: int = 90, seed: int = 1) -> Catalog:
    """A generated catalog with a few dozen images of each subCategory."""
    return generate_catalog(folder, count=count, seed=seed)


@dataclass(slots=True)
class Listener:
    """Records the progress of a run. `stop_when` is called at every step and may raise."""

    stop_when: Callable[[Listener], None] | None = None
    notes: list[str] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    issues: list[JobFault] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    eta_s: list[float | None] = field(default_factory=list)

    def phase(self, phase: str) -> None:
        self.phases.append(phase)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def measures(self, x: float, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.curves.setdefault(name, []).append((x, value))

    def faults(self, source: str, faults: list[JobFault]) -> None:
        self.issues += faults

    def progress(self, done: int, total: int, *, eta_s: float | None, phase: str | None = None) -> None:
        if phase == "training":
            self.done.append(done)
            self.eta_s.append(eta_s)
        self.check()

    def saved(self) -> None:
        """Checkpoints are not recorded."""

    def check(self) -> None:
        if self.stop_when is not None:
            self.stop_when(self)


def training_run(
    recipe: Recipe,
    catalog: Catalog,
    folder: Path,
    listener: Listener | None = None,
    *,
    unlabelled: Catalog | None = None,
    street: StreetPhotographs | None = None,
    **settings: Any,
) -> TrainingRun:
    """A run with its releases, checkpoints and pixels in `folder`."""
    settings = {"trainer_device": "cpu", "trainer_precision": "float32", **settings}
    chosen = Settings(releases_url=f"file:{folder / 'releases'}", work_dir=folder / "work", **settings)
    store = store_of(folder / "releases")
    return TrainingRun(
        recipe, catalog, store, chosen, folder / "work" / "run", listener or Listener(), unlabelled, street
    )
