"""Everything before the first step of a run: pictures and their classes, the network it starts from, its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trainer.progress import Progress
from trainer.settings import Settings
from trainer.splitting import split_rule
from trainer.training.augment import masks_needed
from trainer.training.examples import Classes, Codes, Examples, Rows, check_trainable, choose_examples, classes_of
from trainer.training.extracting import decoded_pictures, embed_pixels, extraction_batch
from trainer.training.kinds import KINDS
from trainer.training.masks import Masks, cached_masks
from trainer.training.pixels import PixelCache
from trainer.training.standing import Material
from trainer.training.start import Start, check_training_fits, make_start
from trainer.training.subject import Weighted
from trainer.weights import checked_weights
from vitrine.catalogs import Catalog
from vitrine.errors import ParameterInvalid, TrainingImpossible
from vitrine.products import Product
from vitrine.recipes import Recipe
from vitrine.releases import Preprocessing, ReleaseStore
from vitrine.releases.ancestry import parent_lineage, weights_lineage
from vitrine.releases.lineage import Lineage
from vitrine.vision.network import DeviceChoice, Vectors, load_release


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything before the first step."""

    start: Start
    examples: Examples
    cache: PixelCache
    classes: Classes
    terms: tuple[Weighted, ...]
    material: Material
    lineage: Lineage
    unlabelled: PixelCache | None = None
    masks: Masks | None = None


class Preparation:
    """Prepares one run. `prepare` raises as `TrainingRun.run` does."""

    def __init__(
        self,
        recipe: Recipe,
        catalog: Catalog,
        store: ReleaseStore,
        settings: Settings,
        choice: DeviceChoice,
        follower: Progress,
        unlabelled: Catalog | None = None,
    ) -> None:
        self._recipe = recipe
        self._catalog = catalog
        self._store = store
        self._settings = settings
        self._choice = choice
        self._follower = follower
        self._unlabelled = unlabelled
        self._kind = KINDS[recipe.kind]

    def prepare(self) -> Prepared:
        recipe, follower = self._recipe, self._follower
        # Whatever has start values of its own, such as a classifier, draws them from here on.
        torch.manual_seed(recipe.seed)
        if not self._catalog.products:
            raise TrainingImpossible("the catalogue has no products to train on")
        follower.phase("loading the network")
        check_training_fits(recipe, self._store, self._settings, self._choice)
        start = make_start(
            recipe.model,
            seed=recipe.seed,
            store=self._store,
            checked_weights=lambda weights: checked_weights(weights, self._settings),
        )
        follower.phase("choosing pictures")
        lineage = self._lineage(start)
        examples = choose_examples(self._catalog.products, recipe.data, seed=recipe.seed, lineage=lineage)
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
        material = Material(codes, relevance, train, validation, teacher)
        without_labels, masks = self._without_labels(start.rules), self._masks(cache, train)
        if without_labels is not None and self._unlabelled is not None:
            shown = [self._unlabelled.products[row].id for row in without_labels.rows]
            lineage = lineage.with_products(self._unlabelled.dataset, fitted=shown)
        return Prepared(start, examples, cache, classes, terms, material, lineage, without_labels, masks)

    def _lineage(self, start: Start) -> Lineage:
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
            self._follower.progress(done, total, eta_s=None, phase="cutting out garments")

        return cached_masks(cache, train, count, step=step)

    def _without_labels(self, rules: Preprocessing) -> PixelCache | None:
        if self._recipe.unlabelled is None:
            return None
        if self._unlabelled is None:
            raise ParameterInvalid("the recipe learns from unlabelled pictures: name their catalogue as 'unlabelled'")
        return self._pixels(self._unlabelled, self._unlabelled.products, rules)

    def _pixels(self, catalog: Catalog, products: Sequence[Product], rules: Preprocessing) -> PixelCache:
        return decoded_pictures(catalog, products, rules, self._settings, self._follower)

    def _columns(self, examples: Examples, label: Classes, taught: Rows | None) -> tuple[tuple[Weighted, ...], Codes]:
        """The terms with the column of codes each looks at; the label's is the first."""
        recipes = self._recipe.terms or self._kind.terms
        columns: dict[tuple[str, ...], int] = {(self._recipe.data.label,): 0}
        codes = [label.codes]
        terms = []
        for term in recipes:
            attributes = term.on or (self._recipe.data.label,)
            if attributes not in columns:
                columns[attributes] = len(codes)
                codes.append(classes_of(examples, attributes, rows=taught).codes)
            terms.append(Weighted(term, columns[attributes]))
        return tuple(terms), np.stack(codes, axis=1)

    def _teacher(self, examples: Examples) -> Vectors:
        """The teacher's embeddings of all examples, each picture as the teacher's own rules fit it."""
        assert self._recipe.teacher is not None
        self._follower.phase("asking the teacher")
        manifest = self._store.manifest(self._recipe.teacher)
        network = load_release(self._store.local_folder(self._recipe.teacher), manifest, self._choice)
        cache = self._pixels(self._catalog, examples.products, manifest.preprocessing)
        if len(cache.rows) != len(examples):
            raise TrainingImpossible("pictures became unreadable while the job ran")
        rows = np.arange(len(examples), dtype=np.int64)
        return embed_pixels(
            network, cache.pixels, rows, raw=False, batch=extraction_batch(self._settings, self._choice)
        )
