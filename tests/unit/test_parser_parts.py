"""Parts of a parser: metrics and losses against plain implementations, augmentation, recipes and letterboxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from harness.people import draw_person, drawn_people
from trainer.parser.augmentation import Person, PhotographAugmenter
from trainer.parser.losses import class_weights, lovasz_softmax
from trainer.parser.metrics import boundary_f, boundary_hits, confusion, intersection_over_union, joined
from trainer.parser.photographs import donors, drawing_weights, drawn_together, label_numbers, outlined_photographs
from trainer.parser.report import blurred
from trainer.parser.run import interpolate
from vitrine.errors import ParameterInvalid
from vitrine.garments import BY_NAME
from vitrine.jobs.params.releases import TrainParams
from vitrine.parse_recipes import ParseAugmentRecipe, ParseRecipe, changed_parser
from vitrine.parsing import parse_as
from vitrine.recipe_files import read_parser_chain
from vitrine.types import Pixels
from vitrine.vision.parser import Letterbox


def maps(seed: int, *, classes: int = 4, shape: tuple[int, int] = (20, 15)) -> tuple[Pixels, Pixels]:
    random = np.random.default_rng(seed)
    truth, found = random.integers(0, classes, (2, *shape)).astype(np.uint8)
    return truth, np.where(random.random(shape) < 0.6, truth, found).astype(np.uint8)


def test_iou_equals_that_of_sets_of_points() -> None:
    counts = np.zeros((5, 5), dtype=np.int64)
    pairs = [maps(seed) for seed in range(3)]
    for truth, found in pairs:
        counts += confusion(truth, found, 5)
    iou = intersection_over_union(counts)
    for kind in range(4):
        hits = sum(int(((truth == kind) & (found == kind)).sum()) for truth, found in pairs)
        union = sum(int(((truth == kind) | (found == kind)).sum()) for truth, found in pairs)
        assert iou[kind] == pytest.approx(hits / union)
    assert np.isnan(iou[4]), "a kind that is neither there nor found"


def test_kinds_that_are_joined_are_not_confused_with_each_other() -> None:
    truth, found = maps(3)
    together = joined(confusion(truth, found, 4), [[0], [1, 2], [3]])
    both = ((truth == 1) | (truth == 2)), ((found == 1) | (found == 2))
    assert intersection_over_union(together)[1] == pytest.approx((both[0] & both[1]).sum() / (both[0] | both[1]).sum())


def test_boundary_f_equals_that_of_distances_between_points() -> None:
    truth, found = np.zeros((2, 40, 40), dtype=np.uint8)
    truth[8:30, 8:25], found[10:30, 8:31] = 1, 1

    def boundary(mask: Pixels) -> np.ndarray:
        points = np.argwhere(mask)
        inside = {tuple(point) for point in points}
        around = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
        edge = [one for one in inside if any((one[0] + row, one[1] + column) not in inside for row, column in around)]
        return np.array(sorted(edge))

    def near(some: np.ndarray, others: np.ndarray) -> int:
        distances = np.sqrt(((some[:, None] - others[None]) ** 2).sum(axis=2))
        return int((distances.min(axis=1) <= 2).sum())

    mine, theirs = boundary(found), boundary(truth)
    hits = boundary_hits(truth, found, tolerance_px=2)
    assert hits.tolist() == [len(mine), near(mine, theirs), len(theirs), near(theirs, mine)]
    precision, recall = hits[1] / hits[0], hits[3] / hits[2]
    assert boundary_f(hits) == pytest.approx(2 * precision * recall / (precision + recall))
    assert boundary_f(boundary_hits(truth, truth, tolerance_px=1)) == 1


def test_the_lovasz_loss_of_certain_answers_is_the_mean_jaccard_loss() -> None:
    truth, found = maps(5)
    certain = torch.nn.functional.one_hot(torch.from_numpy(found.ravel().astype(np.int64)), 4).float()
    loss = float(lovasz_softmax(certain, torch.from_numpy(truth.ravel().astype(np.int64))))
    assert loss == pytest.approx(1 - intersection_over_union(confusion(truth, found, 4)).mean(), abs=1e-5)


def test_class_weights_rise_with_rarity_and_have_the_mean_one() -> None:
    shares = np.array([0.9, 0.09, 0.01, 0.0])
    weights = class_weights(shares, 0.5).numpy()
    assert weights[0] < weights[1] < weights[2] == weights[3]
    assert (weights * shares).sum() == pytest.approx(1)
    assert class_weights(shares, 0.0).tolist() == [1, 1, 1, 1]


def test_the_class_map_follows_its_photograph(tmp_path: Path) -> None:
    """Of photographs whose colour is their kind, every change keeps the two together."""
    masks = np.zeros((2, 96, 64), dtype=np.uint8)
    masks[:, 20:70, 16:48] = 4
    masks[1, 6:20, 24:40] = 9
    pixels = np.where(masks[..., None] == 0, 255, masks[..., None] * 20).repeat(3, axis=3).astype(np.uint8)
    plain = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "tint": 0.0, "grey": 0.0, "blur": 0.0}
    recipe = ParseAugmentRecipe(paste=1.0, **plain)
    people = [Person.of(mask) for mask in masks]
    augmenter = PhotographAugmenter(recipe, list(pixels), list(masks), {9: np.array([1])}, people)
    random = np.random.default_rng(0)
    kinds = set()
    for _ in range(20):
        picture, found = augmenter(0, (96, 64), random)
        assert picture.shape == (96, 64, 3)
        assert found.shape == (24, 16)
        centers = picture[2::4, 2::4, 0].astype(int)
        expected = np.where(found == 0, 255, found.astype(int) * 20)
        assert (np.abs(centers - expected) < 30).mean() > 0.85, "all but points on an edge"
        kinds |= set(np.unique(found).tolist())
    assert kinds == {0, 4, 9}, "the hat of the other photograph is pasted"


def test_photographs_become_kinds_and_rare_ones_are_drawn_more_often(tmp_path: Path) -> None:
    photographs = drawn_people(tmp_path / "people", count=30)
    names = photographs.for_training
    outlined = outlined_photographs(
        photographs, names, 96, 64, folder=tmp_path / "cache", step=lambda _done, _total: None
    )
    assert outlined.pixels.shape == (24, 128, 85, 3)
    assert label_numbers(photographs.labels)[6] == BY_NAME["trousers"].number
    shares = outlined.shares()
    hats = shares[:, BY_NAME["hat"].number] > 0.001
    drawn = drawing_weights(shares, 1.0)
    assert drawn[hats].mean() > drawn[~hats].mean()
    assert drawing_weights(shares, 0.0) == pytest.approx(np.full(24, 1 / 24))
    both = drawn_together(drawn, np.array([0.5, 0.5]), 0.25)
    assert both[24:].tolist() == [0.125, 0.125]
    assert both.sum() == pytest.approx(1)
    assert BY_NAME["hat"].number in donors(shares, rarer_than=0.3)
    assert BY_NAME["skin"].number not in donors(shares, rarer_than=0.3)

    def refuse(_done: int, _total: int) -> None:
        raise AssertionError("they are decoded again")

    again = outlined_photographs(photographs, names, 96, 64, folder=tmp_path / "cache", step=refuse)
    assert np.array_equal(again.masks, outlined.masks)


def test_published_weights_lie_between_those_of_the_start_and_the_trained_ones() -> None:
    trained, start = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    for network, value in ((trained, 1.0), (start, 5.0)):
        nn.init.constant_(network.weight, value)
        network.running_mean = torch.full((2,), value)
        network.num_batches_tracked = torch.tensor(int(value))
    interpolate(trained, start, keep=0.25)
    assert trained.weight.tolist() == [2.0, 2.0]
    assert trained.running_mean is not None
    assert trained.running_mean.tolist() == [2.0, 2.0]
    assert trained.num_batches_tracked is not None
    assert int(trained.num_batches_tracked) == 1, "a count is no weight"


def test_faces_in_a_report_cannot_be_recognised() -> None:
    photograph, mask = draw_person(2, np.random.default_rng(1))
    pixels = np.asarray(photograph.resize((256, 384)))
    numbers = label_numbers(("null", "skin", "hair", "t-shirt", "coat", "dress", "jeans", "skirt", "shoes"))
    kinds = numbers[np.asarray(mask.resize((256, 384), Image.Resampling.NEAREST))]
    noisy = np.random.default_rng(0).integers(0, 256, pixels.shape).astype(np.uint8)
    hidden = blurred(noisy, kinds)
    skin = kinds == BY_NAME["skin"].number
    assert hidden[skin].std() < 0.3 * noisy[skin].std()
    assert np.array_equal(hidden[350:, :20], noisy[350:, :20])


@pytest.mark.parametrize("size", [(1080, 1440), (1440, 1080), (300, 2000), (10, 3), (192, 288)])
def test_a_letterbox_lies_within_the_input_and_keeps_the_shape(size: tuple[int, int]) -> None:
    box = Letterbox.of(size, 288, 192)
    assert box.left >= 0
    assert box.top >= 0
    assert box.left + box.width <= 48
    assert box.top + box.height <= 72
    assert box.width == 48 or box.height == 72
    stretched = box.width - box.height * size[0] / size[1], box.height - box.width * size[1] / size[0]
    assert min(map(abs, stretched)) <= 1, "within the rounding of one side"
    assert box.part(np.zeros((12, 72, 48), dtype=np.float32)).shape == (12, box.height, box.width)


def recipe(**changes: Any) -> dict[str, Any]:
    return {"kind": "parse", "name": "mine", "model": {"weights": "seed:0"}, **changes}


def test_the_first_epochs_see_smaller_pictures() -> None:
    stages = [{"epochs": 2, "height_px": 192, "width_px": 128}, {"epochs": 1, "height_px": 256, "width_px": 192}]
    whole = parse_as(ParseRecipe, recipe(stages=stages, optim={"epochs": 4}), what="recipe")
    assert [whole.size_of(epoch) for epoch in range(4)] == [(192, 128), (192, 128), (256, 192), (384, 256)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": {"height_px": 100}}, "model.height_px"),
        ({"stages": [{"epochs": 10, "height_px": 192, "width_px": 128}]}, "the stages need fewer epochs"),
        ({"augment": {"scale": [1.0, 0.5]}}, "scale is a minimum"),
        ({"terms": []}, "terms"),
    ],
)
def test_an_invalid_recipe_of_a_parser_names_the_field(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterInvalid, match=told):
        parse_as(ParseRecipe, recipe(**changes), what="recipe")
    with pytest.raises(ParameterInvalid, match=told):
        parse_as(TrainParams, {"dataset": "people", "root": "/data", "recipe": recipe(**changes)}, what="job")


def test_a_train_job_takes_the_recipe_of_a_parser_and_nothing_that_it_cannot_use() -> None:
    job = {"dataset": "people", "root": "/data", "recipe": recipe()}
    params = parse_as(TrainParams, job, what="job")
    assert isinstance(params.recipe, ParseRecipe)
    assert params.as_record()["model"] == "mine"
    assert list(params.release_ids()) == []
    with pytest.raises(ParameterInvalid, match="'street'"):
        parse_as(TrainParams, {**job, "street": "/data"}, what="job")


def test_a_chain_of_parsers_continues_from_the_release_before(tmp_path: Path) -> None:
    (tmp_path / "first.toml").write_text('kind = "parse"\nname = "first"\n[catalog]\ndataset = "people"\n')
    (tmp_path / "second.toml").write_text('after = "first.toml"\nkind = "parse"\nname = "second"\n')
    chain = read_parser_chain(tmp_path / "second.toml")
    assert chain is not None
    assert [file.recipe.name for file in chain] == ["first", "second"]
    assert chain[1].recipe.model.release == "first-0000000000"
    with pytest.raises(ParameterInvalid, match="--weights"):
        changed_parser(chain[1].recipe, weights="seed:1")
    (tmp_path / "first.toml").write_text('kind = "classify"\nname = "first"\n[model]\nmodel = "resnet50"\n')
    assert read_parser_chain(tmp_path / "first.toml") is None
    with pytest.raises(ParameterInvalid, match="trains no parser"):
        read_parser_chain(tmp_path / "second.toml")
