"""A run of training from a catalogue to a release: read, decode, train, choose the projection, evaluate, write down,
publish. It knows nothing of jobs or queues; who follows it is told through `Follower`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from trainer.reports.history import EpochRecord
from trainer.settings import Settings
from trainer.training.augment import Augmenter
from trainer.training.auxiliary import AuxiliaryHead
from trainer.training.checkpoint import RunFolder, writing
from trainer.training.distillation import Imitation, embed_pixels
from trainer.training.examples import Classes, Examples, check_trainable, choose_examples, classes_of
from trainer.training.freezing import Freezing
from trainer.training.judging import Judgement
from trainer.training.kinds import KINDS, TrainingKind
from trainer.training.loading import BatchLoader
from trainer.training.loop import Material, TrainingLoop
from trainer.training.pixels import PixelCache, cached_pixels, trim_cache
from trainer.training.projecting import Choice, choose_projection
from trainer.training.publishing import Trained, publish_trained
from trainer.training.start import Start, make_start
from trainer.training.subject import Subject, Weighted
from trainer.training.terms import Classifier, make_term
from trainer.weights import checked_weights
from vitrine.catalogs import Catalog
from vitrine.errors import TrainingImpossible
from vitrine.jobs import JobFault
from vitrine.recipes import Recipe, TermRecipe
from vitrine.releases import Preprocessing, ReleaseStore
from vitrine.vision.network import DeviceChoice, ReleaseNetwork, Vectors, choose_device, load_release

_BATCH_CPU: Final = 4
_BATCH_GPU: Final = 128
_TOLD: Final = {
    "loss": "validation loss",
    "accuracy": "accuracy",
    "precision_at_15": "P@15",
    "mean_average_precision": "mAP",
}


class Follower(Protocol):
    """Who follows a run. Every call but `note` may raise to stop it."""

    def phase(self, phase: str) -> None: ...

    def note(self, text: str) -> None: ...

    def faults(self, source: str, faults: list[JobFault]) -> None: ...

    def progress(self, done: int, total: int, *, eta_s: float | None, phase: str | None = None) -> None: ...

    def check(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything before the first step."""

    start: Start
    examples: Examples
    cache: PixelCache
    classes: Classes
    terms: tuple[Weighted, ...]
    material: Material


