"""The one training loop, on Lightning Fabric: device, precision and the number of devices are Fabric's business. After
every epoch, and now and then within one, the whole state is kept, so that a run that was killed goes on as if it had
not been: the order of the pictures and their changes follow from the seed, the epoch and the batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from typing import Any, Final

import numpy as np
import torch
from lightning_fabric import Fabric

from trainer.augmentation.tensors import to_device
from trainer.data.dataset import TrainingData
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
from trainer.training.model import Freezing, Loss, TrainingModel
from trainer.training.optim import ExponentialAverage, make_optimizer, make_schedule
from trainer.training.pseudo_labels import PseudoLabels
from trainer.training.state import RunningMetrics, TrainState
from trainer.training.validation import ValidationMetrics, validate
from vitrine.errors import TrainingDiverged
from vitrine.recipes import Recipe
from vitrine.types import Rows

_GPU_CHECK_EVERY: Final = 20  # asking a GPU for a number makes it wait


class TrainingLoop:
    """One run of one recipe. Make it, then `run`. `pictures` are as many as it sees if it is not stopped early."""

    def __init__(
        self,
        fabric: Fabric,
        subject: TrainingModel,
        freezing: Freezing,
        material: TrainingData,
        loader: BatchLoader,
        recipe: Recipe,
        folder: CheckpointFolder,
        callbacks: TrainingCallbacks,
        *,
        checkpoint_every_s: float,
        unlabelled: PseudoLabels | None = None,
    ) -> None:
        self._fabric = fabric
        self._unlabelled = unlabelled
        self._recipe = recipe
        self._freezing = freezing
        self._material = material
        self._loader = loader
        self._folder = folder
        self._callbacks = callbacks
        self._checkpoint_every_s = checkpoint_every_s
        # How well it does on pictures it was trained on says nothing: then the newest epoch is kept.
        self._knows_validation = bool(np.isin(material.validation, material.train).any())
        subject.backbone.to(memory_format=torch.channels_last)
        self.subject = subject
        self._optimizer = make_optimizer(subject, recipe.optim)
        batches = self._batches(0)
        self.pictures = sum(len(rows) for rows in batches) * recipe.optim.epochs
        steps_per_epoch = math.ceil(len(batches) / recipe.optim.accumulate)
        self._schedule = make_schedule(self._optimizer, recipe.optim, steps_per_epoch * recipe.optim.epochs)
        self._wrapped, self._wrapped_optimizer = fabric.setup(subject, self._optimizer)
        self._average = None if recipe.optim.ema is None else ExponentialAverage(subject, recipe.optim.ema)
        self._tally = RunningMetrics()
        self.standing = TrainState()

    def restore(self) -> bool:
        """Take up the newest checkpoint. Returns whether there was one; that of another recipe is thrown away."""
        found = self._folder.load()
        if found is None:
            return False
        tensors, state = found
        if state["recipe"] != self._recipe.as_json():
            if self._fabric.is_global_zero:
                self._folder.remove()
            return False
        self.subject.load_state_dict(unprefixed("subject", tensors))
        if self._average is not None:
            self._average.load_state_dict(unprefixed("average", tensors))
        restore_optimizer(self._optimizer, unprefixed("optimizer", tensors), state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(tensors["rng"])
        if "device_rng" in tensors and self._fabric.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["device_rng"], self._fabric.device)
        if self._unlabelled is not None:
            self._unlabelled.restore(unprefixed("unlabelled", tensors), self._fabric.device)
        self.standing = TrainState.from_json(state["standing"])
        return True

    def run(self) -> TrainState:
        """Train to the end, or until validation gains nothing any more.

        Raises TrainingDiverged, and whatever the reporter raises.
        """
        recipe, standing = self._recipe, self.standing
        while standing.epoch < recipe.optim.epochs and not self._stopped_early():
            self._train_epoch()
            self._finish_epoch()
            self._save()
        return standing

    def _stopped_early(self) -> bool:
        patience = self._recipe.validation.patience
        return patience is not None and self.standing.stale >= patience

    def _batches(self, epoch: int) -> list[Rows]:
        recipe = self._recipe
        return epoch_batches(
            self._material.train,
            self._material.codes[:, 0],
            recipe.sampler,
            batch=recipe.optim.batch,
            seed=recipe.seed,
            epoch=epoch,
        )

    def _train_epoch(self) -> None:
        standing, accumulate = self.standing, self._recipe.optim.accumulate
        world, rank = self._fabric.world_size, self._fabric.global_rank
        batches = [rows[rank::world] for rows in self._batches(standing.epoch)]
        self.subject.train()
        self._freezing.train_mode()
        clock = time.monotonic()
        saved = clock
        loaded = self._loader.epoch(batches, standing.epoch, first=standing.batch)
        more = self._more(len(batches))
        try:
            for batch, unlabelled in zip(loaded, more, strict=True):
                is_step = (batch.number + 1) % accumulate == 0 or batch.number + 1 == len(batches)
                self._train_batch(batch, unlabelled, is_step=is_step)
                standing.batch = batch.number + 1
                standing.pictures += len(batch.rows) * world
                now = time.monotonic()
                standing.epoch_s += now - clock
                clock = now
                self._callbacks.step(standing.pictures)
                if is_step and now - saved > self._checkpoint_every_s:
                    self._take_tally()
                    self._save()
                    saved = time.monotonic()
        finally:
            loaded.close()
            more.close()
        self._take_tally()

    def _more(self, batches: int) -> Generator[Batch | None, None, None]:
        """What comes with each batch without labels, if anything."""
        first = self.standing.batch
        if self._unlabelled is None:
            return (None for _ in range(first, batches))
        return self._unlabelled.epoch(batches, self.standing.epoch, first=first)

    def _train_batch(self, batch: Batch, unlabelled: Batch | None, *, is_step: bool) -> None:
        recipe, material, device = self._recipe, self._material, self._fabric.device
        pixels, labelled = batch.pixels, len(batch.rows)
        codes = to_device(material.codes[batch.rows], device)
        teacher = None if material.teacher is None else to_device(material.teacher[batch.rows], device)
        if unlabelled is not None and self._unlabelled is not None:
            thought = self._unlabelled.codes(
                self._judged(),
                unlabelled.rows,
                device=device,
                columns=codes.shape[1],
                precision=self._fabric.autocast(),
            )
            self._freezing.train_mode()
            pixels, codes = torch.cat([pixels, unlabelled.pixels]), torch.cat([codes, thought])
        with self._fabric.no_backward_sync(self._wrapped, enabled=not is_step):
            loss = self.forward_backward(pixels, codes, teacher)
        scores = None if loss.scores is None else loss.scores[:labelled]
        self._tally.add(loss.total.detach(), scores, codes[:labelled, 0])
        if device.type == "cpu" or batch.number % _GPU_CHECK_EVERY == 0:
            self._take_tally()
        if not is_step:
            return
        if recipe.optim.clip_norm is not None:
            self._fabric.clip_gradients(
                self._wrapped, self._wrapped_optimizer, max_norm=recipe.optim.clip_norm, error_if_nonfinite=False
            )
        self._wrapped_optimizer.step()
        self._wrapped_optimizer.zero_grad()
        self._schedule.step()
        if self._average is not None:
            self._average.update()

    def forward_backward(self, pixels: torch.Tensor, codes: torch.Tensor, teacher: torch.Tensor | None) -> Loss:
        """One pass and its gradients: (N, H, W, 3) uint8 and (N, columns) int64 in."""
        loss: Loss = self._wrapped(pixels, codes, teacher)
        self._fabric.backward(loss.total / self._recipe.optim.accumulate)
        return loss

    def _take_tally(self) -> None:
        """Raises TrainingDiverged where the loss of a batch since the last time was no number."""
        standing = self.standing
        loss = self._tally.take(standing)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the loss is {loss} in epoch {standing.epoch + 1}: lower optim.learning_rate, set optim.clip_norm, "
                "or train in float32 (VITRINE_TRAINER_PRECISION)"
            )

    def _finish_epoch(self) -> None:
        recipe, standing = self._recipe, self.standing
        is_last = standing.epoch + 1 == recipe.optim.epochs
        judgement = None
        if is_last or (standing.epoch + 1) % recipe.validation.every == 0:
            judgement = self._judge()
            if self._knows_validation or judgement.better_than(standing.best, recipe.validation.best_by):
                standing.best, standing.best_epoch, standing.stale = judgement, standing.epoch + 1, 0
                if self._fabric.is_global_zero:
                    self._folder.save_best(self._judged().state_dict())
            else:
                standing.stale += 1
        record = EpochRecord(
            epoch=standing.epoch + 1,
            train_loss=standing.loss_sum / max(1, standing.seen),
            validation_loss=judgement.loss if judgement else None,
            train_accuracy=standing.right / standing.scored if standing.scored else None,
            validation_accuracy=judgement.accuracy if judgement else None,
            learning_rate=max(float(rate) for rate in self._schedule.get_last_lr()),
            precision_at_15=judgement.precision_at_15 if judgement else None,
            mean_average_precision=judgement.mean_average_precision if judgement else None,
            pictures_per_second=len(self._material.train) / max(standing.epoch_s, 1e-9),
            seconds=standing.epoch_s,
        )
        standing.history.append(record)
        standing.epoch += 1
        standing.batch = standing.right = standing.scored = standing.seen = 0
        standing.loss_sum = standing.epoch_s = 0.0
        self._callbacks.epoch(record, judgement)

    def _judged(self) -> TrainingModel:
        """What is judged and kept: the average of the weights where one is kept, else the weights."""
        return self.subject if self._average is None else self._average.subject

    def _judge(self) -> ValidationMetrics:
        return validate(
            self._judged(),
            self._loader.pixels,
            self._material.validation,
            self._material.codes,
            self._material.relevance,
            device=self._fabric.device,
            batch=self._recipe.optim.batch,
            queries=self._recipe.validation.queries,
            precision=self._fabric.autocast,
            step=lambda: self._callbacks.step(self.standing.pictures),
        )

    def _save(self) -> None:
        if not self._fabric.is_global_zero:
            return
        moments, optimizer = flat_optimizer(self._optimizer)
        tensors: Tensors = {
            **prefixed("subject", self.subject.state_dict()),
            **prefixed("optimizer", moments),
            "rng": torch.get_rng_state(),
        }
        if self._fabric.device.type == "cuda":
            tensors["device_rng"] = torch.cuda.get_rng_state(self._fabric.device)
        if self._average is not None:
            tensors |= prefixed("average", self._average.state_dict())
        if self._unlabelled is not None:
            tensors |= prefixed("unlabelled", self._unlabelled.state())
        state = {
            "recipe": self._recipe.as_json(),
            "standing": self.standing.as_json(),
            "optimizer": optimizer,
            "schedule": _plain(self._schedule),
        }
        self._folder.save(self.standing.epoch * 1_000_000 + self.standing.batch, tensors, state)
        self._callbacks.saved()


def _plain(schedule: torch.optim.lr_scheduler.LambdaLR) -> dict[str, Any]:
    """A schedule's state without its function, which follows from the recipe."""
    state = {name: value for name, value in schedule.state_dict().items() if name != "lr_lambdas"}
    return {**state, "lr_lambdas": [None] * len(schedule.lr_lambdas)}
