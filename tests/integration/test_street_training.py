"""Training runs with street garments as a second domain, and with maps of frozen modules instead of pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from harness.drawn_street import drawn_street
from harness.releases import TINY_MODEL, store_of
from harness.training import Listener, drawn_catalog, tiny_recipe, training_run
from trainer.training.frozen_maps import Divided
from vitrine.catalogs import Catalog
from vitrine.catalogs.street_photographs import StreetPhotographs
from vitrine.errors import JobCancelled, ParameterInvalid, TrainingImpossible
from vitrine.recipes import Recipe
from vitrine.releases.ancestry import lineage_of
from vitrine.vision.backbones import load_backbone
from vitrine.vision.models import model_entry

TERMS = [{"kind": "cosface"}, {"kind": "supervised_contrastive", "weight": 0.3}]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return drawn_catalog(tmp_path_factory.mktemp("catalog") / "shop", count=90)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> StreetPhotographs:
    return drawn_street(tmp_path_factory.mktemp("street") / "people", count=10)


def street_recipe(**changes: Any) -> Recipe:
    content: dict[str, Any] = {
        "kind": "metric",
        "terms": TERMS,
        "street": {"views": 2},
        "optim": {"epochs": 2},
        "validation": {"every": 2},
        "augment": {"flip": 0.5, "brightness": 0.2},
    }
    return tiny_recipe(**{**content, **changes})


def weights_of(folder: Path, result: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_file(store_of(folder / "releases").local_folder(result["release_id"]) / "weights.safetensors")


def test_street_garments_change_the_weights_and_are_in_the_lineage(
    catalog: Catalog, street: StreetPhotographs, tmp_path: Path
) -> None:
    listener = Listener()
    result = training_run(street_recipe(), catalog, tmp_path / "with", listener, street=street).run()
    assert any("street garments, " in note for note in listener.notes)
    without = training_run(street_recipe(street=None), catalog, tmp_path / "without").run()
    one, other = weights_of(tmp_path / "with", result), weights_of(tmp_path / "without", without)
    assert not torch.equal(one["conv_stem.weight"], other["conv_stem.weight"])
    lineage = lineage_of(store_of(tmp_path / "with" / "releases"), result["release_id"])
    assert lineage.used("street-photographs", street.for_training) == (len(street.for_training), 0)
    assert lineage.used("street-photographs", street.held_out) == (0, 0)


def test_a_run_on_maps_that_is_stopped_continues_to_the_same_weights(
    catalog: Catalog, street: StreetPhotographs, tmp_path: Path
) -> None:
    recipe = street_recipe(model={"frozen": ["conv_stem", "bn1", "blocks.0"]}, maps={"copies": 2}, optim={"epochs": 3})
    whole = training_run(recipe, catalog, tmp_path / "whole", street=street).run()

    def stop(listener: Listener) -> None:
        if len(listener.done) == 7:
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        training_run(recipe, catalog, tmp_path / "cut", Listener(stop), street=street, trainer_checkpoint_s=1e-9).run()
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut" / "work" / "run").glob("*.maps")}
    assert set(kept) == {"catalogue.maps", "street.maps"}
    last = Listener()
    run = training_run(recipe, catalog, tmp_path / "cut", last, street=street, trainer_checkpoint_s=1e-9)
    cut = run.run()
    assert any("resumed from the checkpoint" in note for note in last.notes)
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut" / "work" / "run").glob("*.maps")}
    assert again == kept, "the maps are not computed a second time"
    one, two = weights_of(tmp_path / "whole", whole), weights_of(tmp_path / "cut", cut)
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
    run.clean()
    assert not (tmp_path / "cut" / "work" / "run").exists()


def test_training_on_maps_without_augmentation_is_the_training_on_pixels(catalog: Catalog, tmp_path: Path) -> None:
    """Up to the rounding of the maps to half precision."""
    changes: dict[str, Any] = {"model": {"frozen": ["conv_stem", "bn1", "blocks.0"]}, "augment": {}, "street": None}
    on_pixels = training_run(street_recipe(**changes), catalog, tmp_path / "pixels").run()
    on_maps = training_run(street_recipe(**changes, maps={"copies": 1}), catalog, tmp_path / "maps").run()
    one, other = weights_of(tmp_path / "pixels", on_pixels), weights_of(tmp_path / "maps", on_maps)
    assert torch.equal(one["conv_stem.weight"], other["conv_stem.weight"])
    assert all(torch.allclose(one[name].float(), other[name].float(), atol=0.02) for name in one)


def test_a_network_is_divided_at_its_last_frozen_module() -> None:
    backbone = load_backbone(model_entry(TINY_MODEL), weights="seed:0", options={}).network
    divided = Divided(backbone, ["conv_stem", "bn1", "blocks.0", "conv_head"])
    frozen, trained = (sum(one.numel() for one in part.parameters()) for part in (divided.frozen, divided.trained))
    assert frozen + trained == sum(one.numel() for one in backbone.parameters())
    assert {id(one) for one in divided.parameters()} == {id(one) for one in backbone.parameters()}


def test_an_embedding_is_trained_alone_if_the_whole_network_is_frozen(
    catalog: Catalog, street: StreetPhotographs, tmp_path: Path
) -> None:
    whole = ["conv_stem", "bn1", "blocks", "conv_head", "bn2", "global_pool", "classifier"]
    recipe = street_recipe(model={"frozen": whole, "embedding": 8}, maps={"copies": 1})
    before = load_backbone(model_entry(TINY_MODEL), weights="seed:0", options={}).network.state_dict()
    after = weights_of(tmp_path, training_run(recipe, catalog, tmp_path, street=street).run())
    backbone = {name.removeprefix("backbone."): tensor for name, tensor in after.items() if "backbone." in name}
    assert set(backbone) == set(before)
    assert all(torch.equal(backbone[name], before[name]) for name in before)
    assert after["embedding.weight"].shape[0] == 8


class Skipping(nn.Module):
    """A network whose modules do not run one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        first = self.first(pixels)
        pooled: torch.Tensor = (first + self.second(first)).mean(dim=(2, 3))
        return pooled


