"""The report of a training run: PNG files are checked as pictures, figures as JSON."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.pictures import colour_at, encoded, gradient, near
from trainer.reports.confusion import confusion_counts, normalized, write_confusion
from trainer.reports.gallery import ScoredQueries, write_gallery
from trainer.reports.reliability import write_reliability
from trainer.reports.rendering import drawable, fitted, width_in
from trainer.reports.training import EpochRecord, write_curves, write_report
from vitrine.atomic_write import write_json
from vitrine.images.decode import decode_image

GREEN, RED, GREY = (0x2E, 0x7D, 0x4F), (0xC0, 0x39, 0x2B), (0xE4, 0xE6, 0xEA)


def record(epoch: int, **changes: Any) -> EpochRecord:
    plain = EpochRecord(
        epoch=epoch,
        train_loss=3 / epoch,
        validation_loss=3.5 / epoch,
        train_accuracy=1 - 0.9 / epoch,
        validation_accuracy=0.9 - 0.8 / epoch,
        learning_rate=1e-3 / epoch,
        precision_at_15=0.7 - 0.3 / epoch,
        mean_average_precision=0.5 - 0.3 / epoch,
        pictures_per_second=210.5,
        seconds=31.25,
    )
    return replace(plain, **changes)


def queries(
    count: int = 20, *, captions: Sequence[str] | None = None, scores: np.ndarray | None = None, **changes: Any
) -> ScoredQueries:
    """Each product of a gallery of `count` is a query."""
    random = np.random.default_rng(0)
    captions = captions or [f"Kind {row % 3}" for row in range(count)]
    products = [(f"p{row}", captions[row]) for row in range(count)]
    drawn_scores = random.random(count)
    plain = ScoredQueries(
        queries=products,
        scores=drawn_scores if scores is None else scores,
        matches=random.integers(0, count, (count, 8)),
        relevant=random.random((count, 8)) < 0.5,
        gallery=products,
    )
    return replace(plain, **changes)


def picture_of(_: str) -> Image.Image:
    return gradient(60, 80)


def drawn(path: Path) -> Image.Image:
    """The picture in the file, which must not be blank."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.info.keys() <= {"dpi"}, "the file contains the program or the time"
        image.load()
        picture = image.convert("RGB")
    pixels = np.asarray(picture)
    assert (pixels == 255).all(axis=2).mean() < 0.995, "the picture is blank"
    assert (pixels != 255).any(axis=2).mean() > 0.005
    return picture