class TrainingRun:
    """One run. `folder` keeps its checkpoints: a run of the same folder goes on where the last one was."""

    def __init__(
        self,
        recipe: Recipe,
        catalog: Catalog,
        store: ReleaseStore,
        settings: Settings,
        folder: Path,
        follower: Follower,
    ) -> None:
        self._recipe = recipe
        self._catalog = catalog
        self._store = store
        self._settings = settings
        self._folder = RunFolder(folder)
        self._follower = follower
        self._choice: DeviceChoice = choose_device(settings.trainer_device, settings.trainer_precision)
        self._kind: TrainingKind = KINDS[recipe.kind]

    def run(self) -> dict[str, Any]:
        """Train and publish. Returns what a job's result says.

        Raises any error of the tree: ParameterInvalid, TrainingImpossible, TrainingDiverged, StorageFull,
        ProjectionImpossible and those of reading weights and releases; and what the follower raises.
        """
        started_s = time.monotonic()
        prepared = self._prepare()
        loop, subject = self._loop(prepared)
        standing = loop.run()
        trained_s = time.monotonic()
        self._follower.phase("choosing the projection")
        subject.load_state_dict(self._folder.load_best())
        backbone = subject.backbone.float().cpu().eval()
        features = self._features(backbone, prepared)
        choice = self._projection(features, prepared)
        self._follower.phase("evaluating")
        trained = Trained(
            recipe=self._recipe,
            catalog=self._catalog,
            start=prepared.start,
            backbone=backbone,
            examples=prepared.examples,
            classes=prepared.classes,
            relevance=prepared.material.relevance,
            choice=choice,
            features=features,
            history=standing.history,
            best_epoch=standing.best_epoch or 0,
            classifier=_classifier(subject),
        )
        self._follower.phase("publishing")
        with writing(self._settings.work_dir):
            release_id, metrics = publish_trained(trained, self._store)
        result = {
            "release_id": release_id,
            "model": self._recipe.name,
            "dim": len(choice.fit.arrays.components),
            "whiten": choice.whiten,
            "best_epoch": standing.best_epoch,
            "epochs": len(standing.history),
            "trained_on": len(prepared.material.train),
            "pictures_per_second": round(
                float(np.mean([record.pictures_per_second for record in standing.history])), 1
            ),
            "training_seconds": round(sum(record.seconds for record in standing.history), 1),
            "seconds_since_start": round(time.monotonic() - started_s, 1),
            **metrics,
        }
        self._follower.note(f"published {release_id} after {time.monotonic() - trained_s:.0f} s of finishing")
        return result

    def clean(self) -> None:
        """Remove the checkpoints: the run has come to its end."""
        self._folder.remove()

    def _prepare(self) -> Prepared:
        recipe, follower = self._recipe, self._follower
        # Whatever has start values of its own, such as a classifier, draws them from here on.
        torch.manual_seed(recipe.seed)
        follower.phase("choosing pictures")
        if not self._catalog.products:
            raise TrainingImpossible("the catalogue has no products to train on")
        examples = choose_examples(self._catalog.products, recipe.data, seed=recipe.seed)
        follower.phase("loading the network")
        start = make_start(
            recipe.model,
            seed=recipe.seed,
            store=self._store,
            checked_weights=lambda weights: checked_weights(weights, self._settings),
        )
        examples, cache = self._decoded(examples, start.rules)
        label = (recipe.data.label,)
        known = start.labels if self._kind.keeps_labels else ()
        classes = classes_of(examples, label, known=known)
        train, validation = examples.rows(*recipe.data.train_on), examples.rows("validation")
        check_trainable(classes, train, validation)
        terms, codes = self._columns(examples, classes)
        relevance = np.stack([classes_of(examples, (attribute,)).codes for attribute in recipe.data.relevance], axis=1)
        teacher = self._teacher(examples) if self._kind.has_teacher else None
        material = Material(codes, relevance, train, validation, teacher)
        return Prepared(start, examples, cache, classes, terms, material)

    def _decoded(self, examples: Examples, rules: Preprocessing) -> tuple[Examples, PixelCache]:
        """The examples whose pictures can be read, and their pixels."""
        folder = self._settings.work_dir / "pixels"
        total = len(examples)
        with writing(folder):
            cache = cached_pixels(
                examples.products,
                self._catalog.root,
                rules,
                folder=folder,
                step=lambda done: self._follower.progress(done, total, eta_s=None, phase="decoding pictures"),
            )
            trim_cache(folder, keep_bytes=int(self._settings.trainer_pixels_gib * 2**30))
        if cache.unreadable:
            faults = [JobFault(product_id=one.product_id, kind=one.kind, detail=one.detail) for one in cache.unreadable]
            self._follower.faults(f"pixels {rules.height_px}x{rules.width_px}", faults)
        if not len(cache.rows):
            raise TrainingImpossible("not one picture could be read: see the job's faults")
        return examples.keep(cache.rows), cache

    def _columns(self, examples: Examples, label: Classes) -> tuple[tuple[Weighted, ...], np.ndarray]:
        """The terms with the column of codes each looks at; the label's is the first."""
        recipes = self._recipe.terms or self._kind.terms
        columns: dict[tuple[str, ...], int] = {(self._recipe.data.label,): 0}
        codes = [label.codes]
        terms = []
        for term in recipes:
            attributes = term.on or (self._recipe.data.label,)
            if attributes not in columns:
                columns[attributes] = len(codes)
                codes.append(classes_of(examples, attributes).codes)
            terms.append(Weighted(term, columns[attributes]))
        return tuple(terms), np.stack(codes, axis=1)

    def _teacher(self, examples: Examples) -> Vectors:
        """The teacher's embeddings of all examples, each picture as the teacher's own rules fit it."""
        assert self._recipe.teacher is not None
        self._follower.phase("asking the teacher")
        manifest = self._store.manifest(self._recipe.teacher)
        network = load_release(self._store.local_folder(self._recipe.teacher), manifest, self._choice)
        readable, cache = self._decoded(examples, manifest.preprocessing)
        if len(readable) != len(examples):
            raise TrainingImpossible("pictures became unreadable while the job ran")
        rows = np.arange(len(readable), dtype=np.int64)
        return embed_pixels(network, cache.pixels, rows, raw=False, batch=self._batch())

    def _loop(self, prepared: Prepared) -> tuple[TrainingLoop, Subject]:
        recipe, start, material = self._recipe, prepared.start, prepared.material
        rules, backbone = start.rules, start.loaded.network
        subject = Subject(
            backbone,
            rules,
            prepared.terms,
            [self._module(weighted.recipe, prepared) for weighted in prepared.terms],
            auxiliary=self._auxiliary(backbone, start, len(prepared.classes.names)),
        )
        inner = backbone.backbone if start.loaded.architecture.embedding is not None else backbone
        assert isinstance(inner, nn.Module)
        freezing = Freezing(
            inner,
            trainable=self._trainable(start),
            frozen=recipe.model.frozen,
            train_norm=recipe.optim.train_norm,
        )
        fabric = Fabric(
            accelerator="cuda" if self._choice.device.type == "cuda" else "cpu",
            devices=1,
            precision="bf16-mixed" if self._choice.dtype.itemsize == 2 else "32-true",
        )
        augmented = recipe.augment.model_dump() != type(recipe.augment)().model_dump()
        augmenter = Augmenter(recipe.augment, rules.height_px, rules.width_px, seed=recipe.seed) if augmented else None
        loader = BatchLoader(prepared.cache.pixels, augmenter, fabric.device, seed=recipe.seed)
        total = len(material.train) * recipe.optim.epochs
        watch = Watch(self._follower, total)
        loop = TrainingLoop(
            fabric,
            subject,
            freezing,
            material,
            loader,
            recipe,
            self._folder,
            watch,
            checkpoint_every_s=self._settings.trainer_checkpoint_s,
        )
        if loop.restore():
            where = f"epoch {loop.standing.epoch + 1}, batch {loop.standing.batch + 1}"
            self._follower.note(f"taken up from its checkpoint at {where}")
        watch.begin(loop.standing.pictures)
        return loop, subject

    def _module(self, term: TermRecipe, prepared: Prepared) -> nn.Module:
        architecture, material = prepared.start.loaded.architecture, prepared.material
        dim = architecture.raw_dim
        if term.of == "feature" and architecture.embedding is not None:
            embedded: Any = prepared.start.loaded.network
            dim = int(embedded.embedding.in_features)
        if term.kind == "distill":
            assert material.teacher is not None
            return Imitation(dim, material.teacher.shape[1])
        column = next(one.column for one in prepared.terms if one.recipe is term)
        classes = int(material.codes[:, column].max()) + 1
        module = make_term(term, dim=dim, classes=max(classes, len(prepared.classes.names) if column == 0 else 0))
        if isinstance(module, Classifier) and column == 0 and self._kind.keeps_labels:
            module.take_over(prepared.start.classifier)
        return module

    def _auxiliary(self, backbone: nn.Module, start: Start, classes: int) -> AuxiliaryHead | None:
        """The model table's second classifier, for a fine-tuning as the table has it."""
        entry = start.auxiliary
        if entry is None or self._recipe.model.trainable != "table":
            return None
        return AuxiliaryHead(backbone, at=entry.at, channels=entry.channels, classes=classes, weight=entry.weight)

    def _trainable(self, start: Start) -> tuple[str, ...] | None:
        wanted = self._recipe.model.trainable
        if wanted == "all":
            return None
        return start.trainable if wanted == "table" else wanted

    def _features(self, backbone: nn.Module, prepared: Prepared) -> Vectors:
        working = copy.deepcopy(backbone)
        network = ReleaseNetwork(working, prepared.start.rules, projection=None, choice=self._choice)
        rows = np.arange(len(prepared.examples), dtype=np.int64)
        return embed_pixels(network, prepared.cache.pixels, rows, raw=True, batch=self._batch())

    def _projection(self, features: Vectors, prepared: Prepared) -> Choice:
        material, recipe = prepared.material, self._recipe
        return choose_projection(
            features,
            material.relevance,
            train=prepared.examples.rows("train"),
            validation=material.validation,
            recipe=recipe.projection,
            queries=recipe.validation.queries,
            by=recipe.validation.best_by,
            seed=recipe.seed,
            step=self._follower.check,
        )

    def _batch(self) -> int:
        return self._settings.trainer_batch or (_BATCH_CPU if self._choice.device.type == "cpu" else _BATCH_GPU)


class Watch:
    """Between the loop and the follower: pictures become a share of the way and the seconds that are left."""

    def __init__(self, follower: Follower, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._follower = follower
        self._total = total
        self._clock = clock
        self._from = 0
        self._since_s = clock()

    def begin(self, pictures: int) -> None:
        self._from, self._since_s = pictures, self._clock()

    def step(self, pictures: int) -> None:
        done = pictures - self._from
        passed_s = self._clock() - self._since_s
        eta_s = round(passed_s / done * max(0, self._total - pictures), 1) if done else None
        self._follower.progress(pictures, self._total, eta_s=eta_s, phase="training")

    def epoch(self, record: EpochRecord, judgement: Judgement | None) -> None:
        judged = {} if judgement is None else asdict(judgement)
        told = "".join(f", {_TOLD[name]} {value:.3f}" for name, value in judged.items() if value is not None)
        self._follower.note(
            f"epoch {record.epoch}: loss {record.train_loss:.4f}{told}, {record.pictures_per_second:.0f} pictures/s"
        )


def _classifier(subject: Subject) -> Classifier | None:
    """The classifier of the label, where the loss has one."""
    return next((module for module in subject.terms if isinstance(module, Classifier)), None)
