"""The training loop, on Lightning Fabric, which handles the device, the precision and several devices.

The full state is saved after each epoch and at intervals within one. The order and augmentation of images depend on the
seed, the epoch and the batch only, so a resumed run gives the same result as one that was not interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from typing import Final

import numpy as np
import torch
from lightning_fabric import Fabric
from timm.utils.model_ema import ModelEmaV3

from trainer.augmentation.tensors import to_device
from trainer.data.dataset import UNKNOWN, TrainingData
from trainer.data.loader import Batch, BatchLoader
from trainer.data.sampler import epoch_batches
from trainer.reports.training import EpochRecord
from trainer.training.callbacks import TrainingCallbacks
from trainer.training.checkpoint import (
    CheckpointFolder,
    Tensors,
    flat_optimizer,
    prefixed,
    restore_optimizer,
    unprefixed,
)
from trainer.training.frozen_maps import MapLoader
from trainer.training.model import Freezing, LossOutput, TrainingModel
from trainer.training.optim import make_optimizer, make_schedule, schedule_state
from trainer.training.pseudo_labels import PseudoLabels
from trainer.training.state import RunningMetrics, TrainState
from trainer.training.street import StreetBatches
from trainer.training.validation import ValidationMetrics, validate
from vitrine.errors import TrainingDiverged
from vitrine.recipes import Recipe
from vitrine.types import Rows

_GPU_FLUSH_EVERY: Final = 20  # batches; reading a number from a GPU waits for it


class TrainingLoop:
    """Trains one recipe. `images` is the number trained on in all epochs, if it does not stop early."""

    def __init__(
        self,
        fabric: Fabric,
        model: TrainingModel,
        freezing: Freezing,
        data: TrainingData,
        loader: BatchLoader | MapLoader,
        recipe: Recipe,
        folder: CheckpointFolder,
        callbacks: TrainingCallbacks,
        *,
        checkpoint_every_s: float,
        unlabelled: PseudoLabels | None = None,
        street: StreetBatches | None = None,
    ) -> None:
        self._fabric = fabric
        self._unlabelled = unlabelled
        self._street = street
        self._recipe = recipe
        self._freezing = freezing
        self._data = data
        self._loader = loader
        self._folder = folder
        self._callbacks = callbacks
        self._checkpoint_every_s = checkpoint_every_s
        # If the validation images are trained on, their metrics mean nothing, and the newest epoch is the best.
        self._trains_on_validation = bool(np.isin(data.validation, data.train).any())
        model.backbone.to(memory_format=torch.channels_last)
        self.model = model
        self._optimizer = make_optimizer(model, recipe.optim)
        batches = self._batches(0)
        self.images = sum(len(rows) for rows in batches) * recipe.optim.epochs
        steps_per_epoch = math.ceil(len(batches) / recipe.optim.accumulate)
        self._schedule = make_schedule(self._optimizer, recipe.optim, steps_per_epoch * recipe.optim.epochs)
        self._wrapped, self._wrapped_optimizer = fabric.setup(model, self._optimizer)
        self._ema = None if recipe.optim.ema is None else ModelEmaV3(model, decay=recipe.optim.ema)
        self._metrics = RunningMetrics()
        self.state = TrainState()

    def restore(self) -> bool:
        """Restore the newest checkpoint. Returns whether there was one. A checkpoint of another recipe is removed."""
        found = self._folder.load()
        if found is None:
            return False
        tensors, state = found
        if state["recipe"] != self._recipe.as_json():
            if self._fabric.is_global_zero:
                self._folder.remove()
            return False
        self.model.load_state_dict(unprefixed("model", tensors))
        if self._ema is not None:
            self._ema.module.load_state_dict(unprefixed("ema", tensors))
        restore_optimizer(self._optimizer, unprefixed("optimizer", tensors), state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(tensors["rng"])
        if "device_rng" in tensors and self._fabric.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["device_rng"], self._fabric.device)
        if self._unlabelled is not None:
            self._unlabelled.restore(unprefixed("unlabelled", tensors), self._fabric.device)
        self.state = TrainState.from_json(state["train"] if "train" in state else state["standing"])
        return True

    def run(self) -> TrainState:
        """Train to the last epoch, or stop early without a gain in validation.

        Raises TrainingDiverged, and what the callbacks raise.
        """
        recipe, state = self._recipe, self.state
        while state.epoch < recipe.optim.epochs and not self._stopped_early():
            self._train_epoch()
            self._finish_epoch()
            self._save()
        return state

    def _stopped_early(self) -> bool:
        patience = self._recipe.validation.patience
        return patience is not None and self.state.epochs_without_gain >= patience

    def _batches(self, epoch: int) -> list[Rows]:
        recipe = self._recipe
        batches = epoch_batches(
            self._data.train,
            self._data.codes[:, 0],
            recipe.sampler,
            batch=recipe.optim.batch,
            seed=recipe.seed,
            epoch=epoch,
        )
        return batches if self._street is None else self._street.paired(batches, epoch)

    def _train_epoch(self) -> None:
        state, accumulate = self.state, self._recipe.optim.accumulate
        world, rank = self._fabric.world_size, self._fabric.global_rank
        batches = [rows[rank::world] for rows in self._batches(state.epoch)]
        self.model.train()
        self._freezing.train_mode()
        last_s = time.monotonic()
        saved_s = last_s
        loaded = self._loader.epoch(batches, state.epoch, first=state.batch)
        unlabelled_batches = self._unlabelled_batches(len(batches))
        street_batches = self._street_batches(len(batches))
        try:
            for batch, unlabelled, street in zip(loaded, unlabelled_batches, street_batches, strict=True):
                is_step = (batch.number + 1) % accumulate == 0 or batch.number + 1 == len(batches)
                self._train_batch(batch, unlabelled, street, is_step=is_step)
                state.batch = batch.number + 1
                state.images += len(batch.rows) * world
                now_s = time.monotonic()
                state.epoch_s += now_s - last_s
                last_s = now_s
                self._callbacks.step(state.images)
                if is_step and now_s - saved_s > self._checkpoint_every_s:
                    self._flush_metrics()
                    self._save()
                    saved_s = time.monotonic()
        finally:
            loaded.close()
            unlabelled_batches.close()
            street_batches.close()
        self._flush_metrics()

    def _unlabelled_batches(self, batches: int) -> Generator[Batch | None, None, None]:
        """The unlabelled batch that goes with each labelled one, or None."""
        first = self.state.batch
        if self._unlabelled is None:
            return (None for _ in range(first, batches))
        return self._unlabelled.epoch(batches, self.state.epoch, first=first)

    def _street_batches(self, batches: int) -> Generator[Batch | None, None, None]:
        """The street garments that go with each batch of the catalogue, or None."""
        first, epoch = self.state.batch, self.state.epoch
        if self._street is None:
            return (None for _ in range(first, batches))
        world, rank = self._fabric.world_size, self._fabric.global_rank
        rows = [views[rank::world] for views in self._street.rows(batches, epoch)]
        return (batch for batch in self._street.epoch(rows, epoch, first=first))

    def _train_batch(self, batch: Batch, unlabelled: Batch | None, street: Batch | None, *, is_step: bool) -> None:
        recipe, data, device = self._recipe, self._data, self._fabric.device
        pixels, labelled = batch.pixels, len(batch.rows)
        codes = to_device(data.codes[batch.rows], device)
        teacher = None if data.teacher is None else to_device(data.teacher[batch.rows], device)
        if unlabelled is not None and self._unlabelled is not None:
            pseudo_codes = self._unlabelled.codes(
                self._averaged_model(),
                unlabelled.rows,
                device=device,
                columns=codes.shape[1],
                precision=self._fabric.autocast(),
            )
            self._freezing.train_mode()
            pixels, codes = torch.cat([pixels, unlabelled.pixels]), torch.cat([codes, pseudo_codes])
        allowed = None
        if street is not None and self._street is not None and len(street.rows):
            domain, garments = self._street.domain, self._street.garments(street.rows)
            allowed = to_device(domain.allowed[garments], device)
            pixels = torch.cat([pixels, street.pixels])
            codes = torch.cat([codes, torch.full((len(garments), codes.shape[1]), UNKNOWN, device=device)])
            if teacher is not None and domain.teacher is not None:
                teacher = torch.cat([teacher, to_device(domain.teacher[garments], device)])
        with self._fabric.no_backward_sync(self._wrapped, enabled=not is_step):
            loss = self.forward_backward(pixels, codes, teacher, allowed)
        scores = None if loss.scores is None else loss.scores[:labelled]
        self._metrics.update(loss.total.detach(), scores, codes[:labelled, 0])
        if device.type == "cpu" or batch.number % _GPU_FLUSH_EVERY == 0:
            self._flush_metrics()
        if not is_step:
            return
        if recipe.optim.clip_norm is not None:
            self._fabric.clip_gradients(
                self._wrapped, self._wrapped_optimizer, max_norm=recipe.optim.clip_norm, error_if_nonfinite=False
            )
        self._wrapped_optimizer.step()
        self._wrapped_optimizer.zero_grad()
        self._schedule.step()
        if self._ema is not None:
            self._ema.update(self.model)

    def forward_backward(
        self,
        pixels: torch.Tensor,
        codes: torch.Tensor,
        teacher: torch.Tensor | None,
        allowed: torch.Tensor | None = None,
    ) -> LossOutput:
        """A forward and a backward pass. (N, H, W, 3) uint8, or maps, and (N, columns) int64 in."""
        loss: LossOutput = self._wrapped(pixels, codes, teacher, allowed)
        self._fabric.backward(loss.total / self._recipe.optim.accumulate)
        return loss

    def _flush_metrics(self) -> None:
        """Raises TrainingDiverged if the loss of a batch since the last flush is not finite."""
        state = self.state
        loss = self._metrics.flush(state)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the loss is {loss} in epoch {state.epoch + 1}: lower optim.learning_rate, set optim.clip_norm, "
                "or train in float32 (VITRINE_TRAINER_PRECISION)"
            )

    def _finish_epoch(self) -> None:
        recipe, state = self._recipe, self.state
        is_last = state.epoch + 1 == recipe.optim.epochs
        metrics = None
        if is_last or (state.epoch + 1) % recipe.validation.every == 0:
            metrics = self._validate()
            if self._trains_on_validation or metrics.better_than(state.best, recipe.validation.best_by):
                state.best, state.best_epoch, state.epochs_without_gain = metrics, state.epoch + 1, 0
                if self._fabric.is_global_zero:
                    self._folder.save_best(self._averaged_model().state_dict())
            else:
                state.epochs_without_gain += 1
        record = EpochRecord(
            epoch=state.epoch + 1,
            train_loss=state.loss_sum / max(1, state.counted),
            validation_loss=metrics.loss if metrics else None,
            train_accuracy=state.correct / state.scored if state.scored else None,
            validation_accuracy=metrics.accuracy if metrics else None,
            learning_rate=max(float(rate) for rate in self._schedule.get_last_lr()),
            precision_at_15=metrics.precision_at_15 if metrics else None,
            mean_average_precision=metrics.mean_average_precision if metrics else None,
            pictures_per_second=len(self._data.train) / max(state.epoch_s, 1e-9),
            seconds=state.epoch_s,
        )
        state.history.append(record)
        state.epoch += 1
        state.batch = state.correct = state.scored = state.counted = 0
        state.loss_sum = state.epoch_s = 0.0
        self._callbacks.epoch(record, metrics)

    def _averaged_model(self) -> TrainingModel:
        """The model to validate and publish: the moving average, if the recipe has one."""
        if self._ema is None:
            return self.model
        averaged = self._ema.module
        assert isinstance(averaged, TrainingModel)
        return averaged

    def _validate(self) -> ValidationMetrics:
        return validate(
            self._averaged_model(),
            self._loader.pixels,
            self._data.validation,
            self._data.codes,
            self._data.relevance,
            device=self._fabric.device,
            batch=self._recipe.optim.batch,
            queries=self._recipe.validation.queries,
            precision=self._fabric.autocast,
            step=lambda: self._callbacks.step(self.state.images),
        )

    def _save(self) -> None:
        if not self._fabric.is_global_zero:
            return
        moments, optimizer = flat_optimizer(self._optimizer)
        tensors: Tensors = {
            **prefixed("model", self.model.state_dict()),
            **prefixed("optimizer", moments),
            "rng": torch.get_rng_state(),
        }
        if self._fabric.device.type == "cuda":
            tensors["device_rng"] = torch.cuda.get_rng_state(self._fabric.device)
        if self._ema is not None:
            tensors |= prefixed("ema", self._ema.module.state_dict())
        if self._unlabelled is not None:
            tensors |= prefixed("unlabelled", self._unlabelled.state())
        state = {
            "recipe": self._recipe.as_json(),
            "train": self.state.as_json(),
            "optimizer": optimizer,
            "schedule": schedule_state(self._schedule),
        }
        self._folder.save(self.state.epoch * 1_000_000 + self.state.batch, tensors, state)
        self._callbacks.saved()
