"""Setup of a training run: dataset, pixels, masks, pretrained network, teacher; then model, loader and loop."""

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
from trainer.data.street import StreetGarment
from trainer.progress import Progress
from trainer.settings import Settings
from trainer.training.callbacks import TrainingCallbacks
from trainer.training.checkpoint import CheckpointFolder
from trainer.training.frozen_maps import MapLoader
from trainer.training.loaders import make_loaders, street_loader
from trainer.training.loop import TrainingLoop
from trainer.training.losses import Classifier, DistillationLoss, MetricLoss, make_loss
from trainer.training.model import AuxiliaryClassifier, Freezing, TrainingModel, WeightedLoss
from trainer.training.pretrained import InitialModel, check_memory, load_initial_model
from trainer.training.pseudo_labels import PseudoLabels
from trainer.training.street import StreetBatches, StreetDomain
from trainer.training.street_setup import Trained, color_codes, street_domain, street_teacher
from trainer.weights import checked_weights
from vitrine.catalogs import Catalog
from vitrine.catalogs.street_photographs import StreetPhotographs
from vitrine.errors import ParameterInvalid, TrainingImpossible
from vitrine.products import Product
from vitrine.recipes import AugmentRecipe, Recipe, TermRecipe
from vitrine.releases import Preprocessing, ReleaseStore
from vitrine.releases.ancestry import parent_lineage, weights_lineage
from vitrine.releases.lineage import Lineage
from vitrine.types import Codes, Rows, Vectors
from vitrine.vision.heads import Embedded
from vitrine.vision.network import DeviceChoice, ReleaseNetwork, load_release


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


_STREET: Final = "street-photographs"  # in the lineage
_CROSS_ENTROPY: Final = (TermRecipe(kind="cross_entropy", of="feature"),)
KINDS: Final[dict[str, TrainingKind]] = {
    "classify": TrainingKind(_CROSS_ENTROPY),
    "metric": TrainingKind((TermRecipe(kind="supervised_contrastive"),)),
    "retrain": TrainingKind(_CROSS_ENTROPY, keeps_labels=True),
    "distill": TrainingKind((TermRecipe(kind="distill"),), has_teacher=True),
}


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """Everything that a run needs before the loop is built."""

    initial: InitialModel
    dataset: Dataset
    cache: PixelCache
    classes: Classes
    losses: tuple[WeightedLoss, ...]
    data: TrainingData
    lineage: Lineage
    unlabelled: PixelCache | None = None
    masks: Masks | None = None
    street: StreetDomain | None = None


