"""Schedule, validation metrics, callbacks, freezing, choice of the projection, and test metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.training import Listener
from trainer.evaluation.projection_choice import choose_projection
from trainer.reports.training import EpochRecord
from trainer.training.callbacks import TensorBoardLogger, TrainingCallbacks
from trainer.training.model import Freezing
from trainer.training.optim import rate_at
from trainer.training.validation import ValidationMetrics, evaluate
from vitrine.errors import ParameterInvalid, ProjectionImpossible
from vitrine.recipes import BestBy, OptimRecipe, ProjectionRecipe

STEPS = 100


def rates(**options: object) -> list[float]:
    share = rate_at(OptimRecipe.model_validate(options), STEPS)
    return [share(step) for step in range(STEPS)]


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_the_learning_rate_warms_up_and_decays(schedule: str) -> None:
    course = rates(schedule=schedule, warmup=0.1)
    top = course.index(max(course))
    assert max(course) == pytest.approx(1)
    assert top in (9, 10)
    assert course[:top] == sorted(course[:top])
    assert course[top:] == sorted(course[top:], reverse=True)
    assert course[-1] < 0.01


def test_a_constant_learning_rate_stays_the_same() -> None:
    assert set(rates(schedule="constant", warmup=0.0)) == {1.0}


def metrics(**changes: float | None) -> ValidationMetrics:
    values: dict[str, float | None] = {
        "loss": 1.0, "accuracy": 0.5, "precision_at_15": 0.5, "mean_average_precision": 0.5
    }  # fmt: skip
    return ValidationMetrics(**{**values, **changes})


@pytest.mark.parametrize(
    ("by", "better"),
    [
        ("loss", {"loss": 0.5}),
        ("accuracy", {"accuracy": 0.6}),
        ("precision_at_15", {"precision_at_15": 0.6}),
        ("mean_average_precision", {"mean_average_precision": 0.6}),
    ],
)
def test_epochs_are_compared_by_the_metric_of_the_recipe(by: BestBy, better: dict[str, float]) -> None:
    assert metrics(**better).better_than(metrics(), by)
    assert not metrics().better_than(metrics(**better), by)
    assert not metrics().better_than(metrics(), by)
    assert metrics().better_than(None, by)
    assert not metrics(**dict.fromkeys(better)).better_than(metrics(), by), "None is not better"


def test_the_time_left_is_estimated_from_the_images_since_the_resume() -> None:
    now = [0.0]
    listener = Listener()
    callbacks = TrainingCallbacks(listener, clock=lambda: now[0])

    class NoTensorBoard(TensorBoardLogger):
        def __init__(self) -> None: ...

    callbacks.begin(600, 1000, NoTensorBoard())
    now[0] = 10.0
    callbacks.step(700)
    assert listener.eta_s == [30.0]
    assert listener.done == [700]
    callbacks.end(750)
    assert listener.done == [700, 750], "also if training stopped early"
    assert listener.eta_s == [30.0, 0.0]


def test_an_epoch_adds_a_point_to_each_measured_curve() -> None:
    listener = Listener()
    callbacks = TrainingCallbacks(listener)
    for number, loss in ((1, 2.5), (2, 1.25)):
        record = EpochRecord(
            epoch=number, train_loss=loss, validation_loss=None, train_accuracy=0.5, validation_accuracy=None,
            learning_rate=0.001, precision_at_15=0.75, mean_average_precision=None, pictures_per_second=40.0,
            seconds=9.0,
        )  # fmt: skip
        callbacks.epoch(record, None)
    assert listener.curves["loss, training"] == [(1, 2.5), (2, 1.25)]
    assert listener.curves["P@15, validation"] == [(1, 0.75), (2, 0.75)]
    assert not {"loss, validation", "accuracy, validation", "mAP, validation"} & listener.curves.keys()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))


def test_a_frozen_module_keeps_its_parameters_and_statistics() -> None:
    backbone = network()
    freezing = Freezing(backbone, trainable=("2", "3"), frozen=(), train_norm=True)
    freezing.train_mode()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([one for one in backbone.parameters() if one.requires_grad], lr=0.1, weight_decay=0.1)
    backbone(torch.randn(8, 3, 5, 5)).square().mean().backward()
    optimizer.step()
    after = backbone.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(("2.", "3.")) for name in changed)
    assert "3.running_mean" in changed


def test_batch_normalization_can_be_frozen() -> None:
    backbone = network()
    Freezing(backbone, trainable=None, frozen=("0",), train_norm=False).train_mode()
    assert not backbone[1].training
    assert backbone[2].training
    assert [name for name, one in backbone.named_parameters() if not one.requires_grad] == ["0.weight", "0.bias"]


def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="layer9"):
        Freezing(network(), trainable=("layer9",), frozen=(), train_norm=True)


def clustered(count: int = 300, dim: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Features of three classes, and their codes (N, 1)."""
    rng = np.random.default_rng(0)
    codes = np.arange(count, dtype=np.int64)[:, None] % 3
    centres = rng.normal(0, 1, (3, dim))
    noise = rng.normal(0, 1.5, (count, dim))
    return (centres[codes[:, 0]] + noise).astype(np.float32), codes


