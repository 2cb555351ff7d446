"""The training loop of a parser. Its checkpoints, schedule and callbacks are those of every training.

The order and the changes of photographs depend on the seed, the epoch and the batch only, so a resumed run gives the
same result as one that was not interrupted.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from trainer.parser.augmentation import PhotographAugmenter
from trainer.parser.validation import ParserMetrics
from trainer.reports.training import EpochRecord
from trainer.seeds import generator
from trainer.training.callbacks import TrainingCallbacks
from trainer.training.checkpoint import (
    CheckpointFolder,
    Tensors,
    flat_optimizer,
    prefixed,
    restore_optimizer,
    unprefixed,
)
from trainer.training.model import Freezing
from trainer.training.optim import make_optimizer, make_schedule, schedule_state
from vitrine.errors import TrainingDiverged
from vitrine.parse_recipes import ParseRecipe
from vitrine.types import Rows, Values
from vitrine.vision.network import DeviceChoice
from vitrine.vision.parser import GarmentNetwork
from vitrine.vision.preprocess import Normalise

_AHEAD: Final = 3  # batches prepared while the network works


@dataclass(slots=True)
class ParserState:
    """The position in a run, the sums of the current epoch, and the results so far."""

    epoch: int = 0
    batch: int = 0
    images: int = 0
    epoch_s: float = 0.0
    loss_sum: float = 0.0
    counted: int = 0
    best_iou: float | None = None
    best_epoch: int | None = None
    history: list[EpochRecord] = field(default_factory=list)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> ParserState:
        fields = dict(stored)
        history = [EpochRecord(**one) for one in fields.pop("history")]
        return cls(**fields, history=history)


def freezing_of(network: GarmentNetwork, recipe: ParseRecipe) -> Freezing:
    """What the recipe freezes. Raises ParameterInvalid if the backbone has no such module."""
    return Freezing(network.backbone, trainable=None, frozen=recipe.model.frozen, train_norm=recipe.optim.train_norm)


class ParserLoop:
    """Trains one recipe. `images` is the number trained on in all epochs; of N photographs `per_epoch` are drawn for
    each, by `weights` (N,).
    """

    def __init__(
        self,
        network: GarmentNetwork,
        loss: nn.Module,
        normalise: Normalise,
        augmenter: PhotographAugmenter,
        weights: Values,
        recipe: ParseRecipe,
        folder: CheckpointFolder,
        callbacks: TrainingCallbacks,
        validate: Callable[[nn.Module], ParserMetrics],
        *,
        per_epoch: int,
        choice: DeviceChoice,
        checkpoint_every_s: float,
    ) -> None:
        self._recipe, self._folder, self._callbacks = recipe, folder, callbacks
        self._device, self._dtype = choice.device, choice.dtype
        self._checkpoint_every_s = checkpoint_every_s
        self._validate, self._augmenter, self._weights = validate, augmenter, weights
        self.network = network.to(choice.device).to(memory_format=torch.channels_last)
        self._loss, self._normalise = loss.to(choice.device), normalise.to(choice.device)
        self._freezing = freezing_of(network, recipe)
        self._optimizer = make_optimizer(network, recipe.optim)
        self._batches = max(1, per_epoch // recipe.optim.batch)
        self._batch = min(recipe.optim.batch, per_epoch)
        self.images = self._batches * self._batch * recipe.optim.epochs
        self._schedule = make_schedule(self._optimizer, recipe.optim, self._steps * recipe.optim.epochs)
        self._ema = None if recipe.optim.ema is None else ModelEmaV3(network, decay=recipe.optim.ema, use_warmup=True)
        self.state = ParserState()

    @property
    def _steps(self) -> int:
        """Optimizer steps of an epoch."""
        return math.ceil(self._batches / self._recipe.optim.accumulate)

    def precision(self) -> AbstractContextManager[object]:
        """Lower precision for the network's convolutions, if the device multiplies it."""
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)

    def averaged(self) -> nn.Module:
        """The network to validate and publish: the moving average, if the recipe has one."""
        return self.network if self._ema is None else self._ema.module

    def restore(self) -> bool:
        """Restore the newest checkpoint. Returns whether there was one. A checkpoint of another recipe is removed."""
        found = self._folder.load()
        if found is None:
            return False
        tensors, state = found
        if state["recipe"] != self._recipe.as_json():
            self._folder.remove_checkpoints()
            return False
        self.network.load_state_dict(unprefixed("network", tensors))
        if self._ema is not None:
            self._ema.module.load_state_dict(unprefixed("ema", tensors))
        restore_optimizer(self._optimizer, unprefixed("optimizer", tensors), state["optimizer"])
        self.state = ParserState.from_json(state["train"])
        self._schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(tensors["rng"])
        return True

    def run(self) -> ParserState:
        """Train to the last epoch. Raises TrainingDiverged, and what the callbacks raise."""
        while self.state.epoch < self._recipe.optim.epochs:
            self._train_epoch()
            self._finish_epoch()
            self._save()
        return self.state

    def _step(self) -> int:
        """Optimizer steps so far."""
        return self.state.epoch * self._steps + math.ceil(self.state.batch / self._recipe.optim.accumulate)

    def _train_epoch(self) -> None:
        state, accumulate = self.state, self._recipe.optim.accumulate
        rows = generator(self._recipe.seed, state.epoch).choice(
            len(self._weights), size=(self._batches, self._batch), p=self._weights
        )
        self.network.train()
        self._freezing.train_mode()
        saved_s = last_s = time.monotonic()
        loaded = self._loaded(rows, state.epoch, first=state.batch)
        try:
            for number, (pixels, kinds) in enumerate(loaded, start=state.batch):
                is_step = (number + 1) % accumulate == 0 or number + 1 == self._batches
                self._train_batch(pixels, kinds, is_step=is_step)
                state.batch = number + 1
                state.images += len(pixels)
                now_s = time.monotonic()
                state.epoch_s += now_s - last_s
                last_s = now_s
                self._callbacks.step(state.images)
                if is_step and now_s - saved_s > self._checkpoint_every_s:
                    self._save()
                    saved_s = time.monotonic()
        finally:
            loaded.close()

    def _loaded(
        self, batches: Rows, epoch: int, *, first: int
    ) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
        """The batches from number `first` on: pixels (N, H, W, 3) uint8 and kinds (N, H / 4, W / 4) int64."""
        size = self._recipe.size_of(epoch)

        def load(number: int) -> tuple[torch.Tensor, torch.Tensor]:
            random = generator(self._recipe.seed, epoch, number)
            changed = [self._augmenter(int(row), size, random) for row in batches[number]]
            pixels, kinds = (np.stack(part) for part in zip(*changed, strict=True))
            return torch.from_numpy(pixels), torch.from_numpy(kinds.astype(np.int64))

        with ThreadPoolExecutor(1, "photographs") as pool:
            numbers = iter(range(first, len(batches)))
            ahead = deque(pool.submit(load, number) for number, _ in zip(numbers, range(_AHEAD), strict=False))
            try:
                while ahead:
                    loaded = ahead.popleft().result()
                    number = next(numbers, None)
                    if number is not None:
                        ahead.append(pool.submit(load, number))
                    yield loaded
            finally:
                for future in ahead:
                    future.cancel()

    def _train_batch(self, pixels: torch.Tensor, kinds: torch.Tensor, *, is_step: bool) -> None:
        optim, state = self._recipe.optim, self.state
        with self.precision():
            logits = self.network(self._normalise(pixels.to(self._device)))
        loss = self._loss(logits, kinds.to(self._device))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"the loss is {value} in epoch {state.epoch + 1}: lower optim.learning_rate, or set optim.clip_norm"
            )
        state.loss_sum += value * len(pixels)
        state.counted += len(pixels)
        (loss / optim.accumulate).backward()
        if not is_step:
            return
        if optim.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), optim.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step()
        if self._ema is not None:
            self._ema.update(self.network, step=self._step())

    def _finish_epoch(self) -> None:
        recipe, state = self._recipe, self.state
        found = None
        if state.epoch + 1 == recipe.optim.epochs or (state.epoch + 1) % recipe.validation.every == 0:
            found = self._validate(self.averaged()).mean_iou
            if state.best_iou is None or found > state.best_iou:
                state.best_iou, state.best_epoch = found, state.epoch + 1
                self._folder.save_best(self.averaged().state_dict())
        record = EpochRecord(
            epoch=state.epoch + 1,
            train_loss=state.loss_sum / max(1, state.counted),
            validation_loss=None,
            train_accuracy=None,
            validation_accuracy=None,
            learning_rate=max(float(rate) for rate in self._schedule.get_last_lr()),
            precision_at_15=None,
            mean_average_precision=None,
            pictures_per_second=self._batches * self._batch / max(state.epoch_s, 1e-9),
            seconds=state.epoch_s,
            mean_iou=found,
        )
        state.history.append(record)
        state.epoch += 1
        state.batch = state.counted = 0
        state.loss_sum = state.epoch_s = 0.0
        self._callbacks.epoch(record, {"mean_iou": found})

    def _save(self) -> None:
        moments, optimizer = flat_optimizer(self._optimizer)
        tensors: Tensors = {
            **prefixed("network", self.network.state_dict()),
            **prefixed("optimizer", moments),
            "rng": torch.get_rng_state(),
        }
        if self._ema is not None:
            tensors |= prefixed("ema", self._ema.module.state_dict())
        state = {
            "recipe": self._recipe.as_json(),
            "train": asdict(self.state),
            "optimizer": optimizer,
            "schedule": schedule_state(self._schedule),
        }
        self._folder.save(self.state.epoch * 1_000_000 + self.state.batch, tensors, state)
        self._callbacks.saved()
