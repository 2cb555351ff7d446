"""Publishing of a trained network: test metrics, calibration, the report files, and the release itself."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from trainer.data.dataset import UNKNOWN, Classes, Dataset
from trainer.evaluation.calibration import calibrate, collect_matches, confidence_of
from trainer.evaluation.projection_choice import ProjectionChoice
from trainer.reports.gallery import ScoredQueries
from trainer.reports.reliability import write_reliability
from trainer.reports.training import EpochRecord, write_report
from trainer.training.losses import Classifier, MetricLoss
from trainer.training.pretrained import InitialModel
from trainer.training.validation import evaluate
from vitrine.catalogs import Catalog
from vitrine.evaluation.calibration import calibration_error
from vitrine.images.decode import decode_image
from vitrine.recipes import Recipe
from vitrine.releases import CLASSIFIER_FILE, Calibration, Familiarity, ReleaseStore
from vitrine.releases.lineage import Lineage
from vitrine.types import Codes, Rows, Vectors
from vitrine.vision.pca import project
from vitrine.vision.release_builder import Training, fitted_on, make_release

_TEST_QUERIES = 600
_CALIBRATION_QUERIES = 2000


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A trained network at its best epoch, and how it was trained. `features` (N, dim) are of the whole dataset."""

    recipe: Recipe
    catalog: Catalog
    initial: InitialModel
    backbone: nn.Module
    dataset: Dataset
    classes: Classes
    relevance: Codes
    choice: ProjectionChoice
    features: Vectors
    familiarity: Familiarity | None
    history: list[EpochRecord]
    best_epoch: int
    classifier: Classifier | MetricLoss | None
    lineage: Lineage

    @property
    def test(self) -> Rows:
        """Rows of the test part, without products that an ancestor of the network was trained on."""
        rows = self.dataset.rows("test")
        unseen: Rows = rows[~self.lineage.seen(self.catalog.dataset, self.dataset.ids("test"))]
        return unseen


def publish_release(trained: TrainingResult, store: ReleaseStore) -> tuple[str, dict[str, float]]:
    """Evaluate, write the reports and store the release. Returns its id and its metrics."""
    recipe, choice, dataset = trained.recipe, trained.choice, trained.dataset
    train = dataset.rows("train")
    with tempfile.TemporaryDirectory(prefix="vitrine-training-") as made:
        reports = Path(made, "training")
        reports.mkdir()
        vectors = project(choice.fit.arrays, trained.features)
        metrics = _evaluate(trained, vectors, reports)
        calibration = _calibrate(trained, vectors, metrics, reports)
        _write_json(reports / "recipe.json", recipe.as_json())
        _write_json(reports / "parts.json", _parts(dataset), indent=None)
        _write_json(reports / "projections.json", [tried.as_json() for tried in choice.tried])
        classifier = None
        if trained.classifier is not None:
            classifier = Path(made, CLASSIFIER_FILE)
            stored = trained.classifier.stored()
            save_file({name: tensor.cpu().contiguous().clone() for name, tensor in stored.items()}, classifier)
        ids = [dataset.products[row].id for row in train]
        release_id = make_release(
            store,
            recipe.name,
            replace(trained.initial.loaded, network=trained.backbone),
            choice.fit,
            rules=trained.initial.rules,
            trained_on=fitted_on(
                trained.catalog.dataset, ids, part="train", seed=trained.lineage.rules[trained.catalog.dataset].seed
            ),
            whiten=choice.whiten,
            random_state=recipe.seed,
            lineage=trained.lineage.with_products(
                trained.catalog.dataset,
                fitted=dataset.ids("train", *recipe.data.train_on),
                chosen=dataset.ids("validation"),
            ),
            training=Training(
                recipe=recipe.as_json(),
                labels=trained.classes.names,
                metrics=metrics,
                parent=trained.initial.parent,
                classifier=classifier,
                folder=reports,
                half=recipe.model.half,
                calibration=calibration,
            ),
        )
    return release_id, metrics


