"""The six networks of the reference: each is cut and fine-tuned by its own rule, and what must stay frozen stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.releases import store_of
from harness.training import drawn_catalog, training_run
from trainer.training.pretrained import load_initial_model
from vitrine.catalogs import Catalog
from vitrine.recipe_files import read_recipe
from vitrine.recipes import Recipe
from vitrine.vision.models import model_entry

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "classify-reference.toml"
# Components of the feature, as the reference has them.
SIX = {
    "vgg16": 512,
    "resnet50": 2048,
    "inception_v3": 2048,
    "inception_resnet_v2": 1536,
    "densenet161": 2208,
    "efficient_net_b4": 1792,
}
# Inception's second classifier looks at a map that must be large enough; the others do with less.
SIDE_PX = {"inception_v3": 299}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return drawn_catalog(tmp_path_factory.mktemp("catalog") / "shop", count=30)


def recipe_of(model: str) -> Recipe:
    """The reference's recipe as it is, but for the network, its size, the number of epochs and of pictures."""
    recipe, _ = read_recipe(RECIPE)
    content = recipe.as_json()
    side = SIDE_PX.get(model, 96)
    content["name"] = f"{model}_custom"
    content["model"] |= {"model": model, "weights": "seed:0", "options": {"input_px": side, "resize_px": side}}
    content["data"] |= {"subset": None, "label": "masterCategory", "relevance": ["masterCategory"]}
    content["optim"] |= {"epochs": 1, "batch": 6, "learning_rate": 0.01}
    content["projection"] = {"components": [8], "whiten": [False], "raw": False}
    return Recipe.model_validate(content)


@pytest.mark.parametrize("model", SIX)
def test_a_backbone_is_fine_tuned_by_its_own_rule(model: str, catalog: Catalog, tmp_path: Path) -> None:
    recipe = recipe_of(model)
    store = store_of(tmp_path / "releases")
    start = load_initial_model(recipe.model, seed=0, store=store, checked_weights=lambda weights: weights)
    before = {name: tensor.clone() for name, tensor in start.loaded.network.state_dict().items()}
    result = training_run(recipe, catalog, tmp_path).run()
    manifest = store.manifest(result["release_id"])
    assert manifest.architecture.raw_dim == SIX[model]
    assert manifest.dim == 8
    after = load_file(store.local_folder(manifest.release_id) / "weights.safetensors")
    assert set(after) == set(before)
    warp = {name for name in before if not torch.equal(before[name], after[name])}
    trained = model_entry(model).trainable
    assert warp
    assert all(name.startswith(trained) for name in warp), "what must stay frozen is the same, bit for bit"
    assert all(any(name.startswith(part) for name in warp) for part in trained), "and every named part has warp"
