"""Full training runs on a generated catalog: results, stopping, failing and resuming."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from harness.deepfashion import inshop_benchmark, with_pictures
from harness.releases import build_tiny_release, picture, store_of
from harness.training import Listener, drawn_catalog, tiny_recipe, training_run
from vitrine.catalogs import Catalog, read_catalog
from vitrine.errors import JobCancelled, ParameterInvalid, ReleaseNotFound, TrainingDiverged, TrainingImpossible
from vitrine.images.decode import decode_image
from vitrine.products import Product
from vitrine.recipes import Recipe
from vitrine.releases.ancestry import lineage_of
from vitrine.releases.lineage import Lineage
from vitrine.vision.network import choose_device, load_release
from vitrine.vision.preprocess import Preprocessor


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return drawn_catalog(tmp_path_factory.mktemp("catalog") / "shop", count=120)


def trained(recipe: Recipe, catalog: Catalog, folder: Path, listener: Listener | None = None) -> dict[str, Any]:
    return training_run(recipe, catalog, folder, listener).run()


def test_a_training_run_publishes_a_release_with_its_reports(catalog: Catalog, tmp_path: Path) -> None:
    listener = Listener()
    result = trained(tiny_recipe(optim={"epochs": 3}, augment={"flip": 0.5}), catalog, tmp_path, listener)
    store = store_of(tmp_path / "releases")
    manifest = store.manifest(result["release_id"])
    assert manifest.model == "tiny"
    assert manifest.recipe is not None
    assert manifest.recipe["optim"]["epochs"] == 3
    assert manifest.labels == tuple(sorted(manifest.labels or ()))
    assert manifest.projection.fitted_on.part == "train"
    assert manifest.metrics["test_precision_at_15"] == result["test_precision_at_15"]
    reports = store.local_folder(manifest.release_id) / "training"
    assert {path.name for path in reports.iterdir()} >= {
        "curves.png", "history.json", "confusion-counts.png", "confusion-normalised.png", "confusion.json",
        "best-queries.png", "worst-queries.png", "queries.json", "recipe.json", "parts.json", "projections.json",
    }  # fmt: skip
    for drawn in reports.glob("*.png"):
        with Image.open(drawn) as opened:
            assert min(opened.size) > 200
    parts = json.loads((reports / "parts.json").read_text())
    ids = [one for members in parts["ids"].values() for one in members]
    assert len(ids) == len(set(ids)) <= len(catalog.products)
    lineage = lineage_of(store, manifest.release_id)
    assert lineage.parts_of(catalog.dataset, ids) == {
        one: part for part, members in parts["ids"].items() for one in members
    }
    used = {part: lineage.used(catalog.dataset, members) for part, members in parts["ids"].items()}
    assert used == {
        "train": (len(parts["ids"]["train"]), 0),
        "validation": (0, len(parts["ids"]["validation"])),
        "test": (0, 0),
    }
    assert len(json.loads((reports / "history.json").read_text())["epochs"]) == 3
    assert [note.partition(":")[0] for note in listener.notes[:3]] == ["epoch 1", "epoch 2", "epoch 3"]
    assert listener.done == sorted(listener.done)
    assert listener.done[-1] % 3 == 0
    assert listener.eta_s[-1] == pytest.approx(0, abs=1)
    logs = list((tmp_path / "work" / "tensorboard" / "run").glob("events.out.tfevents.*"))
    assert len(logs) == 1
    assert b"retrieval/precision_at_15" in logs[0].read_bytes()


def test_the_release_gives_the_evaluated_embeddings(catalog: Catalog, tmp_path: Path) -> None:
    recipe = tiny_recipe(kind="metric", model={"embedding": 8}, projection={"components": [8]})
    result = trained(recipe, catalog, tmp_path)
    store = store_of(tmp_path / "releases")
    manifest = store.manifest(result["release_id"])
    assert manifest.architecture.embedding == 8
    network = load_release(store.local_folder(manifest.release_id), manifest, choose_device("cpu", "float32"))
    pixels = Preprocessor(manifest.preprocessing)(catalog.picture_path(catalog.products[0]).read_bytes())
    vector = network.vectors(pixels[None].copy())
    assert vector.shape == (1, 8)
    assert float((vector**2).sum()) == pytest.approx(1, abs=1e-5)


def test_weights_in_half_precision_are_smaller_and_give_the_evaluated_embeddings(
    catalog: Catalog, tmp_path: Path
) -> None:
    sizes = {}
    for half in (False, True):
        result = trained(tiny_recipe(model={"half": half}), catalog, tmp_path / str(half))
        store = store_of(tmp_path / str(half) / "releases")
        manifest = store.manifest(result["release_id"])
        folder = store.local_folder(manifest.release_id)
        sizes[half] = manifest.weights.size_bytes
        network = load_release(folder, manifest, choose_device("cpu", "float32"))
        assert network.dim == manifest.dim
    assert sizes[True] < 0.8 * sizes[False], "the tiny network has many statistics beside its weights"
    stored = load_file(folder / "weights.safetensors")
    assert {tensor.dtype for name, tensor in stored.items() if tensor.dim() > 1} == {torch.float16}
    assert {tensor.dtype for name, tensor in stored.items() if "running" in name} == {torch.float32}


@pytest.mark.parametrize(
    "terms",
    [
        [{"kind": "supervised_contrastive"}, {"kind": "cosface", "weight": 0.5}],
        [{"kind": "multi_similarity"}],
        [{"kind": "proxy_anchor", "on": ["articleType", "gender", "baseColour"]}],
        [{"kind": "arcface"}, {"kind": "cross_entropy", "of": "feature", "on": ["gender"], "label_smoothing": 0.1}],
        [{"kind": "triplet"}],
    ],
)
def test_metric_learning_with_every_loss(terms: list[dict[str, Any]], catalog: Catalog, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        kind="metric",
        terms=terms,
        model={"embedding": 16, "pooling": "gem"},
        sampler={"classes": 4, "per_class": 4},
        data={"relevance": ["articleType", "gender"]},
        optim={"ema": 0.9, "schedule": "one-cycle", "clip_norm": 1.0, "accumulate": 2},
    )
    result = trained(recipe, catalog, tmp_path)
    assert 0 < result["test_mean_average_precision"] <= 1
    tells_classes = terms[0]["kind"] in {"arcface", "cosface"} or (len(terms) > 1 and terms[1]["kind"] == "cosface")
    assert ("test_accuracy" in result) == tells_classes, "a helper on another attribute does not tell the label"
    reports = store_of(tmp_path / "releases").local_folder(result["release_id"])
    assert (reports / "training" / "confusion.json").exists() == tells_classes
    assert (reports / "classifier.safetensors").exists() == tells_classes


def test_retraining_keeps_the_codes_of_classes_and_appends_new_ones(catalog: Catalog, tmp_path: Path) -> None:
    few = Catalog(
        catalog.dataset, catalog.reader, catalog.root,
        tuple(one for one in catalog.products if one.attributes["masterCategory"] == "Apparel"), (), catalog.rows,
    )  # fmt: skip
    first = trained(tiny_recipe(optim={"epochs": 1}), few, tmp_path)
    store = store_of(tmp_path / "releases")
    known = store.manifest(first["release_id"]).labels
    assert known is not None
    others = tuple(one for one in catalog.products if one.attributes["subCategory"] != known[0])
    rest = Catalog(catalog.dataset, catalog.reader, catalog.root, others, (), catalog.rows)
    recipe = tiny_recipe(
        kind="retrain", name="again", model={"model": None, "weights": "pretrained", "release": first["release_id"],
        "options": {}}, optim={"epochs": 1, "learning_rate": 1e-6}, seed=11,
    )  # fmt: skip
    second = trained(recipe, rest, tmp_path)
    ids = [one.id for one in few.products]
    ours, theirs = (lineage_of(store, one["release_id"]) for one in (second, first))
    assert ours.parts_of(few.dataset, ids) == theirs.parts_of(few.dataset, ids), "whatever the new recipe's seed"
    assert ours.used(few.dataset, ids) >= theirs.used(few.dataset, ids)
    manifest = store.manifest(second["release_id"])
    assert manifest.parent == first["release_id"]
    assert manifest.labels is not None
    assert manifest.labels[: len(known)] == known, "a number means the same garment before and after"
    assert known[0] in manifest.labels, "a class that the new catalogue lacks keeps its number"
    assert set(manifest.labels) > set(known)
    before, after = (
        load_file(store.local_folder(one["release_id"]) / "classifier.safetensors")["weight"] for one in (first, second)
    )
    assert torch.allclose(before, after[: len(known)], atol=1e-3), "and its weights"


def test_a_small_network_learns_a_releases_embeddings(catalog: Catalog, tmp_path: Path) -> None:
    teacher = trained(tiny_recipe(optim={"epochs": 3}, projection={"components": [8], "raw": False}), catalog, tmp_path)
    recipe = tiny_recipe(
        kind="distill", name="pupil", teacher=teacher["release_id"], model={"weights": "seed:3", "embedding": 8},
        optim={"epochs": 6, "learning_rate": 1e-2},
    )  # fmt: skip
    listener = Listener()
    trained(recipe, catalog, tmp_path, listener)
    store = store_of(tmp_path / "releases")
    pupil, known = (lineage_of(store, one) for one in (store.newest("pupil") or "", teacher["release_id"]))
    ids = [one.id for one in catalog.products]
    assert pupil.parts_of(catalog.dataset, ids) == known.parts_of(catalog.dataset, ids), (
        "it is split as the teacher was"
    )
    losses = [float(note.split("loss ")[1].split(",")[0]) for note in listener.notes if note.startswith("epoch")]
    assert losses[-1] < 0.7 * losses[0]


def test_test_products_that_the_start_was_fitted_on_are_left_out_of_the_test_figures(
    catalog: Catalog, tmp_path: Path
) -> None:
    store = store_of(tmp_path / "releases")
    fresh = trained(tiny_recipe(optim={"epochs": 1}), catalog, tmp_path)
    parts = json.loads((store.local_folder(fresh["release_id"]) / "training" / "parts.json").read_text())["ids"]
    known = Lineage().with_products(catalog.dataset, fitted=parts["test"][:5])
    start = build_tiny_release(tmp_path / "releases", lineage=known, input_px=48)
    recipe = tiny_recipe(
        kind="retrain", model={"model": None, "release": start, "weights": "pretrained", "options": {}},
        optim={"epochs": 1},
    )  # fmt: skip
    result = trained(recipe, catalog, tmp_path)
    assert result["test_products_left_out"] == 5
    queries = json.loads((store.local_folder(result["release_id"]) / "training" / "queries.json").read_text())
    assert queries["scored"] + queries["left_out"] == len(parts["test"]) - 5


def test_a_missing_teacher_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ReleaseNotFound, match="gone-0123456789"):
        trained(tiny_recipe(kind="distill", teacher="gone-0123456789"), catalog, tmp_path)


def test_a_resumed_run_gives_the_same_weights(catalog: Catalog, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        optim={"epochs": 3, "ema": 0.9}, augment={"flip": 0.5, "brightness": 0.3, "erase": 0.5, "crop": [0.5, 1.0]}
    )
    whole = trained(recipe, catalog, tmp_path / "whole")

    def stop_at(steps: int) -> Listener:
        def stop(listener: Listener) -> None:
            if len(listener.done) == steps:
                raise JobCancelled("stop")

        return Listener(stop_when=stop)

    for steps in (2, 3, 5):  # within the first epoch, and twice behind it
        with pytest.raises(JobCancelled):
            training_run(recipe, catalog, tmp_path / "cut", stop_at(steps), trainer_checkpoint_s=1e-9).run()
    last = Listener()
    cut = training_run(recipe, catalog, tmp_path / "cut", last, trainer_checkpoint_s=1e-9).run()
    assert any("resumed from the checkpoint" in note for note in last.notes)
    assert cut["epochs"] == whole["epochs"] == 3
    one, two = (
        load_file(store_of(tmp_path / name / "releases").local_folder(result["release_id"]) / "weights.safetensors")
        for name, result in (("whole", whole), ("cut", cut))
    )
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


def test_two_devices_share_the_batches_and_publish_one_release(catalog: Catalog, tmp_path: Path) -> None:
    listener = Listener()
    result = training_run(tiny_recipe(optim={"epochs": 2}), catalog, tmp_path, listener, trainer_devices=2).run()
    assert store_of(tmp_path / "releases").ids() == [result["release_id"]]
    assert result["epochs"] == 2
    assert [note.partition(":")[0] for note in listener.notes[:2]] == ["epoch 1", "epoch 2"]


def test_a_stopped_run_on_two_devices_leaves_no_process(catalog: Catalog, tmp_path: Path) -> None:
    def stop(listener: Listener) -> None:
        if len(listener.done) == 3:
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        training_run(tiny_recipe(), catalog, tmp_path, Listener(stop_when=stop), trainer_devices=2).run()
    assert not [
        one for one in Path("/proc").glob("[0-9]*/cmdline") if b"trainer.training.distributed" in one.read_bytes()
    ]
    assert "LOCAL_RANK" not in os.environ


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(
    catalog: Catalog, tmp_path: Path
) -> None:
    recipe = tiny_recipe(optim={"epochs": 2, "learning_rate": 1e30, "optimizer": "sgd", "schedule": "constant"})
    with pytest.raises(TrainingDiverged, match=r"optim\.learning_rate"):
        training_run(recipe, catalog, tmp_path, trainer_checkpoint_s=1e-9).run()
    checkpoints = list((tmp_path / "work" / "run").glob("checkpoint-*"))
    assert len(checkpoints) == 1
    assert store_of(tmp_path / "releases").ids() == []


def test_a_run_without_gain_stops_early(catalog: Catalog, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        optim={"epochs": 30, "learning_rate": 1e-12, "train_norm": False},
        validation={"patience": 2, "best_by": "mean_average_precision"},
    )
    result = trained(recipe, catalog, tmp_path)
    assert result["epochs"] == 3
    assert result["best_epoch"] == 1


def test_the_best_epoch_is_published(catalog: Catalog, tmp_path: Path) -> None:
    result = trained(tiny_recipe(optim={"epochs": 4}, validation={"best_by": "loss"}), catalog, tmp_path)
    reports = store_of(tmp_path / "releases").local_folder(result["release_id"]) / "training"
    epochs = json.loads((reports / "history.json").read_text())["epochs"]
    assert result["best_epoch"] == min(epochs, key=lambda one: one["validation_loss"])["epoch"]


def test_the_last_epoch_is_published_if_the_validation_part_is_trained_on(catalog: Catalog, tmp_path: Path) -> None:
    """No epoch is better than the first, but metrics on trained images do not count."""
    changes: dict[str, Any] = {"optim": {"epochs": 3, "learning_rate": 1e-12, "train_norm": False}}
    kept = {
        parts: trained(tiny_recipe(data={"train_on": parts.split()}, **changes), catalog, tmp_path / parts)
        for parts in ("train", "train validation")
    }
    assert [result["best_epoch"] for result in kept.values()] == [1, 3]
    assert kept["train validation"]["trained_on"] > kept["train"]["trained_on"]


def test_unlabelled_images_change_the_weights_deterministically(catalog: Catalog, tmp_path: Path) -> None:
    """They are from another catalog, without any attributes."""
    other = drawn_catalog(tmp_path / "other", count=60, seed=5)
    bare = tuple(Product(one.dataset, one.id, one.picture) for one in other.products)
    unlabelled = Catalog(other.dataset, other.reader, other.root, bare, (), other.rows)
    # Only the last epoch is validated, so it is the one published.
    changes: dict[str, Any] = {"optim": {"epochs": 3, "ema": 0.8}, "augment": {"flip": 0.5}, "validation": {"every": 3}}
    without = training_run(tiny_recipe(**changes), catalog, tmp_path / "without").run()
    recipe = tiny_recipe(**changes, unlabelled={"share": 1.0, "threshold": 0.2, "from_epoch": 2})
    first = training_run(recipe, catalog, tmp_path / "with", unlabelled=unlabelled).run()
    again = training_run(recipe, catalog, tmp_path / "again", unlabelled=unlabelled).run()
    weights = [
        load_file(store_of(tmp_path / name / "releases").local_folder(result["release_id"]) / "weights.safetensors")
        for name, result in (("without", without), ("with", first), ("again", again))
    ]
    name = "conv_stem.weight"
    assert not torch.equal(weights[0][name], weights[1][name]), "they change the weights"
    assert torch.equal(weights[1][name], weights[2][name]), "and the same run gives the same weights"


def test_a_recipe_for_unlabelled_images_needs_their_catalog(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ParameterInvalid, match="unlabelled"):
        trained(tiny_recipe(unlabelled={}), catalog, tmp_path)


def test_unreadable_images_are_reported_and_left_out(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=90)
    for product in catalog.products[:4]:
        (catalog.root / product.picture).write_bytes(b"\xff\xd8 nothing")
    listener = Listener()
    result = trained(tiny_recipe(optim={"epochs": 1}), catalog, tmp_path, listener)
    assert {fault.product_id for fault in listener.issues} == {product.id for product in catalog.products[:4]}
    assert result["release_id"]


def test_a_catalog_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=40)
    for product in catalog.products:
        (catalog.root / product.picture).write_bytes(b"nothing")
    with pytest.raises(TrainingImpossible, match="not one picture"):
        trained(tiny_recipe(), catalog, tmp_path)


def test_a_trained_release_finds_each_product_by_its_own_image(catalog: Catalog, tmp_path: Path) -> None:
    """The image is decoded, preprocessed and embedded like a query; its own product ranks first."""
    result = trained(tiny_recipe(), catalog, tmp_path)
    store = store_of(tmp_path / "releases")
    manifest = store.manifest(result["release_id"])
    network = load_release(store.local_folder(manifest.release_id), manifest, choose_device("cpu", "float32"))
    fit = Preprocessor(manifest.preprocessing).fit
    pictures = [fit(decode_image(catalog.picture_path(one).read_bytes())) for one in catalog.products[:20]]
    vectors = [network.vectors(one[None].copy())[0] for one in pictures]
    assert all(max(range(20), key=lambda other: float(vectors[row] @ vectors[other])) == row for row in range(20))


def test_the_official_split_trains_on_items_and_tests_on_unseen_ones(tmp_path: Path) -> None:
    """In-shop retrieval: items of the train part are classes, those of the test part are only searched for."""
    rows = []
    for item in range(24):
        part = "train" if item < 16 else "query"
        for view in range(4):
            path = f"img/WOMEN/Dresses/id_{item:08}/0{view + 1}_{view + 1}_front.jpg"
            with_pictures(tmp_path / "inshop", path)
            (tmp_path / "inshop" / path).write_bytes(picture(item))
            rows.append(f"{path} id_{item:08} {part if part == 'train' or view else 'gallery'}")
    inshop_benchmark(tmp_path / "inshop", *rows)
    catalog = read_catalog("deepfashion-inshop", tmp_path / "inshop")
    recipe = tiny_recipe(
        kind="metric",
        data={"label": "itemId", "relevance": ["itemId"], "split": "official"},
        model={"embedding": 8},
        sampler={"classes": 4, "per_class": 4},
    )
    result = trained(recipe, catalog, tmp_path)
    manifest = store_of(tmp_path / "releases").manifest(result["release_id"])
    assert manifest.labels is not None
    assert 0 < len(manifest.labels) < 16, "a tenth of the items is held out to validate on"
    assert all(int(name.removeprefix("id_")) < 16 for name in manifest.labels)
    assert result["test_recall_at_10"] > 0
