"""Training of a parser on drawn people: it learns, resumes after a kill, and becomes a release that finds garments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from harness.people import draw_person, drawn_people
from harness.releases import store_of
from harness.training import Listener
from trainer.parser.run import ParserRun
from trainer.settings import Settings
from vitrine.errors import CatalogNotFound, ParameterInvalid, TrainingDiverged
from vitrine.garments import BY_NAME, KIND_NAMES
from vitrine.parse_recipes import ParseRecipe
from vitrine.parsing import parse_as
from vitrine.vision.network import choose_device
from vitrine.vision.parser import load_parser


def recipe(**changes: Any) -> ParseRecipe:
    """A recipe that trains in seconds. Tables in `changes` are merged into those of the recipe."""
    content: dict[str, Any] = {
        "kind": "parse",
        "name": "tiny-parser",
        "model": {"timm": "test_efficientnet", "weights": "seed:0", "width": 16, "height_px": 96, "width_px": 64},
        "optim": {"epochs": 2, "batch": 8, "learning_rate": 3e-3, "ema": 0.9, "clip_norm": 5.0},
        "stages": [{"epochs": 1, "height_px": 64, "width_px": 64}],
    }
    for name, value in changes.items():
        content[name] = {**content.get(name, {}), **value} if isinstance(value, dict) else value
    return parse_as(ParseRecipe, content, what="recipe")


def parser_run(
    recipe: ParseRecipe,
    people: Path,
    folder: Path,
    listener: Listener | None = None,
    outlined: Path | None = None,
    **settings: Any,
) -> ParserRun:
    settings = {"trainer_device": "cpu", "trainer_precision": "float32", **settings}
    chosen = Settings(releases_url=f"file:{folder / 'releases'}", work_dir=folder / "work", **settings)
    store = store_of(folder / "releases")
    return ParserRun(recipe, people, store, chosen, folder / "work" / "run", listener or Listener(), outlined)


def draw_scarf(random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """A scarf on the floor, which no drawn person wears, and its mask."""
    photograph, mask = Image.new("RGB", (64, 96), (120, 90, 60)), Image.new("L", (64, 96), 0)
    left, top = (int(value) for value in random.integers(4, 24, 2))
    for image, fill in ((photograph, (250, 120, 20)), (mask, 1)):
        ImageDraw.Draw(image).rectangle((left, top, left + 30, top + 60), fill=fill)
    return photograph, mask


def drawn_scarves(folder: Path) -> Path:
    random = np.random.default_rng(3)
    for name in ("photos", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "labels.csv").write_text("index,label\n0,null\n1,scarf\n")
    for number in range(12):
        photograph, mask = draw_scarf(random)
        photograph.save(folder / "photos" / f"s{number}.jpg")
        mask.save(folder / "masks" / f"s{number}.png")
    return folder


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    drawn_people(folder)
    return folder


def test_a_parser_learns_drawn_people_and_its_release_finds_their_garments(people: Path, tmp_path: Path) -> None:
    listener = Listener()
    optim = {"epochs": 30, "learning_rate": 1e-2, "train_norm": True}
    longer = recipe(optim=optim, stages=[], validation={"every": 15})
    run = parser_run(longer, people, tmp_path, listener)
    result = run.run()
    assert result["mean_iou"] > 0.3
    assert result["trousers_iou"] > 0.5
    assert [x for x, _ in listener.curves["mean IoU, validation"]] == [15, 30]
    run.clean()
    assert not (tmp_path / "work" / "run").exists()

    store = store_of(tmp_path / "releases")
    release_id = str(result["release_id"])
    manifest = store.parser_manifest(release_id)
    assert manifest.classes == KIND_NAMES
    assert manifest.metrics["mean_iou"] == pytest.approx(result["mean_iou"])
    training = store.local_folder(release_id) / "training"
    assert {path.name for path in training.iterdir()} == {
        "confusion-counts.png", "confusion-normalised.png", "confusion.json", "curves.png", "history.json",
        "kinds.json", "parts.json", "recipe.json", "sheet.png",
    }  # fmt: skip
    parts = json.loads((training / "parts.json").read_text())
    assert (len(parts["train"]), len(parts["validation"])) == (24, 6)

    parser = load_parser(store, release_id, choice=choose_device("cpu", "float32"), fused=False)
    photograph, mask = draw_person(2, np.random.default_rng(7))
    pixels, box = parser.fit(photograph)
    found = box.part(parser.probabilities(pixels[None]))[0].argmax(axis=0)
    outlined = np.asarray(mask.resize((box.width, box.height), Image.Resampling.NEAREST))
    jeans = BY_NAME["trousers"].number
    assert (found[outlined == 6] == jeans).mean() > 0.7


def test_a_parser_learns_from_a_second_folder_what_the_first_does_not_show(people: Path, tmp_path: Path) -> None:
    scarves = drawn_scarves(tmp_path / "scarves")
    trained = recipe(
        optim={"epochs": 12, "learning_rate": 1e-2, "train_norm": True},
        stages=[],
        data={"outlined_share": 0.5},
        validation={"every": 12},
    )
    result = parser_run(trained, people, tmp_path, outlined=scarves).run()
    store, release_id = store_of(tmp_path / "releases"), str(result["release_id"])
    parts = json.loads((store.local_folder(release_id) / "training" / "parts.json").read_text())
    assert [len(parts[name]) for name in ("train", "validation", "outlined")] == [24, 6, 12]
    parser = load_parser(store, release_id, choice=choose_device("cpu", "float32"), fused=False)
    photograph, mask = draw_scarf(np.random.default_rng(9))
    pixels, box = parser.fit(photograph)
    found = box.part(parser.probabilities(pixels[None]))[0].argmax(axis=0)
    outlined = np.asarray(mask.resize((box.width, box.height), Image.Resampling.NEAREST))
    share = (found[outlined == 1] == BY_NAME["scarf"].number).mean()
    assert share > 0.7, "no drawn person wears a scarf"


def test_a_run_that_is_stopped_in_an_epoch_ends_as_one_that_was_not(people: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(listener: Listener) -> None:
        if len(listener.done) == 5:  # in the second of two epochs of three batches
            raise Stopped

    whole = parser_run(recipe(), people, tmp_path / "whole").run()
    with pytest.raises(Stopped):
        parser_run(recipe(), people, tmp_path / "cut", Listener(stop), trainer_checkpoint_s=1e-9).run()
    listener = Listener()
    again = parser_run(recipe(), people, tmp_path / "cut", listener).run()
    assert any("resumed from the checkpoint at epoch 2" in note for note in listener.notes)
    assert again["release_id"] == whole["release_id"]


def test_checkpoints_of_another_recipe_are_not_resumed(people: Path, tmp_path: Path) -> None:
    parser_run(recipe(), people, tmp_path).run()
    listener = Listener()
    parser_run(recipe(seed=1), people, tmp_path, listener).run()
    assert not any("resumed" in note for note in listener.notes)


def test_a_folder_without_outlined_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogNotFound, match=r"labels\.csv"):
        parser_run(recipe(), tmp_path / "nothing", tmp_path).run()


def test_a_backbone_that_has_no_maps_is_refused(people: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterInvalid, match="no_such_network"):
        parser_run(recipe(model={"timm": "no_such_network"}), people, tmp_path).run()


def test_a_loss_that_is_no_number_ends_the_run(people: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match=r"optim\.learning_rate"):
        parser_run(
            recipe(optim={"learning_rate": 1e20, "clip_norm": None, "schedule": "constant", "warmup": 0.0}),
            people,
            tmp_path,
        ).run()