def _evaluate(trained: TrainingResult, vectors: Vectors, reports: Path) -> dict[str, float]:
    dataset, choice = trained.dataset, trained.choice
    metrics = {
        "validation_precision_at_15": round(choice.kept.precision_at_15, 4),
        "validation_mean_average_precision": round(choice.kept.mean_average_precision, 4),
    }
    test = trained.test
    left_out = len(dataset.rows("test")) - len(test)
    if left_out:
        metrics["test_products_left_out"] = float(left_out)
    truth, predicted = _predictions(trained, test)
    queries = None
    if len(test):
        found = evaluate(vectors, trained.relevance, test, queries=_TEST_QUERIES)
        metrics |= found.metrics
        gallery = [(product.id, _caption(trained, row)) for row, product in enumerate(dataset.products)]
        queries = ScoredQueries(
            queries=[gallery[row] for row in found.queries],
            scores=found.average_precision,
            matches=found.matches,
            relevant=found.relevant,
            gallery=gallery,
        )
    if truth is not None and predicted is not None and len(truth):
        metrics["test_accuracy"] = round(float((truth == predicted).mean()), 4)
    write_report(
        reports,
        history=trained.history,
        best_epoch=trained.best_epoch,
        truth=truth,
        predicted=predicted,
        classes=trained.classes.names,
        queries=queries,
        picture=partial(_picture, trained.catalog, dataset),
    )
    return metrics


def _calibrate(
    trained: TrainingResult, vectors: Vectors, metrics: dict[str, float], reports: Path
) -> Calibration | None:
    """Calibrate the probability that a match has its query's class, on validation queries.

    The calibration error on test queries is added to `metrics` and plotted. Returns None if the validation part was
    trained on or is too small.
    """
    recipe, dataset = trained.recipe, trained.dataset
    validation, test = dataset.rows("validation"), trained.test
    if "validation" in recipe.data.train_on or not len(validation):
        return None
    codes, seed = trained.classes.codes, recipe.seed
    searched = dataset.rows("train", "validation")
    pairs = collect_matches(vectors, codes, validation, searched, most=_CALIBRATION_QUERIES, seed=seed)
    calibration = calibrate(pairs, attribute=recipe.data.label)
    if calibration is None:
        return None
    calibration = calibration.model_copy(update={"familiarity": trained.familiarity})
    if len(test):
        every = np.arange(len(dataset), dtype=np.int64)
        held_out = collect_matches(vectors, codes, test, every, most=_CALIBRATION_QUERIES, seed=seed)
        confidence = confidence_of(calibration, held_out, trained.features)
        metrics["test_calibration_error"] = round(calibration_error(confidence, held_out.right), 4)
        write_reliability(reports, confidence, held_out.right)
    return calibration


def _predictions(trained: TrainingResult, test: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """True and predicted classes of the test part, or None if no loss classifies the output of the network."""
    if trained.classifier is None:
        return None, None
    known = test[trained.classes.codes[test] != UNKNOWN]
    with torch.inference_mode():
        scores = trained.classifier.cpu().logits(torch.from_numpy(trained.features[known]))
    return (None, None) if scores is None else (trained.classes.codes[known], scores.argmax(dim=1).numpy())


def _parts(dataset: Dataset) -> dict[str, Any]:
    """Product ids by part, and the size of each part."""
    parts: dict[str, list[str]] = {}
    for product, part in zip(dataset.products, dataset.parts, strict=True):
        parts.setdefault(part, []).append(product.id)
    return {"counts": dict(Counter(dataset.parts)), "ids": parts}


def _caption(trained: TrainingResult, row: int) -> str:
    code = int(trained.classes.codes[row])
    return "" if code == UNKNOWN else trained.classes.names[code]


def _picture(catalog: Catalog, dataset: Dataset, product_id: str) -> Image.Image:
    """Raises ImageRejected or PictureNotFound if the image has changed since training."""
    product = next(product for product in dataset.products if product.id == product_id)
    return decode_image(catalog.read_picture(product))


def _write_json(path: Path, content: object, *, indent: int | None = 1) -> None:
    path.write_text(json.dumps(content, indent=indent, sort_keys=True) + "\n", encoding="utf-8")
