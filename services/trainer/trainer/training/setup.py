"""Everything before the first step of a run: pictures and their classes, the network it starts from, its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from trainer.augmentation.pipeline import Augmenter, masks_needed
from trainer.data.dataset import Classes, Dataset, TrainingData, build_dataset, check_trainable, classes_of
from trainer.data.extraction import decoded_pictures, embed_pixels, extraction_batch
from trainer.data.loader import BatchLoader
from trainer.data.mask_cache import Masks, cached_masks
from trainer.data.pixel_cache import PixelCache
from trainer.data.splits import split_rule
from trainer.progress import Progress
from trainer.settings import Settings
from trainer.training.callbacks import TrainingCallbacks
from trainer.training.checkpoint import CheckpointFolder
from trainer.training.loop import TrainingLoop
from trainer.training.losses import Classifier, DistillationLoss, MetricLoss, make_loss
from trainer.training.model import AuxiliaryClassifier, Freezing, TrainingModel, WeightedLoss
from trainer.training.pretrained import InitialModel, check_memory, load_initial_model
from trainer.training.pseudo_labels import PseudoLabels
from trainer.weights import checked_weights
from vitrine.catalogs import Catalog
from vitrine.errors import ParameterInvalid, TrainingImpossible
from vitrine.products import Product
from vitrine.recipes import AugmentRecipe, Recipe, TermRecipe
from vitrine.releases import Preprocessing, ReleaseStore
from vitrine.releases.ancestry import parent_lineage, weights_lineage
from vitrine.releases.lineage import Lineage
from vitrine.types import Codes, Rows
from vitrine.vision.heads import Embedded
from vitrine.vision.network import DeviceChoice, Vectors, load_release


@dataclass(frozen=True, slots=True)
class TrainingKind:
    """Defaults of a recipe's `kind`.

    `losses` are used if the recipe names none. With `keeps_labels` the classes of the parent release keep their codes
    and weights, and new classes are appended. With `has_teacher` the embeddings of the teacher release are given to the
    losses of kind `distill`.
    """

    losses: tuple[TermRecipe, ...]
    keeps_labels: bool = False
    has_teacher: bool = False


_CROSS_ENTROPY: Final = (TermRecipe(kind="cross_entropy", of="feature"),)
KINDS: Final[dict[str, TrainingKind]] = {
    "classify": TrainingKind(_CROSS_ENTROPY),
    "metric": TrainingKind((TermRecipe(kind="supervised_contrastive"),)),
    "retrain": TrainingKind(_CROSS_ENTROPY, keeps_labels=True),
    "distill": TrainingKind((TermRecipe(kind="distill"),), has_teacher=True),
}


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """Everything before the first step."""

    start: InitialModel
    examples: Dataset
    cache: PixelCache
    classes: Classes
    terms: tuple[WeightedLoss, ...]
    material: TrainingData
    lineage: Lineage
    unlabelled: PixelCache | None = None
    masks: Masks | None = None


class SetupBuilder:
    """Prepares one run. `prepare` raises as `TrainingRun.run` does."""

    def __init__(
        self,
        recipe: Recipe,
        catalog: Catalog,
        store: ReleaseStore,
        settings: Settings,
        choice: DeviceChoice,
        progress: Progress,
        unlabelled: Catalog | None = None,
    ) -> None:
        self._recipe = recipe
        self._catalog = catalog
        self._store = store
        self._settings = settings
        self._choice = choice
        self._progress = progress
        self._unlabelled = unlabelled
        self._kind = KINDS[recipe.kind]

    def prepare(self) -> TrainingSetup:
        recipe, progress = self._recipe, self._progress
        # Whatever has start values of its own, such as a classifier, draws them from here on.
        torch.manual_seed(recipe.seed)
        if not self._catalog.products:
            raise TrainingImpossible("the catalogue has no products to train on")
        progress.phase("loading the network")
        check_memory(recipe, self._store, self._settings, self._choice)
        start = load_initial_model(
            recipe.model,
            seed=recipe.seed,
            store=self._store,
            checked_weights=lambda weights: checked_weights(weights, self._settings),
        )
        progress.phase("choosing pictures")
        lineage = self._lineage(start)
        examples = build_dataset(self._catalog.products, recipe.data, seed=recipe.seed, lineage=lineage)
        rule = split_rule(self._catalog.dataset, recipe.data, seed=recipe.seed, lineage=lineage)
        lineage = lineage.with_split(self._catalog.dataset, rule, examples.part_of)
        cache = self._pixels(self._catalog, examples.products, start.rules)
        examples = examples.keep(cache.rows)
        label = (recipe.data.label,)
        known = start.labels if self._kind.keeps_labels else ()
        train, validation = examples.rows(*recipe.data.train_on), examples.rows("validation")
        # Where whole items are parted, the other parts have classes of their own, to be found and not to be learned.
        taught = train if recipe.data.group is not None or recipe.data.split == "official" else None
        classes = classes_of(examples, label, known=known, rows=taught)
        check_trainable(classes, train, validation)
        terms, codes = self._columns(examples, classes, taught)
        relevance = np.stack([classes_of(examples, (attribute,)).codes for attribute in recipe.data.relevance], axis=1)
        teacher = self._teacher(examples) if self._kind.has_teacher else None
        material = TrainingData(codes, relevance, train, validation, teacher)
        without_labels, masks = self._without_labels(start.rules), self._masks(cache, train)
        if without_labels is not None and self._unlabelled is not None:
            shown = [self._unlabelled.products[row].id for row in without_labels.rows]
            lineage = lineage.with_products(self._unlabelled.dataset, fitted=shown)
        return TrainingSetup(start, examples, cache, classes, terms, material, lineage, without_labels, masks)

    def _lineage(self, start: InitialModel) -> Lineage:
        """What the network that it starts from was fitted on, and its teacher."""
        model, loaded = self._recipe.model, start.loaded
        lineage = weights_lineage(
            self._store, loaded.weights_source, loaded.weights_source_sha256, stated=model.weights_trained_on
        )
        for parent in (start.parent, self._recipe.teacher):
            if parent is not None:
                lineage |= parent_lineage(self._store, parent)
        return lineage

    def _masks(self, cache: PixelCache, train: Rows) -> Masks | None:
        """The cut-outs that the recipe's changes of background need."""
        count = masks_needed(self._recipe.augment)
        if not count:
            return None

        def step(done: int, total: int) -> None:
            self._progress.progress(done, total, eta_s=None, phase="cutting out garments")

        return cached_masks(cache, train, count, step=step)

    def _without_labels(self, rules: Preprocessing) -> PixelCache | None:
        if self._recipe.unlabelled is None:
            return None
        if self._unlabelled is None:
            raise ParameterInvalid("the recipe learns from unlabelled pictures: name their catalogue as 'unlabelled'")
        return self._pixels(self._unlabelled, self._unlabelled.products, rules)

    def _pixels(self, catalog: Catalog, products: Sequence[Product], rules: Preprocessing) -> PixelCache:
        return decoded_pictures(catalog, products, rules, self._settings, self._progress)

    def _columns(
        self, examples: Dataset, label: Classes, taught: Rows | None
    ) -> tuple[tuple[WeightedLoss, ...], Codes]:
        """The losses with the column of codes each looks at; the label's is the first."""
        recipes = self._recipe.terms or self._kind.losses
        columns: dict[tuple[str, ...], int] = {(self._recipe.data.label,): 0}
        codes = [label.codes]
        terms = []
        for term in recipes:
            attributes = term.on or (self._recipe.data.label,)
            if attributes not in columns:
                columns[attributes] = len(codes)
                codes.append(classes_of(examples, attributes, rows=taught).codes)
            terms.append(WeightedLoss(term, columns[attributes]))
        return tuple(terms), np.stack(codes, axis=1)

    def _teacher(self, examples: Dataset) -> Vectors:
        """The teacher's embeddings of all examples, each picture as the teacher's own rules fit it."""
        assert self._recipe.teacher is not None
        self._progress.phase("asking the teacher")
        manifest = self._store.manifest(self._recipe.teacher)
        network = load_release(self._store.local_folder(self._recipe.teacher), manifest, self._choice)
        cache = self._pixels(self._catalog, examples.products, manifest.preprocessing)
        if len(cache.rows) != len(examples):
            raise TrainingImpossible("pictures became unreadable while the job ran")
        rows = np.arange(len(examples), dtype=np.int64)
        return embed_pixels(
            network, cache.pixels, rows, raw=False, batch=extraction_batch(self._settings, self._choice)
        )


