"""The classifier of a release gives the same probabilities as validation during training."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.releases import build_tiny_release, store_of, with_classifier
from trainer.training.losses import Classifier, MetricLoss, make_loss
from vitrine.errors import ReleaseCorrupt
from vitrine.recipes import TermRecipe
from vitrine.releases import CLASSIFIER_FILE, Manifest
from vitrine.vision.classifier import LabelClassifier

LABELS = ("Boots", "Caps", "Dresses", "Scarves", "Ties")
DIM = 256
TrainingResult = Callable[[dict[str, torch.Tensor], dict[str, Any]], tuple[Path, Manifest]]


def recipe_of(*terms: TermRecipe) -> dict[str, Any]:
    return {
        "kind": "metric",
        "data": {"label": "articleType"},
        "terms": [term.model_dump(mode="json") for term in terms],
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store, and a release in it without a classifier."""
    folder = tmp_path_factory.mktemp("classifier") / "releases"
    return folder, build_tiny_release(folder)


@pytest.fixture
def trained(plain: tuple[Path, str], tmp_path: Path) -> TrainingResult:
    """Stores a release with a classifier. Returns its folder and manifest."""

    def make(stored: dict[str, torch.Tensor], recipe: dict[str, Any]) -> tuple[Path, Manifest]:
        store = store_of(tmp_path / "releases")
        release_id = with_classifier(*plain, stored, labels=LABELS, recipe=recipe, into=tmp_path / "releases")
        return store.local_folder(release_id), store.manifest(release_id)

    return make


def module_of(term: TermRecipe) -> Classifier | MetricLoss:
    torch.manual_seed(5)
    module = make_loss(term, dim=DIM, classes=len(LABELS))
    assert isinstance(module, Classifier | MetricLoss)
    return module


def features(count: int) -> torch.Tensor:
    return 3 * torch.randn(count, DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "term",
    [
        TermRecipe(kind="cross_entropy"),
        TermRecipe(kind="cosface"),
        TermRecipe(kind="cosface", options={"margin": 0.2, "scale": 16.0}),
        TermRecipe(kind="arcface"),
        TermRecipe(kind="arcface", options={"scale": 40.0}),
        TermRecipe(kind="proxy_anchor"),
    ],
    ids=lambda term: f"{term.kind}-{term.options.get('scale', 'default')}",
)
def test_the_probabilities_are_those_of_validation(trained: TrainingResult, term: TermRecipe) -> None:
    module = module_of(term)
    folder, manifest = trained(module.stored(), recipe_of(term))
    classifier = LabelClassifier.load(folder, manifest)
    assert classifier is not None
    seen = features(8)
    with torch.inference_mode():
        scores = module.logits(seen)
    assert scores is not None
    found = np.stack([classifier.probabilities(row) for row in seen.numpy()])
    np.testing.assert_allclose(found, scores.double().softmax(dim=1).numpy(), rtol=2e-4, atol=1e-7)


def test_the_scale_belongs_to_the_loss_whose_class_weights_are_kept(trained: TrainingResult) -> None:
    others = (
        TermRecipe(kind="supervised_contrastive"),
        TermRecipe(kind="cosface", on=("baseColour",), options={"scale": 99.0}),
        TermRecipe(kind="arcface", on=("articleType",), options={"scale": 10.0}),
        TermRecipe(kind="cosface", options={"scale": 50.0}),
    )
    recipe = recipe_of(*others)
    adapted = {"kind": "tune", "trained_by": {"kind": "adapt", "trained_by": recipe}}
    stored = module_of(others[2]).stored()
    for made_by in (recipe, adapted):
        classifier = LabelClassifier.load(*trained(stored, made_by))
        assert classifier is not None
        assert classifier.scale == 10.0


def test_class_weights_of_an_unknown_loss_predict_nothing(trained: TrainingResult) -> None:
    stored = {"weight": torch.randn(len(LABELS), DIM)}
    for recipe in ({}, {"kind": "tune", "trained_by": None}, recipe_of(TermRecipe(kind="triplet"))):
        assert LabelClassifier.load(*trained(stored, recipe)) is None


def test_a_release_without_a_classifier_has_none(plain: tuple[Path, str]) -> None:
    store, release_id = store_of(plain[0]), plain[1]
    assert LabelClassifier.load(store.local_folder(release_id), store.manifest(release_id)) is None


def test_the_most_likely_labels_come_first_and_sum_to_at_most_1() -> None:
    classifier = LabelClassifier(LABELS, np.eye(5, DIM, dtype=np.float32), np.zeros(5, dtype=np.float32))
    feature = np.zeros(DIM, dtype=np.float32)
    assert [label for label, _ in classifier.likeliest(feature, 5)] == list(LABELS), "equals keep their order"
    feature[2], feature[4] = 3, 2
    found = classifier.likeliest(feature, 3)
    assert [label for label, _ in found] == ["Dresses", "Ties", "Boots"]
    assert found[0][1] > found[1][1] > found[2][1] > 0
    for scale in (0.0, 0.1, 1.0, 5.0, 50.0, 1e4):
        assert sum(share for _, share in classifier.likeliest(scale * feature, 99)) <= 1
    assert len(classifier.likeliest(feature, 99)) == 5


@pytest.mark.parametrize(
    "stored",
    [
        {"weight": torch.zeros(4, DIM), "bias": torch.zeros(4)},
        {"weight": torch.zeros(5, DIM - 1), "bias": torch.zeros(5)},
        {"weight": torch.zeros(5, DIM), "bias": torch.zeros(4)},
        {"weight": torch.full((5, DIM), torch.nan), "bias": torch.zeros(5)},
        {"bias": torch.zeros(5)},
    ],
    ids=["labels", "components", "bias", "nan", "no weight"],
)
def test_a_classifier_that_does_not_fit_is_corrupt(trained: TrainingResult, stored: dict[str, torch.Tensor]) -> None:
    folder, manifest = trained(stored, recipe_of(TermRecipe(kind="cross_entropy")))
    with pytest.raises(ReleaseCorrupt, match="classifier"):
        LabelClassifier.load(folder, manifest)


def test_a_pipe_in_place_of_a_classifier_is_not_opened(trained: TrainingResult) -> None:
    stored = {"weight": torch.zeros(5, DIM), "bias": torch.zeros(5)}
    folder, manifest = trained(stored, recipe_of(TermRecipe(kind="cross_entropy")))
    (folder / CLASSIFIER_FILE).unlink()
    os.mkfifo(folder / CLASSIFIER_FILE)
    with pytest.raises(ReleaseCorrupt, match="regular file"):
        store_of(folder.parent).local_folder(manifest.release_id)
    with pytest.raises(ReleaseCorrupt, match="classifier"):
        LabelClassifier.load(folder, manifest)
