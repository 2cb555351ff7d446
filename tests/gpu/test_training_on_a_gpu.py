"""Components of training and whole runs on a GPU, compared with the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness.releases import TINY_MODEL, store_of
from harness.training import Listener, drawn_catalog, tiny_recipe, training_run
from trainer.augmentation.pipeline import Augmenter
from trainer.data import loader as loading
from trainer.data.loader import BatchLoader
from trainer.data.mask_cache import compute_masks
from trainer.seeds import generator
from vitrine.catalogs import Catalog
from vitrine.errors import JobCancelled, TrainingDiverged
from vitrine.products import Product
from vitrine.recipes import AugmentRecipe
from vitrine.vision.models import model_entry, resolve_options
from vitrine.vision.network import choose_device, load_release
from vitrine.vision.preprocess import Preprocessor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that CUDA can use"),
]

GPU: dict[str, Any] = {"trainer_device": "cuda", "trainer_precision": "bfloat16"}
EVERY_CHANGE = AugmentRecipe(
    crop=(0.5, 1.0), flip=0.5, shrink=0.6, shift=0.1, rotate_degrees=30, perspective=0.3, brightness=0.3, contrast=0.3,
    saturation=0.3, hue=0.1, tint=0.2, grey=0.2, blur=0.5, noise=0.1, erase=0.5, background=0.6, undress=0.5, alone=0.3,
)  # fmt: skip
CHANGES = {name: value for name, value in EVERY_CHANGE.model_dump(mode="json").items() if value is not None}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return drawn_catalog(tmp_path_factory.mktemp("catalog") / "shop", count=120)


@pytest.fixture(scope="module")
def pixels(catalog: Catalog) -> np.ndarray:
    rules = resolve_options(model_entry(TINY_MODEL), {"input_px": 64, "resize_px": 64}).preprocessing
    fit = Preprocessor(rules)
    return np.stack([fit(catalog.picture_path(one).read_bytes()) for one in catalog.products[:24]])


def test_augmentation_on_a_gpu_matches_the_cpu(pixels: np.ndarray) -> None:
    planes, masks = torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(compute_masks(pixels, 2).found)
    seen = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        augmenter = Augmenter(EVERY_CHANGE, *pixels.shape[1:3], seed=0, device=device)
        seen.append(augmenter(planes.to(device), masks.to(device), generator(1)).cpu().float())
    apart = (seen[0] - seen[1]).abs()
    assert float(apart.mean()) < 0.5
    assert float((apart > 12).float().mean()) < 0.01, "but where an edge fell to the other side"


def test_a_dataset_on_the_gpu_gives_the_same_batches_as_one_on_the_host(
    pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cuda")
    batches = [np.array(rows, dtype=np.int64) for rows in ([5, 1, 7, 3], [2, 9, 11, 0])]

    def epoch() -> list[torch.Tensor]:
        augmenter = Augmenter(EVERY_CHANGE, *pixels.shape[1:3], seed=0, device=device)
        return [batch.pixels.cpu() for batch in BatchLoader(pixels, augmenter, device, seed=3).epoch(batches, 2)]

    resident = epoch()
    monkeypatch.setattr(loading, "fits", lambda *_: False)
    for one, other in zip(resident, epoch(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "classify", "augment": CHANGES, "optim": {"ema": 0.9, "clip_norm": 1.0, "accumulate": 2}},
        {
            "kind": "metric",
            "model": {"embedding": 16},
            "terms": [{"kind": "cosface"}, {"kind": "supervised_contrastive", "weight": 0.3}],
            "augment": CHANGES,
            "optim": {"ema": 0.9, "schedule": "one-cycle"},
        },
        {"kind": "metric", "model": {"embedding": 16, "pooling": "gem"}, "terms": [{"kind": "multi_similarity"}],
         "sampler": {"classes": 4, "per_class": 4}},
    ],
    ids=["classify", "metric", "p-by-k"],
)  # fmt: skip
def test_a_training_on_a_gpu_gives_a_release_that_a_cpu_serves_with_the_same_vectors(
    changes: dict[str, Any], catalog: Catalog, tmp_path: Path
) -> None:
    listener = Listener()
    result = training_run(tiny_recipe(**changes), catalog, tmp_path, listener, **GPU).run()
    assert result["epochs"] == 2
    assert 0 < result["test_mean_average_precision"] <= 1
    store = store_of(tmp_path / "releases")
    manifest = store.manifest(result["release_id"])
    folder = store.local_folder(result["release_id"])
    fit = Preprocessor(manifest.preprocessing)
    shown = np.stack([fit(catalog.picture_path(one).read_bytes()) for one in catalog.products[:32]])
    choices = choose_device("cuda", "bfloat16"), choose_device("cpu", "float32")
    one, other = (load_release(folder, manifest, choice).vectors(shown) for choice in choices)
    assert float((one * other).sum(axis=1).min()) > 0.99


def test_a_stopped_training_on_a_gpu_is_resumed(catalog: Catalog, tmp_path: Path) -> None:
    recipe = tiny_recipe(optim={"epochs": 3, "ema": 0.9}, augment=CHANGES)

    def stop(listener: Listener) -> None:
        if len(listener.done) == 5:
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        training_run(recipe, catalog, tmp_path, Listener(stop_when=stop), trainer_checkpoint_s=1e-9, **GPU).run()
    last = Listener()
    result = training_run(recipe, catalog, tmp_path, last, trainer_checkpoint_s=1e-9, **GPU).run()
    assert any("resumed from the checkpoint" in note for note in last.notes)
    assert result["epochs"] == 3


def test_a_loss_that_is_not_finite_ends_a_run_on_a_gpu(catalog: Catalog, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        optim={"epochs": 4, "learning_rate": 1e30, "optimizer": "sgd", "schedule": "constant", "clip_norm": 5.0}
    )
    with pytest.raises(TrainingDiverged, match=r"optim\.learning_rate"):
        training_run(recipe, catalog, tmp_path, trainer_checkpoint_s=1e-9, **GPU).run()
    kept = load_file(next((tmp_path / "work" / "run").glob("checkpoint-*")) / "tensors.safetensors")
    assert all(bool(torch.isfinite(tensor.float()).all()) for name, tensor in kept.items() if "rng" not in name)


def test_a_small_network_learns_the_embeddings_of_a_release_on_a_gpu(catalog: Catalog, tmp_path: Path) -> None:
    teacher = training_run(tiny_recipe(projection={"raw": False}), catalog, tmp_path, **GPU).run()
    recipe = tiny_recipe(
        kind="distill", name="pupil", teacher=teacher["release_id"], model={"weights": "seed:3", "embedding": 8},
        optim={"epochs": 3},
    )  # fmt: skip
    assert training_run(recipe, catalog, tmp_path, **GPU).run()["epochs"] == 3


def test_training_on_a_gpu_uses_pictures_without_labels(catalog: Catalog, tmp_path: Path) -> None:
    bare = tuple(Product(one.dataset, one.id, one.picture) for one in catalog.products)
    unlabelled = Catalog(catalog.dataset, catalog.reader, catalog.root, bare, (), catalog.rows)
    recipe = tiny_recipe(
        optim={"epochs": 3, "ema": 0.8}, augment=CHANGES, unlabelled={"share": 1.0, "threshold": 0.2, "from_epoch": 2}
    )
    assert training_run(recipe, catalog, tmp_path, unlabelled=unlabelled, **GPU).run()["epochs"] == 3