def build_loop(
    prepared: TrainingSetup,
    recipe: Recipe,
    settings: Settings,
    choice: DeviceChoice,
    folder: CheckpointFolder,
    callbacks: TrainingCallbacks,
) -> TrainingLoop:
    """The loop, before its first step. Raises ParameterInvalid for what the network or a term does not have."""
    start, backbone = prepared.start, prepared.start.loaded.network
    subject = TrainingModel(
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
        callbacks,
        checkpoint_every_s=settings.trainer_checkpoint_s,
        unlabelled=_unlabelled(prepared, recipe, fabric.device),
    )


def _unlabelled(prepared: TrainingSetup, recipe: Recipe, device: torch.device) -> PseudoLabels | None:
    """The pictures without labels. They keep their own backgrounds."""
    if recipe.unlabelled is None or prepared.unlabelled is None:
        return None
    rules = prepared.start.rules
    changes = recipe.augment.model_copy(update={"background": 0.0, "undress": 0.0, "alone": 0.0})
    augmenter = Augmenter(changes, rules.height_px, rules.width_px, seed=recipe.seed, device=device)
    loader = BatchLoader(prepared.unlabelled.pixels, augmenter, device, seed=recipe.seed)
    return PseudoLabels(loader, recipe.unlabelled, batch=recipe.optim.batch, seed=recipe.seed)