class SetupBuilder:
    """Prepares one run. Raises as `TrainingRun.run` does."""

    def __init__(
        self,
        recipe: Recipe,
        catalog: Catalog,
        store: ReleaseStore,
        settings: Settings,
        choice: DeviceChoice,
        progress: Progress,
        unlabelled: Catalog | None = None,
        street: StreetPhotographs | None = None,
    ) -> None:
        self._recipe = recipe
        self._catalog = catalog
        self._store = store
        self._settings = settings
        self._choice = choice
        self._progress = progress
        self._unlabelled = unlabelled
        self._street = street
        self._kind = KINDS[recipe.kind]

    def prepare(self) -> TrainingSetup:
        recipe, progress = self._recipe, self._progress
        # For weights that are initialized at random, such as those of a classifier.
        torch.manual_seed(recipe.seed)
        if not self._catalog.products:
            raise TrainingImpossible("the catalogue has no products to train on")
        progress.phase("loading the network")
        check_memory(recipe, self._store, self._settings, self._choice)
        initial = load_initial_model(
            recipe.model,
            seed=recipe.seed,
            store=self._store,
            checked_weights=lambda weights: checked_weights(weights, self._settings),
        )
        progress.phase("selecting pictures")
        lineage = self._lineage(initial)
        dataset = build_dataset(self._catalog.products, recipe.data, seed=recipe.seed, lineage=lineage)
        rule = split_rule(self._catalog.dataset, recipe.data, seed=recipe.seed, lineage=lineage)
        lineage = lineage.with_split(self._catalog.dataset, rule, dataset.part_of)
        cache = self._pixels(self._catalog, dataset.products, initial.rules)
        dataset = dataset.keep(cache.rows)
        label = (recipe.data.label,)
        known = initial.labels if self._kind.keeps_labels else ()
        train, validation = dataset.rows(*recipe.data.train_on), dataset.rows("validation")
        # If whole items are split, the other parts have classes of their own, which are searched for but not learned.
        class_rows = train if recipe.data.group is not None or recipe.data.split == "official" else None
        classes = classes_of(dataset, label, known=known, rows=class_rows)
        check_trainable(classes, train, validation)
        losses, codes = self._columns(dataset, classes, class_rows)
        relevance = np.stack([classes_of(dataset, (attribute,)).codes for attribute in recipe.data.relevance], axis=1)
        teacher = self._teacher(dataset) if self._kind.has_teacher else None
        street = self._street_domain(Trained(dataset, classes, cache, train, initial.rules))
        colors = None if street is None else color_codes(dataset)
        data = TrainingData(codes, relevance, train, validation, teacher, colors)
        unlabelled_pixels, masks = self._unlabelled_pixels(initial.rules), self._masks(cache, train)
        if unlabelled_pixels is not None and self._unlabelled is not None:
            ids = [self._unlabelled.products[row].id for row in unlabelled_pixels.rows]
            lineage = lineage.with_products(self._unlabelled.dataset, fitted=ids)
        if street is not None and self._street is not None:
            lineage = lineage.with_products(_STREET, fitted=self._street.for_training)
        return TrainingSetup(initial, dataset, cache, classes, losses, data, lineage, unlabelled_pixels, masks, street)

    def _lineage(self, initial: InitialModel) -> Lineage:
        """What the initial network and the teacher were trained on."""
        model, loaded = self._recipe.model, initial.loaded
        lineage = weights_lineage(
            self._store, loaded.weights_source, loaded.weights_source_sha256, stated=model.weights_trained_on
        )
        for parent in (initial.parent, self._recipe.teacher):
            if parent is not None:
                lineage |= parent_lineage(self._store, parent)
        return lineage

    def _street_domain(self, trained: Trained) -> StreetDomain | None:
        def teacher(garments: list[StreetGarment]) -> Vectors:
            network, rules = self._load_teacher()
            return street_teacher(garments, network, rules, self._settings, self._choice)

        return street_domain(
            self._recipe,
            self._street,
            trained,
            self._settings,
            self._progress,
            seed=self._recipe.seed,
            teacher=teacher if self._kind.has_teacher else None,
        )

    def _masks(self, cache: PixelCache, train: Rows) -> Masks | None:
        """The masks that the augmentation needs, or None."""
        count = masks_needed(self._recipe.augment)
        if not count:
            return None

        def step(done: int, total: int) -> None:
            self._progress.progress(done, total, eta_s=None, phase="computing garment masks")

        return cached_masks(cache, train, count, step=step)

    def _unlabelled_pixels(self, rules: Preprocessing) -> PixelCache | None:
        if self._recipe.unlabelled is None:
            return None
        if self._unlabelled is None:
            raise ParameterInvalid("the recipe trains on unlabelled pictures: give their catalogue as 'unlabelled'")
        return self._pixels(self._unlabelled, self._unlabelled.products, rules)

    def _pixels(self, catalog: Catalog, products: Sequence[Product], rules: Preprocessing) -> PixelCache:
        return decoded_pictures(catalog, products, rules, self._settings, self._progress)

    def _columns(
        self, dataset: Dataset, label: Classes, class_rows: Rows | None
    ) -> tuple[tuple[WeightedLoss, ...], Codes]:
        """The losses, each with its column of codes, and the codes (N, columns). The label's column is 0."""
        recipes = self._recipe.terms or self._kind.losses
        columns: dict[tuple[str, ...], int] = {(self._recipe.data.label,): 0}
        codes = [label.codes]
        losses = []
        for loss in recipes:
            attributes = loss.on or (self._recipe.data.label,)
            if attributes not in columns:
                columns[attributes] = len(codes)
                codes.append(classes_of(dataset, attributes, rows=class_rows).codes)
            losses.append(WeightedLoss(loss, columns[attributes]))
        return tuple(losses), np.stack(codes, axis=1)

    def _teacher(self, dataset: Dataset) -> Vectors:
        """The teacher's embeddings (N, D) of the dataset, with the preprocessing of its release."""
        self._progress.phase("embedding with the teacher")
        network, rules = self._load_teacher()
        cache = self._pixels(self._catalog, dataset.products, rules)
        if len(cache.rows) != len(dataset):
            raise TrainingImpossible("pictures became unreadable while the job ran")
        rows = np.arange(len(dataset), dtype=np.int64)
        return embed_pixels(
            network, cache.pixels, rows, raw=False, batch=extraction_batch(self._settings, self._choice)
        )

    def _load_teacher(self) -> tuple[ReleaseNetwork, Preprocessing]:
        assert self._recipe.teacher is not None
        manifest = self._store.manifest(self._recipe.teacher)
        folder = self._store.local_folder(self._recipe.teacher)
        return load_release(folder, manifest, self._choice), manifest.preprocessing