@pytest.mark.parametrize(
    ("backbone", "frozen", "says"),
    [
        (Skipping(), ["first"], "do not run one after another"),
        (Skipping(), ["second"], "model.frozen lacks the first one: first"),
    ],
)
def test_a_network_that_cannot_be_divided_is_refused(backbone: nn.Module, frozen: list[str], says: str) -> None:
    with pytest.raises(ParameterInvalid, match=says):
        Divided(backbone, frozen)


def test_a_recipe_with_street_garments_needs_their_photographs(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ParameterInvalid, match="give the outlined photographs as 'street'"):
        training_run(street_recipe(), catalog, tmp_path).run()


def test_street_garments_of_other_classes_are_refused(
    catalog: Catalog, street: StreetPhotographs, tmp_path: Path
) -> None:
    recipe = street_recipe(data={"label": "season", "relevance": ["season"]})
    with pytest.raises(TrainingImpossible, match=r"none of the 32 outlined street garments .* 'season'"):
        training_run(recipe, catalog, tmp_path, street=street).run()


def test_a_student_learns_the_teachers_vectors_of_street_garments(
    catalog: Catalog, street: StreetPhotographs, tmp_path: Path
) -> None:
    teacher = training_run(street_recipe(optim={"epochs": 1}), catalog, tmp_path, street=street).run()["release_id"]
    recipe = street_recipe(
        kind="distill", name="student", teacher=teacher, terms=[{"kind": "distill"}], optim={"epochs": 1}
    )
    result = training_run(recipe, catalog, tmp_path, street=street).run()
    assert np.isfinite(result["test_precision_at_15"])