def _module(term: TermRecipe, prepared: TrainingSetup) -> nn.Module:
    start, material = prepared.start, prepared.material
    dim = start.loaded.architecture.raw_dim
    if term.of == "feature" and isinstance(start.loaded.network, Embedded):
        dim = start.loaded.network.embedding.in_features
    if term.kind == "distill":
        assert material.teacher is not None
        return DistillationLoss(dim, material.teacher.shape[1])
    column = next(one.column for one in prepared.terms if one.recipe is term)
    classes = int(material.codes[:, column].max()) + 1
    module = make_loss(term, dim=dim, classes=max(classes, len(prepared.classes.names) if column == 0 else 0))
    same_numbers = prepared.classes.names[: len(start.labels)] == start.labels
    if column == 0 and start.classifier is not None and same_numbers and isinstance(module, Classifier | MetricLoss):
        module.initialize_from(start.classifier)
    return module


def _auxiliary(recipe: Recipe, start: InitialModel, classes: int) -> AuxiliaryClassifier | None:
    """The model table's second classifier, for a fine-tuning as the table has it."""
    entry = start.auxiliary
    if entry is None or recipe.model.trainable != "table":
        return None
    network: Any = start.loaded.network
    backbone = network.backbone if isinstance(network, Embedded) else network
    return AuxiliaryClassifier(backbone, at=entry.at, channels=entry.channels, classes=classes, weight=entry.weight)


def _trainable(recipe: Recipe, start: InitialModel) -> tuple[str, ...] | None:
    wanted = recipe.model.trainable
    if wanted == "all":
        return None
    return start.trainable if wanted == "table" else wanted
