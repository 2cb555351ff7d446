"""The initial network of a training run: weights of the model table, or a release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from trainer.memory import check_training
from trainer.network_cost import network_cost
from trainer.settings import Settings
from trainer.training.frozen_maps import chains
from trainer.training.model import Freezing
from vitrine.errors import ParameterInvalid, ReleaseCorrupt
from vitrine.recipes import ModelRecipe, Recipe
from vitrine.releases import CLASSIFIER_FILE, WEIGHTS_FILE, Architecture, Preprocessing, ReleaseStore
from vitrine.safe_read import file_bytes
from vitrine.vision.backbones import Loaded, extended, load_backbone, restore_backbone
from vitrine.vision.heads import Embedded
from vitrine.vision.models import PREPROCESSING_OPTIONS, AuxiliaryEntry, model_entry, model_table, resolve_options
from vitrine.vision.network import DeviceChoice


@dataclass(frozen=True, slots=True)
class InitialModel:
    """The network before training. `parent`, `labels` and `classifier` are those of the release it is loaded from.

    `trainable` are the modules that a recipe trains if it says "table".
    """

    loaded: Loaded
    rules: Preprocessing
    trainable: tuple[str, ...]
    auxiliary: AuxiliaryEntry | None
    parent: str | None = None
    labels: tuple[str, ...] = ()
    classifier: dict[str, torch.Tensor] | None = None


def load_initial_model(
    recipe: ModelRecipe, *, seed: int, store: ReleaseStore, checked_weights: Callable[[str], str]
) -> InitialModel:
    """Load the network. Raises ModelUnknown, ParameterInvalid, WeightsUnusable, ReleaseNotFound, ReleaseCorrupt."""
    if recipe.release is not None:
        return _from_release(recipe, recipe.release, seed, store)
    assert recipe.model is not None
    entry = model_entry(recipe.model)
    options = resolve_options(entry, recipe.options)
    loaded = load_backbone(entry, weights=checked_weights(recipe.weights), options=options.architecture)
    loaded = extended(loaded, pooling=recipe.pooling, embedding=recipe.embedding, seed=seed)
    return InitialModel(loaded, options.preprocessing, entry.trainable, entry.auxiliary)


def check_memory(recipe: Recipe, store: ReleaseStore, settings: Settings, choice: DeviceChoice) -> None:
    """Raise JobTooLarge if training needs more memory than there is, before any weights are loaded.

    Memory of a GPU is not estimated. Raises what `load_initial_model` raises too.
    """
    if choice.device.type != "cpu":
        return
    model = recipe.model
    if model.release is not None:
        manifest = store.manifest(model.release)
        architecture, rules = manifest.architecture, manifest.preprocessing
        entry = next((one for one in model_table().values() if one.timm == architecture.timm_name), None)
        if model.options:
            own = {name: value for name, value in model.options.items() if name in PREPROCESSING_OPTIONS}
            rules = Preprocessing.model_validate({**rules.model_dump(), **own})
    else:
        assert model.model is not None
        entry = model_entry(model.model)
        options = resolve_options(entry, model.options)
        rules = options.preprocessing
        architecture = Architecture(timm_name=entry.timm, options=options.architecture, cut=entry.cut, raw_dim=1)

    def freeze(network: nn.Module) -> None:
        trainable = None if model.trainable == "all" else () if entry is None else entry.trainable
        if model.trainable not in ("all", "table"):
            trainable = tuple(model.trainable)
        backbone = network.backbone if isinstance(network, Embedded) else network
        assert isinstance(backbone, nn.Module)
        rule = Freezing(backbone, trainable=trainable, frozen=model.frozen, train_norm=recipe.optim.train_norm)
        rule.train_mode()

    def divide(backbone: nn.Module) -> tuple[nn.Module, nn.Module]:
        return chains(backbone, model.frozen)

    cost = network_cost(architecture, rules, freeze=freeze, divide=None if recipe.maps is None else divide)
    check_training(
        cost,
        (rules.height_px, rules.width_px) if recipe.maps is None else (0, 0),
        recipe.optim,
        settings,
        network_option="model.model",
        input_option="model.options.input_px",
    )


def _from_release(recipe: ModelRecipe, release_id: str, seed: int, store: ReleaseStore) -> InitialModel:
    manifest = store.manifest(release_id)
    folder = store.local_folder(release_id)
    architecture = manifest.architecture
    loaded = Loaded(
        network=restore_backbone(architecture, folder / WEIGHTS_FILE),
        architecture=architecture,
        weights_source=f"release:{release_id}",
        weights_source_sha256=manifest.weights.sha256,
    )
    if architecture.embedding is None:
        loaded = extended(loaded, pooling=recipe.pooling, embedding=recipe.embedding, seed=seed)
    elif recipe.embedding not in (None, architecture.embedding) or recipe.pooling not in (None, architecture.pooling):
        raise ParameterInvalid(
            f"the release {release_id!r} has an embedding of {architecture.embedding} components, which training "
            "keeps: leave 'embedding' and 'pooling' out of the recipe"
        )
    other = sorted(set(recipe.options) - set(PREPROCESSING_OPTIONS))
    if other:
        raise ParameterInvalid(f"the option {other[0]!r} belongs to the architecture, which the release determines")
    rules = manifest.preprocessing
    if recipe.options:
        rules = Preprocessing.model_validate({**rules.model_dump(), **recipe.options})
    entry = next((one for one in model_table().values() if one.timm == architecture.timm_name), None)
    return InitialModel(
        loaded,
        rules,
        trainable=() if entry is None else entry.trainable,
        auxiliary=None if entry is None else entry.auxiliary,
        parent=release_id,
        labels=manifest.labels or (),
        classifier=_classifier(folder / CLASSIFIER_FILE, release_id),
    )


def _classifier(path: Path, release_id: str) -> dict[str, torch.Tensor] | None:
    try:
        file_bytes(path)  # refuses anything but a regular file
        stored: dict[str, torch.Tensor] = load_file(str(path))
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        raise ReleaseCorrupt(f"the classifier of release {release_id!r} cannot be read: {error}") from error
    return stored