def build_loop(
    setup: TrainingSetup,
    recipe: Recipe,
    settings: Settings,
    choice: DeviceChoice,
    folder: CheckpointFolder,
    callbacks: TrainingCallbacks,
) -> TrainingLoop:
    """The loop, ready for `restore` or `run`. With several devices it waits for all ranks.

    Raises ParameterInvalid if the network has no such module or a loss no such option.
    """
    initial, backbone = setup.initial, setup.initial.loaded.network
    model = TrainingModel(
        backbone,
        initial.rules,
        setup.losses,
        [_loss_module(weighted.recipe, setup) for weighted in setup.losses],
        auxiliary=_auxiliary(recipe, initial, len(setup.classes.names)),
        street_weight=0.0 if recipe.street is None else recipe.street.weight,
    )
    freezing = Freezing(
        backbone.backbone if isinstance(backbone, Embedded) else backbone,
        trainable=_trainable(recipe, initial),
        frozen=recipe.model.frozen,
        train_norm=recipe.optim.train_norm,
    )
    fabric = Fabric(
        accelerator="cuda" if choice.device.type == "cuda" else "cpu",
        # One device may be given by its number; several are the first ones.
        devices=[choice.device.index] if choice.device.index is not None else settings.trainer_devices,
        strategy="auto" if settings.trainer_devices == 1 else "ddp",
        precision="bf16-mixed" if choice.dtype.itemsize == 2 else "32-true",
    )
    fabric.launch()  # waits for all ranks
    size = (initial.rules.height_px, initial.rules.width_px)
    augmenter = None
    if recipe.augment != AugmentRecipe():
        unlabelled_images = None if setup.unlabelled is None else setup.unlabelled.pixels
        augmenter = Augmenter(
            recipe.augment,
            *size,
            seed=recipe.seed,
            device=fabric.device,
            backgrounds=unlabelled_images,
            background_share=0.0 if recipe.unlabelled is None else recipe.unlabelled.backgrounds,
        )
    loader = BatchLoader(setup.cache.pixels, augmenter, fabric.device, seed=recipe.seed, masks=setup.masks)
    loaders = make_loaders(
        recipe,
        model,
        loader,
        None if setup.street is None else street_loader(setup.street, recipe, *size, fabric.device),
        train=setup.data.train,
        weights=f"{initial.loaded.weights_source} {initial.loaded.weights_source_sha256}",
        pixels=setup.cache.key,
        folder=folder.folder,
        device=fabric.device,
        precision=fabric.autocast,
        devices=settings.trainer_devices,
        step=callbacks.mapped,
    )
    return TrainingLoop(
        fabric,
        model,
        freezing,
        setup.data,
        loaders.catalogue,
        recipe,
        folder,
        callbacks,
        checkpoint_every_s=settings.trainer_checkpoint_s,
        unlabelled=_unlabelled(setup, recipe, fabric.device),
        street=_street_batches(setup, recipe, loaders.street),
    )


def _street_batches(
    setup: TrainingSetup, recipe: Recipe, loader: BatchLoader | MapLoader | None
) -> StreetBatches | None:
    if setup.street is None or recipe.street is None or loader is None:
        return None
    return StreetBatches(loader, setup.street, recipe.street, setup.data, batch=recipe.optim.batch, seed=recipe.seed)


def _unlabelled(setup: TrainingSetup, recipe: Recipe, device: torch.device) -> PseudoLabels | None:
    """Unlabelled images, augmented without masks: they keep their backgrounds."""
    if recipe.unlabelled is None or setup.unlabelled is None:
        return None
    rules = setup.initial.rules
    changes = recipe.augment.model_copy(update={"background": 0.0, "undress": 0.0, "alone": 0.0})
    augmenter = Augmenter(changes, rules.height_px, rules.width_px, seed=recipe.seed, device=device)
    loader = BatchLoader(setup.unlabelled.pixels, augmenter, device, seed=recipe.seed)
    return PseudoLabels(loader, recipe.unlabelled, batch=recipe.optim.batch, seed=recipe.seed)


def _loss_module(loss: TermRecipe, setup: TrainingSetup) -> nn.Module:
    initial, data = setup.initial, setup.data
    dim = initial.loaded.architecture.raw_dim
    if loss.of == "feature" and isinstance(initial.loaded.network, Embedded):
        dim = initial.loaded.network.embedding.in_features
    if loss.kind == "distill":
        assert data.teacher is not None
        return DistillationLoss(dim, data.teacher.shape[1])
    column = next(one.column for one in setup.losses if one.recipe is loss)
    classes = int(data.codes[:, column].max()) + 1
    module = make_loss(loss, dim=dim, classes=max(classes, len(setup.classes.names) if column == 0 else 0))
    same_codes = setup.classes.names[: len(initial.labels)] == initial.labels
    if column == 0 and initial.classifier is not None and same_codes and isinstance(module, Classifier | MetricLoss):
        module.initialize_from(initial.classifier)
    return module


def _auxiliary(recipe: Recipe, initial: InitialModel, classes: int) -> AuxiliaryClassifier | None:
    """The auxiliary classifier of the model table, if the modules of the table are fine-tuned."""
    entry = initial.auxiliary
    if entry is None or recipe.model.trainable != "table":
        return None
    network: Any = initial.loaded.network
    backbone = network.backbone if isinstance(network, Embedded) else network
    return AuxiliaryClassifier(backbone, at=entry.at, channels=entry.channels, classes=classes, weight=entry.weight)


def _trainable(recipe: Recipe, initial: InitialModel) -> tuple[str, ...] | None:
    wanted = recipe.model.trainable
    if wanted == "all":
        return None
    return initial.trainable if wanted == "table" else wanted
