"""From what was prepared to the loop that trains it: the subject, what of it is frozen, the batches, the device."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from trainer.settings import Settings
from trainer.training.augment import Augmenter
from trainer.training.auxiliary import AuxiliaryHead
from trainer.training.checkpoint import RunFolder
from trainer.training.distillation import Imitation
from trainer.training.freezing import Freezing
from trainer.training.loading import BatchLoader
from trainer.training.loop import TrainingLoop
from trainer.training.preparing import Prepared
from trainer.training.pseudolabels import PseudoLabels
from trainer.training.standing import Reporter
from trainer.training.start import Start
from trainer.training.subject import Subject
from trainer.training.terms import Classifier, MetricTerm, make_term
from vitrine.recipes import AugmentRecipe, Recipe, TermRecipe
from vitrine.vision.heads import Embedded
from vitrine.vision.network import DeviceChoice


def assemble(
    prepared: Prepared,
    recipe: Recipe,
    settings: Settings,
    choice: DeviceChoice,
    folder: RunFolder,
    reporter: Reporter,
) -> TrainingLoop:
    """The loop, before its first step. Raises ParameterInvalid for what the network or a term does not have."""
    start, backbone = prepared.start, prepared.start.loaded.network
    subject = Subject(
        backbone,
        start.rules,
        prepared.terms,
        [_module(weighted.recipe, prepared) for weighted in prepared.terms],
        auxiliary=_auxiliary(recipe, start, len(prepared.classes.names)),
    )
    freezing = Freezing(
        backbone.backbone if isinstance(backbone, Embedded) else backbone,
        trainable=_trainable(recipe, start),
        frozen=recipe.model.frozen,
        train_norm=recipe.optim.train_norm,
    )
    fabric = Fabric(
        accelerator="cuda" if choice.device.type == "cuda" else "cpu",
        # One device may be named by its number; several are the first so many.
        devices=[choice.device.index] if choice.device.index is not None else settings.trainer_devices,
        strategy="auto" if settings.trainer_devices == 1 else "ddp",
        precision="bf16-mixed" if choice.dtype.itemsize == 2 else "32-true",
    )
    fabric.launch()  # several devices: waits until every rank is there
    augmenter = None
    if recipe.augment != AugmentRecipe():
        others = None if prepared.unlabelled is None else prepared.unlabelled.pixels
        augmenter = Augmenter(
            recipe.augment,
            start.rules.height_px,
            start.rules.width_px,
            seed=recipe.seed,
            device=fabric.device,
            backgrounds=others,
            background_share=0.0 if recipe.unlabelled is None else recipe.unlabelled.backgrounds,
        )
    loader = BatchLoader(prepared.cache.pixels, augmenter, fabric.device, seed=recipe.seed, masks=prepared.masks)
    return TrainingLoop(
        fabric,
        subject,
        freezing,
        prepared.material,
        loader,
        recipe,
        folder,
        reporter,
        checkpoint_every_s=settings.trainer_checkpoint_s,
        unlabelled=_unlabelled(prepared, recipe, fabric.device),
    )


def _unlabelled(prepared: Prepared, recipe: Recipe, device: torch.device) -> PseudoLabels | None:
    """The pictures without labels. They keep their own backgrounds."""
    if recipe.unlabelled is None or prepared.unlabelled is None:
        return None
    rules = prepared.start.rules
    changes = recipe.augment.model_copy(update={"background": 0.0, "undress": 0.0, "alone": 0.0})
    augmenter = Augmenter(changes, rules.height_px, rules.width_px, seed=recipe.seed, device=device)
    loader = BatchLoader(prepared.unlabelled.pixels, augmenter, device, seed=recipe.seed)
    return PseudoLabels(loader, recipe.unlabelled, batch=recipe.optim.batch, seed=recipe.seed)


def _module(term: TermRecipe, prepared: Prepared) -> nn.Module:
    start, material = prepared.start, prepared.material
    dim = start.loaded.architecture.raw_dim
    if term.of == "feature" and isinstance(start.loaded.network, Embedded):
        dim = start.loaded.network.embedding.in_features
    if term.kind == "distill":
        assert material.teacher is not None
        return Imitation(dim, material.teacher.shape[1])
    column = next(one.column for one in prepared.terms if one.recipe is term)
    classes = int(material.codes[:, column].max()) + 1
    module = make_term(term, dim=dim, classes=max(classes, len(prepared.classes.names) if column == 0 else 0))
    same_numbers = prepared.classes.names[: len(start.labels)] == start.labels
    if column == 0 and start.classifier is not None and same_numbers and isinstance(module, Classifier | MetricTerm):
        module.take_over(start.classifier)
    return module


def _auxiliary(recipe: Recipe, start: Start, classes: int) -> AuxiliaryHead | None:
    """The model table's second classifier, for a fine-tuning as the table has it."""
    entry = start.auxiliary
    if entry is None or recipe.model.trainable != "table":
        return None
    network: Any = start.loaded.network
    backbone = network.backbone if isinstance(network, Embedded) else network
    return AuxiliaryHead(backbone, at=entry.at, channels=entry.channels, classes=classes, weight=entry.weight)


def _trainable(recipe: Recipe, start: Start) -> tuple[str, ...] | None:
    wanted = recipe.model.trainable
    if wanted == "all":
        return None
    return start.trainable if wanted == "table" else wanted
