"""Losses: each separates the classes, and all ignore images with an unknown class."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from trainer.data.dataset import UNKNOWN
from trainer.training.losses import Classifier, DistillationLoss, MetricLoss, make_loss
from vitrine.errors import ParameterInvalid
from vitrine.recipes import TermKind, TermRecipe

METRIC = ("supervised_contrastive", "multi_similarity", "proxy_anchor", "arcface", "cosface", "triplet")
DIM, CLASSES = 16, 4


def points(*, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random features of 32 pictures, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(32, DIM, generator=generator), torch.arange(32) % CLASSES


def gap(features: torch.Tensor, codes: torch.Tensor) -> float:
    """Mean cosine within classes minus that between them."""
    unit = functional.normalize(features, dim=1)
    same = codes[:, None] == codes[None]
    cosines = unit @ unit.T
    return float(cosines[same].mean() - cosines[~same].mean())


@pytest.mark.parametrize("kind", ["cross_entropy", *METRIC])
def test_a_loss_separates_the_classes(kind: str) -> None:
    torch.manual_seed(0)
    features, codes = points()
    module = make_loss(TermRecipe(kind=kind), dim=DIM, classes=CLASSES)
    features.requires_grad_(True)
    before = gap(features.detach(), codes)
    optimizer = torch.optim.Adam([features, *module.parameters()], lr=0.05)
    first = None
    for _ in range(80):
        optimizer.zero_grad()
        loss = module(features, codes)
        first = float(loss.detach()) if first is None else first
        loss.backward()
        optimizer.step()
    assert first is not None
    assert float(module(features, codes).detach()) < first
    assert gap(features.detach(), codes) > before + 0.2


@pytest.mark.parametrize("kind", ["cross_entropy", *METRIC])
def test_images_with_an_unknown_class_are_ignored(kind: str) -> None:
    torch.manual_seed(0)
    features, codes = points()
    module = make_loss(TermRecipe(kind=kind), dim=DIM, classes=CLASSES)
    more = torch.cat([features, torch.full((3, DIM), 100.0)])
    value = module(more, torch.cat([codes, torch.full((3,), UNKNOWN)]))
    assert torch.allclose(value, module(features, codes), atol=1e-5)


@pytest.mark.parametrize("kind", METRIC)
def test_the_loss_of_a_batch_with_one_known_image_is_0(kind: str) -> None:
    features, _ = points()
    module = make_loss(TermRecipe(kind=kind), dim=DIM, classes=CLASSES)
    codes = torch.full((32,), UNKNOWN)
    codes[0] = 1
    features.requires_grad_(True)
    value = module(features, codes)
    value.backward()
    assert float(value.detach()) == 0.0


def test_an_unknown_option_is_refused_with_the_name_of_the_loss() -> None:
    with pytest.raises(ParameterInvalid, match="arcface"):
        make_loss(TermRecipe(kind="arcface", options={"warmth": 3}), dim=DIM, classes=CLASSES)
    with pytest.raises(ParameterInvalid, match="cross_entropy"):
        make_loss(TermRecipe(kind="cross_entropy", options={"margin": 3}), dim=DIM, classes=CLASSES)


def test_a_classifier_keeps_the_weights_of_known_classes() -> None:
    old, new = Classifier(DIM, 3, smoothing=0), Classifier(DIM, 5, smoothing=0)
    new_weights = new.linear.weight[3:].clone()
    new.initialize_from(old.stored())
    features, _ = points()
    assert torch.allclose(new.logits(features)[:, :3], old.logits(features), atol=1e-5)
    assert torch.equal(new.linear.weight[3:], new_weights)


@pytest.mark.parametrize("kind", ["arcface", "cosface", "proxy_anchor"])
def test_class_weights_of_metric_losses_are_kept_too(kind: TermKind) -> None:
    old, new = (make_loss(TermRecipe(kind=kind), dim=DIM, classes=classes) for classes in (3, 5))
    assert isinstance(old, MetricLoss)
    assert isinstance(new, MetricLoss)
    new.initialize_from(old.stored())
    features, _ = points()
    scores, expected = new.logits(features), old.logits(features)
    assert scores is not None
    assert expected is not None
    assert torch.allclose(scores[:, :3], expected, atol=1e-5)


def test_weights_of_another_size_are_not_copied() -> None:
    cosface = make_loss(TermRecipe(kind="cosface"), dim=DIM, classes=3)
    triplet = make_loss(TermRecipe(kind="triplet"), dim=DIM, classes=3)
    classifier = Classifier(DIM, 3, smoothing=0)
    assert isinstance(cosface, MetricLoss)
    assert isinstance(triplet, MetricLoss)
    before = [parameter.clone() for parameter in (*cosface.parameters(), *classifier.parameters())]
    cosface.initialize_from(classifier.stored())
    classifier.initialize_from(cosface.stored())
    cosface.initialize_from({"weight": torch.ones(3, DIM + 1)})
    after = [*cosface.parameters(), *classifier.parameters()]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert triplet.stored() == {}


def test_the_distillation_loss_is_0_if_the_map_gives_the_teacher() -> None:
    features, _ = points()
    module = DistillationLoss(DIM, 8)
    teacher = features @ module.map.weight.T.detach()
    assert float(module(features, 3 * teacher).detach()) == pytest.approx(0, abs=1e-5)
    assert float(module(features, -teacher).detach()) == pytest.approx(2, abs=1e-5)
