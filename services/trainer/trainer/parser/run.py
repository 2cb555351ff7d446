"""A training run of a parser, from outlined photographs to a published release. It knows nothing about jobs."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from trainer.memory import check_training
from trainer.network_cost import cost_of
from trainer.parser.augmentation import Person, PhotographAugmenter
from trainer.parser.loop import ParserLoop, ParserState, freezing_of
from trainer.parser.losses import ParserLoss, class_weights
from trainer.parser.photographs import Outlined, donors, drawing_weights, drawn_together, outlined_photographs
from trainer.parser.report import write_report, write_sheet
from trainer.parser.validation import ParserMetrics, parsed_photographs, validate
from trainer.progress import Progress
from trainer.settings import Settings
from trainer.training.callbacks import TrainingCallbacks, open_tensorboard
from trainer.training.checkpoint import CheckpointFolder
from trainer.weights import checked_weights
from vitrine.atomic_write import write_json
from vitrine.catalogs.street_photographs import StreetPhotographs, read_street_photographs
from vitrine.errors import ParameterInvalid
from vitrine.garments import KIND_NAMES
from vitrine.images.decode import DECODE_RULES_VERSION
from vitrine.parse_recipes import ParseRecipe
from vitrine.releases import (
    WEIGHTS_FILE,
    ParserManifest,
    Preprocessing,
    ReleaseStore,
    WeightsOrigin,
    file_sha256,
)
from vitrine.releases import ParserNetwork as NetworkSpec
from vitrine.vision.backbones import PRETRAINED, load_weights, round_weights, save_weights
from vitrine.vision.network import DeviceChoice, choose_device
from vitrine.vision.parser import LEVELS, GarmentNetwork, load_backbone_weights
from vitrine.vision.preprocess import Normalise

# Kinds in fewer of the photographs are pasted into others.
_RARE: Final = 0.2
_SHEET_PHOTOGRAPHS: Final = 24


class ParserRun:
    """One run. Checkpoints are stored in `folder`: a run with the same folder resumes the previous one."""

    def __init__(
        self,
        recipe: ParseRecipe,
        root: Path,
        store: ReleaseStore,
        settings: Settings,
        folder: Path,
        progress: Progress,
        outlined: Path | None = None,
    ) -> None:
        """`root` is the folder of the outlined photographs, `outlined` that of others, which are all trained on."""
        self._outlined = outlined
        self._recipe, self._root, self._store, self._settings = recipe, root, store, settings
        self._folder = CheckpointFolder(folder)
        self._progress = progress
        self._choice: DeviceChoice = choose_device(settings.trainer_device, settings.trainer_precision)
        self._rules = preprocessing_of(recipe)
        self._spec = network_of(recipe)

    def run(self) -> dict[str, Any]:
        """Train and publish. Returns the result of the job.

        Raises ParameterInvalid, JobTooLarge, WeightsUnusable, CatalogError, TrainingImpossible, TrainingDiverged, and
        what `progress` raises.
        """
        started_s = time.monotonic()
        recipe, progress = self._recipe, self._progress
        progress.phase("reading the photographs")
        photographs = read_street_photographs(self._root)
        others = None if self._outlined is None else read_street_photographs(self._outlined)
        check_memory(recipe, self._settings, self._choice)
        torch.manual_seed(recipe.seed)
        network = GarmentNetwork(self._spec, len(KIND_NAMES))
        origin = self._initial(network)
        state, loop = self._train(network, photographs, others)
        progress.phase("evaluating")
        best = loop.averaged()
        best.load_state_dict(self._folder.load_best())
        best = best.float().eval()
        if recipe.model.release is not None and recipe.model.keep:
            interpolate(best, self._start(recipe.model.release), keep=recipe.model.keep)
        if recipe.model.half:
            round_weights(best)
        metrics = self._validate(best, photographs, boundaries=True)
        progress.phase("publishing")
        parts = {"train": list(photographs.for_training), "validation": sorted(photographs.held_out)}
        if others is not None:
            parts["outlined"] = list(others.names)
        release_id = self._publish(best, photographs, parts, state, metrics, origin)
        return {
            "release_id": release_id,
            "model": recipe.name,
            "best_epoch": state.best_epoch,
            "epochs": len(state.history),
            "trained_on": len(photographs.for_training),
            "validated_on": len(photographs.held_out),
            "pictures_per_second": round(float(np.mean([one.pictures_per_second for one in state.history])), 1),
            "training_seconds": round(sum(record.seconds for record in state.history), 1),
            "seconds_since_start": round(time.monotonic() - started_s, 1),
            **metrics.as_metrics(),
        }

    def clean(self) -> None:
        """Remove the checkpoints and the decoded photographs of a finished run."""
        self._folder.remove()

    def _initial(self, network: GarmentNetwork) -> tuple[str, str | None]:
        """Give the network its initial weights, and return their source and the hash of their file."""
        model = self._recipe.model
        if model.release is None:
            weights = checked_weights(model.weights, self._settings)
            sha256 = load_backbone_weights(network, self._spec, weights)
            if sha256 is not None:
                return f"file:{Path(weights).name}", sha256
            return (f"pretrained:{model.timm}" if weights == PRETRAINED else weights), None
        parent = self._store.parser_manifest(model.release)
        if parent.network != self._spec or parent.classes != KIND_NAMES:
            raise ParameterInvalid(
                f"the parser {model.release!r} has another network than the recipe: give 'timm', 'options' and 'width' "
                "of its recipe"
            )
        load_weights(network, self._weights(model.release))
        return f"release:{model.release}", parent.weights.sha256

    def _weights(self, release_id: str) -> Path:
        return self._store.local_folder(release_id) / WEIGHTS_FILE

    def _start(self, release_id: str) -> GarmentNetwork:
        """The parser that the run started from."""
        network = GarmentNetwork(self._spec, len(KIND_NAMES))
        load_weights(network, self._weights(release_id))
        return network.to(self._choice.device)

    def _decoded(self, photographs: StreetPhotographs, names: tuple[str, ...], folder: Path) -> Outlined:
        def step(done: int, total: int) -> None:
            self._progress.progress(done, total, eta_s=None, phase="decoding the photographs")

        rules = self._rules
        return outlined_photographs(photographs, names, rules.height_px, rules.width_px, folder=folder, step=step)

    def _train(
        self, network: GarmentNetwork, photographs: StreetPhotographs, others: StreetPhotographs | None
    ) -> tuple[ParserState, ParserLoop]:
        recipe, progress = self._recipe, self._progress
        outlined = self._decoded(photographs, photographs.for_training, self._folder.folder)
        shares = outlined.shares()
        weights = drawing_weights(shares, recipe.data.balance)
        pixels, masks = list(outlined.pixels), list(outlined.masks)
        people = [Person.of(mask) for mask in masks]
        if others is not None:
            more = self._decoded(others, others.names, self._folder.folder / "outlined")
            pixels, masks = pixels + list(more.pixels), masks + list(more.masks)
            people += [None] * len(more.masks)  # nothing is pasted beside a garment that nobody wears
            other_weights = drawing_weights(more.shares(), recipe.data.balance)
            weights = drawn_together(weights, other_weights, recipe.data.outlined_share)
        augmenter = PhotographAugmenter(recipe.augment, pixels, masks, donors(shares, rarer_than=_RARE), people)
        loss = ParserLoss(
            class_weights(shares.mean(axis=0), recipe.loss.balance),
            lovasz=recipe.loss.lovasz,
            label_smoothing=recipe.loss.label_smoothing,
        )
        callbacks = TrainingCallbacks(progress)
        loop = ParserLoop(
            network,
            loss,
            Normalise(self._rules),
            augmenter,
            weights,
            recipe,
            self._folder,
            callbacks,
            partial(self._validate, photographs=photographs),
            per_epoch=len(outlined.masks),
            choice=self._choice,
            checkpoint_every_s=self._settings.trainer_checkpoint_s,
        )
        if loop.restore():
            progress.note(f"resumed from the checkpoint at epoch {loop.state.epoch + 1}, batch {loop.state.batch + 1}")
        logs = self._settings.work_dir / "tensorboard" / self._folder.folder.name
        with open_tensorboard(logs, history=loop.state.history) as tensorboard:
            callbacks.begin(loop.state.images, loop.images, tensorboard)
            state = loop.run()
        callbacks.end(state.images)
        return state, loop

    def _validate(
        self, network: nn.Module, photographs: StreetPhotographs, *, boundaries: bool = False
    ) -> ParserMetrics:
        return validate(
            network,
            self._rules,
            photographs,
            device=self._choice.device,
            precision=partial(
                torch.autocast,
                self._choice.device.type,
                self._choice.dtype,
                enabled=self._choice.dtype != torch.float32,
            ),
            step=self._progress.check,
            boundaries=boundaries,
        )

    def _publish(
        self,
        network: nn.Module,
        photographs: StreetPhotographs,
        parts: dict[str, list[str]],
        state: ParserState,
        metrics: ParserMetrics,
        origin: tuple[str, str | None],
    ) -> str:
        with tempfile.TemporaryDirectory(prefix="vitrine-parser-") as made:
            weights, reports = Path(made, WEIGHTS_FILE), Path(made, "training")
            save_weights(network, weights, half=self._recipe.model.half)
            write_report(reports, state.history, metrics, best_epoch=state.best_epoch)
            write_json(reports / "recipe.json", self._recipe.as_json())
            write_json(reports / "parts.json", parts)
            shown = parsed_photographs(
                network,
                self._rules,
                photographs,
                sorted(photographs.held_out)[:_SHEET_PHOTOGRAPHS],
                device=self._choice.device,
                precision=partial(torch.autocast, self._choice.device.type, enabled=False),
                step=self._progress.check,
            )
            write_sheet(reports, shown)
            manifest = ParserManifest(
                model=self._recipe.name,
                network=self._spec,
                classes=KIND_NAMES,
                weights=WeightsOrigin(
                    source=origin[0],
                    source_sha256=origin[1],
                    sha256=file_sha256(weights),
                    size_bytes=weights.stat().st_size,
                ),
                preprocessing=self._rules,
                recipe=self._recipe.as_json(),
                metrics=metrics.as_metrics(),
                parent=self._recipe.model.release,
            )
            return self._store.publish(manifest, weights=weights, training=reports)


@torch.no_grad()
def interpolate(trained: nn.Module, start: nn.Module, *, keep: float) -> None:
    """Move the weights of `trained` the share `keep` of the way back to `start`.

    A network that was fine-tuned on other pictures does well on these, and between the two on both (Wortsman et al.,
    "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022).
    """
    before = start.state_dict()
    for name, weight in trained.state_dict().items():
        if weight.is_floating_point():
            weight.lerp_(before[name].to(weight), keep)


def network_of(recipe: ParseRecipe) -> NetworkSpec:
    """The network of the recipe."""
    model = recipe.model
    return NetworkSpec(timm_name=model.timm, options=model.options, levels=LEVELS, channels=model.width)


def check_memory(recipe: ParseRecipe, settings: Settings, choice: DeviceChoice) -> None:
    """Raise JobTooLarge if training on the CPU needs more memory than there is, before the network is built."""
    if choice.device.type != "cpu":
        return
    spec = network_of(recipe)
    sizes = [recipe.size_of(epoch) for epoch in range(recipe.optim.epochs)]
    largest = max(sizes, key=lambda size: size[0] * size[1])

    def freeze(network: nn.Module) -> None:
        assert isinstance(network, GarmentNetwork)
        network.train()
        freezing_of(network, recipe).train_mode()

    cost = cost_of(lambda: GarmentNetwork(spec, len(KIND_NAMES)), spec.timm_name, largest, freeze=freeze)
    check_training(cost, largest, recipe.optim, settings, network_option="model.timm", input_option="model.height_px")


def preprocessing_of(recipe: ParseRecipe) -> Preprocessing:
    """How a picture becomes the input of the recipe's network: all of it, padded with white, scaled to -1..1."""
    return Preprocessing(
        input_px=recipe.model.height_px,
        input_width_px=recipe.model.width_px,
        resize_px=recipe.model.height_px,
        fit="pad",
        interpolation="bilinear",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        decode_rules_version=DECODE_RULES_VERSION,
    )