def document(path: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def has_colour(picture: Image.Image, colour: tuple[int, int, int]) -> bool:
    return bool((np.asarray(picture) == colour).all(axis=2).any())


def test_a_report_has_every_part_for_which_there_is_data(tmp_path: Path) -> None:
    truth = np.array([0, 1, 2, 2, 1])
    written = write_report(
        tmp_path / "made" / "training",
        history=[record(1), record(2)],
        best_epoch=2,
        truth=truth,
        predicted=truth[::-1].copy(),
        classes=("Shirts", "Shoes", "Watches"),
        queries=queries(),
        picture=picture_of,
    )
    assert written == [
        "curves.png", "history.json", "confusion-counts.png", "confusion-normalised.png", "confusion.json",
        "best-queries.png", "worst-queries.png", "queries.json",
    ]  # fmt: skip
    assert sorted(written) == sorted(path.name for path in (tmp_path / "made" / "training").iterdir())
    for name in written:
        if name.endswith(".png"):
            drawn(tmp_path / "made" / "training" / name)


def test_a_report_without_data_writes_no_file(tmp_path: Path) -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert write_report(tmp_path) == []
    assert write_report(tmp_path, truth=nothing, predicted=nothing, classes=["a"]) == []
    assert list(tmp_path.iterdir()) == []


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        write_report(
            tmp_path / folder,
            history=[record(1), record(2)],
            truth=np.array([0, 1]),
            predicted=np.array([0, 0]),
            classes=("a", "b"),
            queries=queries(),
            picture=picture_of,
        )
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes(), path.name


def test_importing_the_reports_does_not_import_pyplot() -> None:
    code = "import sys, trainer.reports.training; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_history_holds_the_numbers_of_the_run(tmp_path: Path) -> None:
    records = [record(epoch) for epoch in range(1, 13)]
    assert write_curves(tmp_path, records, best_epoch=9) == ["curves.png", "history.json"]
    assert document(tmp_path / "history.json") == {"best_epoch": 9, "epochs": [asdict(one) for one in records]}
    assert drawn(tmp_path / "curves.png").size == (2025, 660)


def test_values_that_were_not_measured_are_gaps(tmp_path: Path) -> None:
    gaps: dict[str, Any] = dict.fromkeys(
        ("validation_loss", "validation_accuracy", "precision_at_15", "mean_average_precision")
    )
    records = [record(1, **gaps), record(2, train_loss=math.nan), record(3, **gaps), record(4, train_loss=math.inf)]
    write_curves(tmp_path, records)
    epochs = document(tmp_path / "history.json")["epochs"]
    assert [one["validation_loss"] for one in epochs] == [None, 1.75, None, 0.875]
    assert [one["train_loss"] for one in epochs] == [3.0, None, 1.0, None]
    drawn(tmp_path / "curves.png")


@pytest.mark.parametrize(
    "records",
    [
        [record(1)],
        [record(7, train_loss=math.nan, validation_loss=None, train_accuracy=None, validation_accuracy=None,
                precision_at_15=None, mean_average_precision=None, learning_rate=0.0)],
        [record(epoch, learning_rate=1e-9 * 10**epoch) for epoch in range(1, 9)],
        [record(epoch, learning_rate=1e-4) for epoch in range(1, 300)],
        [record(epoch, train_loss=-2.0, validation_loss=-1.0) for epoch in range(1, 4)],
    ],
    ids=["one epoch", "nothing measured", "warm-up", "many epochs", "negative loss"],
)  # fmt: skip
def test_any_run_has_curves(tmp_path: Path, records: list[EpochRecord]) -> None:
    write_curves(tmp_path, records, best_epoch=records[-1].epoch)
    drawn(tmp_path / "curves.png")


def test_a_run_without_an_epoch_has_no_curves(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="epoch"):
        write_curves(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_confusion_counts_true_and_predicted_classes() -> None:
    truth = np.array([0, 0, 0, 1, 2, 2])
    predicted = np.array([0, 0, 2, 1, 0, 2])
    counts = confusion_counts(truth, predicted, 4)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[2, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(normalized(counts)[:3].sum(axis=1), 1)
    assert np.isnan(normalized(counts)[3]).all()


@pytest.mark.parametrize(("truth", "predicted"), [([0, 3], [0, 0]), ([0, 0], [0, -1]), ([0], [0, 1])])
def test_codes_outside_the_classes_are_refused(truth: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match=r"class code|belong together"):
        confusion_counts(np.array(truth), np.array(predicted), 3)


def test_the_confusion_document_has_counts_precision_recall_and_support(tmp_path: Path) -> None:
    counts = np.array([[8, 2, 0], [1, 3, 0], [0, 0, 0]])
    write_confusion(tmp_path, counts, ["Shirts", "Shoes", "Socks"])
    assert document(tmp_path / "confusion.json") == {
        "labels": ["Shirts", "Shoes", "Socks"],
        "accuracy": 11 / 14,
        "counts": counts.tolist(),
        "per_class": [
            {"label": "Shirts", "precision": 8 / 9, "recall": 0.8, "support": 10},
            {"label": "Shoes", "precision": 0.6, "recall": 0.75, "support": 4},
            {"label": "Socks", "precision": None, "recall": None, "support": 0},
        ],
    }


@pytest.mark.parametrize("classes", [1, 2, 22, 143])
def test_any_number_of_classes_has_a_matrix(tmp_path: Path, classes: int) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, classes, 4000)
    predicted = np.where(random.random(4000) < 0.7, truth, random.integers(0, classes, 4000))
    labels = [f"A class with the number {code}" for code in range(classes)]
    write_confusion(tmp_path, confusion_counts(truth, predicted, classes), labels)
    for name in ("confusion-counts.png", "confusion-normalised.png"):
        picture = drawn(tmp_path / name)
        assert 600 <= max(picture.size) < 4000
        # The drawing ends before the border of the picture.
        pixels = np.asarray(picture)
        edges = (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:])
        assert all((edge == 255).all() for edge in edges)


def test_an_empty_confusion_matrix_can_be_drawn(tmp_path: Path) -> None:
    write_confusion(tmp_path, np.zeros((3, 3), dtype=np.int64), ["a", "", "c"])
    assert document(tmp_path / "confusion.json")["accuracy"] is None


def test_class_names_may_contain_dollar_signs_and_missing_glyphs(tmp_path: Path) -> None:
    write_confusion(tmp_path, np.eye(3, dtype=np.int64), ["$5 \\frac$ or less", "\u9774\u4e0b\n\t\x00", "Schuhe für $"])
    drawn(tmp_path / "confusion-counts.png")
    labels = document(tmp_path / "confusion.json")["labels"]
    assert labels == ["$5 \\frac$ or less", "\u9774\u4e0b\n\t\x00", "Schuhe für $"]


def test_a_text_that_is_too_wide_is_shortened() -> None:
    assert fitted("Tops", 8, 2.0) == "Tops"
    shortened = fitted("Foundation and primer of every kind", 8, 1.0)
    assert shortened.endswith("\N{HORIZONTAL ELLIPSIS}")
    assert width_in(shortened, 8) <= 1.0
    assert drawable("a\n \u9774b") == "a \N{REPLACEMENT CHARACTER}b"


def test_the_sheets_show_the_best_and_the_worst_queries(tmp_path: Path) -> None:
    ranked = queries(30, captions=[f"Kind {row}" for row in range(30)])
    write_gallery(tmp_path, ranked, picture_of, shown=5, matches=6)
    saved = document(tmp_path / "queries.json")
    order = np.argsort(ranked.scores)
    assert [one["id"] for one in saved["worst"]] == [f"p{row}" for row in order[:5]]
    assert [one["id"] for one in saved["best"]] == [f"p{row}" for row in order[:-6:-1]]
    best = order[-1]
    assert saved["best"][0] == {
        "id": f"p{best}",
        "caption": f"Kind {best}",
        "score": ranked.scores[best],
        "matches": [
            {"id": f"p{row}", "caption": f"Kind {row}", "relevant": bool(right)}
            for row, right in zip(ranked.matches[best, :6], ranked.relevant[best, :6], strict=True)
        ],
    }
    assert (saved["scored"], saved["left_out"], saved["unreadable"]) == (30, 0, [])
    assert drawn(tmp_path / "best-queries.png").size == drawn(tmp_path / "worst-queries.png").size


@pytest.mark.parametrize(("right", "frame", "other"), [(True, GREEN, RED), (False, RED, GREEN)])
def test_the_color_of_a_frame_shows_whether_a_match_is_relevant(
    tmp_path: Path, right: bool, frame: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    ranked = queries(4, relevant=np.full((4, 8), right))
    write_gallery(tmp_path, ranked, picture_of, shown=2)
    sheet = np.asarray(drawn(tmp_path / "best-queries.png")).astype(int)
    below_the_head = sheet[62:]
    of_frame, of_other = ((below_the_head == colour).all(axis=2).sum() for colour in (frame, other))
    # Two rows of eight frames of 4 x 150 pixels on each of four sides.
    assert of_frame > 16 * 4 * 4 * 140
    assert of_other == 0


def test_a_picture_keeps_its_colors(tmp_path: Path) -> None:
    written = encoded(Image.new("RGB", (60, 80), (10, 200, 90)), "PNG")
    write_gallery(tmp_path, queries(3), lambda _: decode_image(written), shown=1)
    sheet = drawn(tmp_path / "best-queries.png")
    assert near(colour_at(sheet, 30 + 75, 62 + 75), (10, 200, 90), tolerance=1)


def test_an_unreadable_picture_is_a_gray_tile(tmp_path: Path) -> None:
    asked: list[str] = []

    def picture(product_id: str) -> Image.Image:
        asked.append(product_id)
        if product_id == "p2":
            return decode_image(b"no picture")
        if product_id == "p1":
            raise RuntimeError("a share that is not mounted")
        return Image.new("RGBA", (80, 20), (10, 20, 30, 0))

    ranked = queries(3, matches=np.tile([0, 1, 2], (3, 1)), relevant=np.ones((3, 3), dtype=np.bool_))
    write_gallery(tmp_path, ranked, picture)
    assert document(tmp_path / "queries.json")["unreadable"] == ["p1", "p2"]
    assert has_colour(drawn(tmp_path / "best-queries.png"), GREY)
    assert sorted(asked) == ["p0", "p1", "p2"], "each picture is asked for once"


def test_a_query_that_was_left_out_is_neither_best_nor_worst(tmp_path: Path) -> None:
    scores = np.array([math.nan, 0.4, math.nan, 0.9])
    ranked = queries(4, scores=scores, matches=np.full((4, 8), -1))
    write_gallery(tmp_path, ranked, picture_of)
    saved = document(tmp_path / "queries.json")
    assert [one["id"] for one in saved["best"]] == ["p3", "p1"]
    assert [one["id"] for one in saved["worst"]] == ["p1", "p3"]
    assert (saved["scored"], saved["left_out"]) == (2, 2)
    assert all(one["matches"] == [] for one in saved["best"]), "-1 stands for no match"
    drawn(tmp_path / "best-queries.png")


def test_without_a_scored_query_there_is_no_sheet(tmp_path: Path) -> None:
    assert write_gallery(tmp_path, queries(4, scores=np.full(4, math.nan)), picture_of) == ["queries.json"]
    assert document(tmp_path / "queries.json")["best"] == []


def test_one_easy_class_does_not_fill_the_sheet() -> None:
    scores = np.array([1, 1, 1, 1, 0.5, 0.4, 0.3, 0.2])
    ranked = queries(8, scores=scores, captions=["Shoes"] * 4 + ["Bags", "Bags", "Bags", "Hats"])
    best, worst = ranked.best_and_worst(5, per_caption=2)
    assert best == [0, 1, 4, 5, 7]
    assert worst == [7, 6, 5, 0, 1]
    same_kind = queries(8, scores=scores, captions=["Shoes"] * 8)
    assert same_kind.best_and_worst(5, per_caption=2)[0] == [0, 1, 2, 3, 4], "there is nothing else to show"


def test_a_document_with_nan_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": math.nan})
    assert document(tmp_path / "a.json") == {"x": 1.5}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_reliability_diagram_bins_correct_matches_by_confidence(tmp_path: Path) -> None:
    confidence = np.repeat([0.05, 0.5, 0.95], 100)
    right = np.arange(300) % 100 < np.repeat([5, 50, 45], 100)
    assert write_reliability(tmp_path, confidence, right) == ["reliability.png", "reliability.json"]
    document = json.loads((tmp_path / "reliability.json").read_text())
    assert document["expected_calibration_error"] == pytest.approx(0.5 / 3, abs=1e-6)
    assert [(one["right"], one["count"]) for one in document["bins"]] == [(0.05, 100), (0.5, 100), (0.45, 100)]
    with Image.open(tmp_path / "reliability.png") as drawn:
        assert drawn.width < drawn.height
    with pytest.raises(ValueError, match="no matches"):
        write_reliability(tmp_path, np.empty(0), np.empty(0, dtype=bool))
