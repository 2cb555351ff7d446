"""Throughput of training, relative to the network's own speed.

For each recipe: the whole training loop as a job runs it (cached pixels, augmentation, optimizer), and the bare forward
and backward pass of the same network and loss on one prepared batch. The two alternate several times, so that both see
the same load of the machine.

    python -m benchmarks.training --root PATH RECIPE.toml [...] [--weights FILE] [--seconds 20] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.tables import head, row
from trainer.progress import NoProgress
from trainer.reports.training import EpochRecord
from trainer.settings import Settings
from trainer.training.callbacks import TrainingCallbacks
from trainer.training.checkpoint import CheckpointFolder
from trainer.training.loop import TrainingLoop
from trainer.training.setup import SetupBuilder, TrainingSetup, build_loop
from trainer.training.validation import ValidationMetrics
from vitrine.catalogs import read_catalog
from vitrine.catalogs.registry import reader_for
from vitrine.recipe_files import read_recipe
from vitrine.recipes import Recipe
from vitrine.releases import ReleaseStore
from vitrine.settings import load_settings
from vitrine.telemetry import configure_logging
from vitrine.vision.network import DeviceChoice, choose_device

WARM_UP_STEPS = 8


class Enough(Exception):
    """The loop has run long enough."""


class Stopwatch(TrainingCallbacks):
    """Callback that measures pictures and seconds after the first steps, then raises Enough.

    Validation and checkpoints between two epochs are not counted: with few products they take a fifth of the time.
    """

    def __init__(self, seconds: float, device: torch.device, *, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(NoProgress(), clock=clock)
        self._seconds = seconds
        self._device = device
        self._steps = self._seen = self._pictures = 0
        self._passed_s = self._last_s = 0.0
        self.rate = 0.0

    def step(self, images: int) -> None:
        now = self._clock()
        if images > self._seen:  # otherwise it is a validation step
            self._steps += 1
            if self._steps > WARM_UP_STEPS:
                self._pictures += images - self._seen
                self._passed_s += now - self._last_s
            self._seen = images
        self._last_s = now
        if self._passed_s > self._seconds:
            _wait(self._device)
            self.rate = self._pictures / (self._passed_s + self._clock() - now)
            raise Enough

    def saved(self) -> None:
        """The next epoch begins."""
        self._last_s = self._clock()

    def epoch(self, record: EpochRecord, metrics: ValidationMetrics | Mapping[str, float | None] | None) -> None:
        """The next epoch continues the measurement."""


def main() -> int:
    configure_logging(service="benchmark")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", type=Path, nargs="+", metavar="RECIPE.toml")
    parser.add_argument("--root", type=Path, required=True, help="the catalogue's folder")
    parser.add_argument("--weights", help="replaces model.weights of the recipes")
    parser.add_argument("--limit", type=int, help="only so many products")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of each measurement (default: 20)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    arguments = parser.parse_args()
    print(
        head("recipe", "device", "loop, pictures/s", "bare forward + backward", "loop ÷ bare", "goal", text_columns=2)
    )
    for path in arguments.recipes:
        print(row(*measure(path, arguments)), flush=True)
    return 0


def measure(path: Path, arguments: argparse.Namespace) -> tuple[str, ...]:
    """The cells of one recipe."""
    recipe, described = read_recipe(path)
    if arguments.weights is not None:
        changed = recipe.model.model_copy(update={"weights": arguments.weights})
        recipe = recipe.model_copy(update={"model": changed})
    recipe = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"epochs": 10_000})})
    with tempfile.TemporaryDirectory(prefix="vitrine-benchmark-") as folder:
        settings = load_settings(Settings).model_copy(
            update={"work_dir": Path(folder), "catalog_roots": (Path("/"),), "trainer_checkpoint_s": 1e9}
        )
        choice = choose_device(settings.trainer_device, settings.trainer_precision)
        catalog = read_catalog(
            reader_for(described["dataset"]), arguments.root, dataset=described["dataset"], limit=arguments.limit
        )
        store = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
        setup = SetupBuilder(recipe, catalog, store, settings, choice, NoProgress()).prepare()
        loops, bares = [], []
        for _ in range(arguments.rounds):
            stopwatch = Stopwatch(arguments.seconds, choice.device)
            loop = build_loop(setup, recipe, settings, choice, CheckpointFolder(Path(folder, "run")), stopwatch)
            loops.append(_loop_rate(loop, stopwatch))
            bares.append(_bare_rate(loop, setup, recipe, choice, seconds=arguments.seconds))
    name = choice.device.type + (", bfloat16" if choice.dtype == torch.bfloat16 else ", float32")
    return path.stem, name, *figures(loops, bares), "≥ 0.90"


def figures(loops: Sequence[float], bares: Sequence[float]) -> tuple[str, str, str]:
    """Median pictures/s of the loop and of the bare pass, and the median of their ratio per round.

    The ratio is computed from unrounded rates of the same round. So it can differ from that of the two other figures.
    """
    share = statistics.median(one / two for one, two in zip(loops, bares, strict=True))
    return f"{statistics.median(loops):.1f}", f"{statistics.median(bares):.1f}", f"{share:.2f}"


def _loop_rate(loop: TrainingLoop, stopwatch: Stopwatch) -> float:
    try:
        loop.run()
    except Enough:
        return stopwatch.rate
    raise AssertionError("the loop ended before its time")


def _bare_rate(
    loop: TrainingLoop, setup: TrainingSetup, recipe: Recipe, choice: DeviceChoice, *, seconds: float
) -> float:
    """Pictures/s of the forward and backward pass alone, in training mode."""
    rows = setup.data.train[: recipe.optim.batch]
    pixels = torch.from_numpy(setup.cache.pixels[rows]).to(choice.device)
    codes = torch.from_numpy(setup.data.codes[rows]).to(choice.device)
    teacher = setup.data.teacher
    wanted = None if teacher is None else torch.from_numpy(teacher[rows]).to(choice.device)
    steps, began_s = 0, 0.0
    while True:
        loop.forward_backward(pixels, codes, wanted)
        steps += 1
        if steps == WARM_UP_STEPS:
            _wait(choice.device)
            began_s = time.perf_counter()
        elif steps > WARM_UP_STEPS and time.perf_counter() - began_s > seconds:
            _wait(choice.device)
            return (steps - WARM_UP_STEPS) * len(rows) / (time.perf_counter() - began_s)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