def test_the_best_projection_on_validation_is_chosen_and_all_trials_are_reported() -> None:
    features, codes = clustered()
    train, validation = np.arange(200, dtype=np.int64), np.arange(200, 250, dtype=np.int64)
    choice = choose_projection(
        features, codes, train=train, validation=validation, queries=50, by="precision_at_15", seed=0,
        recipe=ProjectionRecipe(components=(2, 6, 500)), step=lambda: None,
    )  # fmt: skip
    assert {(one.components, one.whiten, one.raw) for one in choice.tried} == {
        (2, False, False), (2, True, False), (6, False, False), (6, True, False), (12, False, False), (12, True, False),
        (12, False, True),
    }  # fmt: skip
    best = max(one.precision_at_15 for one in choice.tried)
    assert choice.kept.precision_at_15 >= best - 0.1
    assert len(choice.fit.arrays.components) == choice.kept.components


def test_among_equally_good_projections_the_best_in_map_is_chosen() -> None:
    rng = np.random.default_rng(1)
    codes = np.arange(900, dtype=np.int64)[:, None] % 3
    # Two directions with large variance separate the classes. Whitening gives thirty small random ones the same weight.
    wide = np.eye(3)[codes[:, 0]] * 4 + rng.normal(0, 1.3, (900, 3))
    features = np.concatenate([wide, rng.normal(0, 0.5, (900, 30))], axis=1).astype(np.float32)
    choice = choose_projection(
        features, codes, train=np.arange(600, dtype=np.int64), validation=np.arange(600, 700, dtype=np.int64),
        queries=100, by="precision_at_15", seed=0, recipe=ProjectionRecipe(components=(2, 20)), step=lambda: None,
    )  # fmt: skip
    assert not choice.kept.whiten or choice.kept.components == 2
    best = max(choice.tried, key=lambda one: one.mean_average_precision)
    assert choice.kept.mean_average_precision == pytest.approx(best.mean_average_precision, abs=1e-3)


def test_the_test_part_does_not_affect_the_projection() -> None:
    features, codes = clustered()
    parts = {"train": np.arange(200, dtype=np.int64), "validation": np.arange(200, 250, dtype=np.int64)}
    options = {"recipe": ProjectionRecipe(components=(2, 6)), "queries": 50, "by": "precision_at_15", "seed": 0}
    changed = features.copy()
    changed[250:] = 7.0
    one, two = (
        choose_projection(rows, codes, **parts, **options, step=lambda: None)  # type: ignore[arg-type]
        for rows in (features, changed)
    )
    assert one.tried == two.tried


def test_constant_features_are_refused_if_no_other_projection_is_tried() -> None:
    alike = np.ones((100, 8), dtype=np.float32)
    rows = np.arange(60, dtype=np.int64)
    with pytest.raises(ProjectionImpossible, match="alike"):
        choose_projection(
            alike, np.zeros((100, 1), dtype=np.int64), train=rows, validation=rows + 40, queries=9,
            by="precision_at_15", seed=0, recipe=ProjectionRecipe(raw=False), step=lambda: None,
        )  # fmt: skip


def test_a_query_is_not_its_own_result_and_unseen_products_are_measured_separately() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2, 3]]
    relevance = np.array([[0], [0], [1], [1], [2], [-1]], dtype=np.int64)
    found = evaluate(vectors, relevance, np.array([0, 2, 4, 5], dtype=np.int64), queries=10)
    assert found.metrics["test_mean_average_precision"] == 1.0
    assert found.metrics["test_recall_at_1"] == 1.0
    assert "unseen_mean_average_precision" not in found.metrics, "no test product has another of its kind in that part"
    row = found.queries.tolist().index(0)
    assert found.matches[row, 0] == 1
    assert found.relevant[row].tolist() == [True, False, False, False, False, False, False, False]
    unknown = found.queries.tolist().index(5)
    assert not found.relevant[unknown].any(), "what is unknown is relevant to nothing"
