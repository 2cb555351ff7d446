"""Result rows of an evaluation by release, gallery and search variant, and their report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.evaluating import COUNT, DATA, measured, plan_of, store
from harness.pictures import encoded
from harness.releases import build_tiny_release, store_of
from harness.tiny_parser import build_tiny_parser, drawn_person
from harness.training import Listener, drawn_catalog
from trainer.evaluation.document import evaluation_document, write_evaluation
from trainer.evaluation.protocol import build_evaluation_set
from trainer.evaluation.runner import compare_rows, with_parser
from trainer.reports.gallery import data_url
from vitrine.catalogs import Catalog
from vitrine.errors import EvaluationImpossible, ParameterInvalid, ReleaseOfOtherKind
from vitrine.evaluation.plan import parse_plan
from vitrine.images.views import View
from vitrine.products import Product
from vitrine.releases import Augmentation
from vitrine.vision.cut_out import GarmentCutter
from vitrine.vision.network import choose_device


def test_every_release_gallery_and_variant_has_a_result_row(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    ways: list[dict[str, Any]] = [
        {"name": "plain"},
        {"name": "flip", "flip": True, "crops": 2},
        {"name": "expanded", "expand": 3},
        {"name": "augmented", "augment": 3, "augment_alpha": 3.0},
        {"name": "re-ranked", "rerank": 20},
        {"name": "fused", "fuse": releases[1]},
    ]
    plan = plan_of(*releases, ways=ways)
    evaluation_set = build_evaluation_set(plan, catalog)
    lines = measured(folder, plan, evaluation_set)
    assert [(line.release, line.gallery, line.variant) for line in lines] == [
        (release, gallery, way["name"]) for release in releases for gallery in ("all", "unseen") for way in ways
    ]
    test = len(evaluation_set.dataset.rows("test"))
    assert {(line.gallery, line.gallery_size) for line in lines} == {("all", COUNT), ("unseen", test)}
    assert all(line.measured.scored + line.measured.left_out == test for line in lines)
    assert all(line.measured.scored == test for line in lines if line.gallery == "all")
    assert all(line.milliseconds_per_query > 0 for line in lines)
    same = [
        line.measured.mean("average_precision") for line in lines if line.variant == "fused" and line.gallery == "all"
    ]
    assert same[0] != same[1], "the second release is fused with itself"
    assert len({round(line.measured.mean("average_precision"), 6) for line in lines[:6]}) == 6


def test_filtered_queries_find_nothing_outside_their_filter(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    plan = plan_of(releases[0], galleries=["all"], within=["gender"], measures=["average_precision"])
    evaluation_set = build_evaluation_set(plan, catalog)
    (line,) = measured(folder, plan, evaluation_set)
    genders = evaluation_set.labels.within[:, 0]
    found = line.matches >= 0
    assert (genders[line.matches] == genders[evaluation_set.query_rows][:, None])[found].all()
    assert found.any(axis=1).all()


def test_photographs_are_queries_if_the_catalogue_has_their_class(
    folder: Path, catalog: Catalog, releases: tuple[str, str], tmp_path: Path
) -> None:
    other = drawn_catalog(tmp_path / "other", count=40, seed=9)
    strange = Product(other.dataset, "strange", other.products[0].picture, {"subCategory": "Spacesuits"})
    photographs = Catalog(other.dataset, other.reader, other.root, (*other.products, strange), (), other.rows + 1)
    plan = plan_of(releases[0], galleries=["all"])
    evaluation_set = build_evaluation_set(plan, catalog, photographs)
    assert evaluation_set.photographs is not None
    assert "strange" not in {product.id for product in evaluation_set.photographs.products}
    (line,) = measured(folder, plan, evaluation_set)
    assert line.measured.scored == len(evaluation_set.photographs.products)
    nothing = Catalog(other.dataset, other.reader, other.root, (strange,), (), 1)
    with pytest.raises(EvaluationImpossible, match="there are no queries"):
        build_evaluation_set(plan, catalog, nothing)


def test_cut_out_queries_give_the_results_of_cut_out_photographs(
    folder: Path, catalog: Catalog, releases: tuple[str, str], tmp_path: Path
) -> None:
    parser_id = build_tiny_parser(folder / "releases")
    cut_out = GarmentCutter.load(store_of(folder / "releases"), parser_id, choose_device("cpu", "float32"))
    taken, cut = (drawn_catalog(tmp_path / name, count=40, seed=9) for name in ("taken", "cut"))
    for number, product in enumerate(taken.products):
        worn = ("dress",) if number % 2 else ("upper", "trousers")
        photograph = drawn_person(*worn, at=0.3 + 0.01 * number)
        (taken.root / product.picture).write_bytes(encoded(photograph, "PNG"))
        (cut.root / product.picture).write_bytes(encoded(cut_out(photograph), "PNG"))
    ways = [{"name": "plain"}, {"name": "cut out", "cutout": True}, {"name": "both", "cutout": True, "flip": True}]
    plan = with_parser(plan_of(releases[0], galleries=["all"], ways=ways), store_of(folder / "releases"))
    assert plan.parser == parser_id, "the newest one, where none is named"
    plain, found, mirrored = measured(folder, plan, build_evaluation_set(plan, catalog, taken))
    alone = measured(folder, plan, build_evaluation_set(plan, catalog, cut))[0]
    assert found.measured.means() == alone.measured.means()
    assert np.array_equal(found.matches, alone.matches)
    assert len({line.measured.mean("average_precision") for line in (plain, found, mirrored)}) == 3


def test_features_are_cached_by_release_pictures_and_view(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    listener = Listener()
    evaluation_set = build_evaluation_set(plan_of(releases[0]), catalog)
    first, _ = store(folder).features(releases[0], evaluation_set.gallery)
    files = sorted((folder / "work" / "features").glob("*.npy"))
    stamps = [file.stat().st_mtime_ns for file in files]
    again, _ = store(folder, listener).features(releases[0], evaluation_set.gallery)
    np.testing.assert_array_equal(first, again)
    assert [file.stat().st_mtime_ns for file in files] == stamps
    mirrored, _ = store(folder).features(releases[0], evaluation_set.gallery, view=View(mirrored=True))
    assert not np.array_equal(first, mirrored)


def test_the_report_describes_the_measurement_and_is_a_self_contained_page(
    folder: Path, catalog: Catalog, releases: tuple[str, str], tmp_path: Path
) -> None:
    plan = plan_of(*releases, galleries=["all"], ways=[{"name": "plain"}, {"name": "expanded", "expand": 5}])
    evaluation_set = build_evaluation_set(plan, catalog)
    lines = measured(folder, plan, evaluation_set)
    document = evaluation_document(plan, evaluation_set, lines, store_of(folder / "releases"), title="Two & more")
    write_evaluation(tmp_path, document, lines[0], evaluation_set)
    stored = json.loads((tmp_path / "report.json").read_text())
    confusion = stored["confusion"]
    assert stored == json.loads(json.dumps(document))
    assert len(confusion["kinds"]) == len(confusion["shares"]) > 1
    assert all(sum(row) == pytest.approx(1) or not any(row) for row in confusion["shares"])
    assert stored["protocol"] == "strict"
    assert stored["catalog"]["parts"] == {"train": 92, "validation": 29, "test": 29}
    assert [one["second"]["way"] for one in stored["comparisons"]][:2] == ["expanded", "expanded"]
    for told in stored["lines"][0]["measures"].values():
        assert told["low"] <= told["mean"] <= told["high"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert len(rows) == len(lines) * len(plan.measures)
    assert {row["strict"] for row in rows} == {"unknown"}, "these releases say nothing of what they were fitted on"
    said = (tmp_path / "report.md").read_text()
    why = "unknown: which 64 products of blotches its projection was fitted on"
    assert f"unknown: fitted on 0 and chosen on 0 of 29 tested products; {why}" in said
    assert "Protocol `strict`" in said
    assert "seed 0" in said
    page = (tmp_path / "index.html").read_text()
    assert "Two &amp; more" in page
    assert why in page
    assert page.count("data:image/jpeg;base64,") > 40
    assert "http" not in page.replace("http-equiv", ""), "the page needs nothing from elsewhere"


def test_a_release_does_not_differ_from_itself(folder: Path, catalog: Catalog, releases: tuple[str, str]) -> None:
    plan = plan_of(releases[0], releases[0], galleries=["all"], measures=["average_precision"])
    first, second = measured(folder, plan, build_evaluation_set(plan, catalog))
    found = compare_rows(first, second, "average_precision")
    assert (found.difference, found.p) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"releases": []}, "releases"),
        ({"measures": ["precision"]}, "measures"),
        ({"protocol": "lenient"}, "protocol"),
        ({"ways": [{"name": "a"}, {"name": "a"}]}, "same name"),
        ({"ways": [{"name": "a", "fuse": "x-0123456789", "rerank": 5}]}, "fuses"),
        ({"queries": 0}, "queries"),
        ({"within": ["no such name"]}, "no such name"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_an_invalid_plan_is_refused_with_the_name_of_the_field(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterInvalid, match=told):
        parse_plan({"releases": ["x-0123456789"], **changes})


@pytest.mark.parametrize("changes", [{"within": ["mood"]}, {"data": {**DATA, "relevance": ["subCategory", "mood"]}}])
def test_an_attribute_that_no_product_has_is_refused(
    changes: dict[str, Any], catalog: Catalog, releases: tuple[str, str]
) -> None:
    with pytest.raises(ParameterInvalid, match="mood"):
        build_evaluation_set(plan_of(releases[0], **changes), catalog)


def test_an_evaluation_without_any_relevant_product_is_refused(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    unique = tuple(
        Product(one.dataset, one.id, one.picture, {**one.attributes, "serial": one.id}) for one in catalog.products
    )
    alone = Catalog(catalog.dataset, catalog.reader, catalog.root, unique, (), catalog.rows)
    plan = plan_of(releases[0], data={"label": "subCategory", "relevance": ["serial"]})
    with pytest.raises(EvaluationImpossible, match="no query has a relevant product"):
        measured(folder, plan, build_evaluation_set(plan, alone))


def test_a_release_is_measured_with_its_augmented_gallery(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    augmented = build_tiny_release(
        folder / "releases", name="augmented", parent=releases[0], augmentation=Augmentation(neighbours=4, alpha=1.0)
    )
    way = {"name": "augmented", "augment": 4, "augment_alpha": 1.0}
    plan = plan_of(releases[0], augmented, galleries=["all"], ways=[{"name": "plain"}, way])
    plain, wanted, served, same = measured(folder, plan, build_evaluation_set(plan, catalog))
    assert served.measured.means() == wanted.measured.means() == same.measured.means()
    assert plain.measured.means() != wanted.measured.means()


def test_ways_that_cut_out_need_a_parser(releases: tuple[str, str], tmp_path: Path) -> None:
    plan = plan_of(releases[0], ways=[{"name": "cut out", "cutout": True}])
    with pytest.raises(EvaluationImpossible, match=r"recipes/parser\.toml"):
        with_parser(plan, store_of(tmp_path / "releases"))
    named = plan.model_copy(update={"parser": build_tiny_release(tmp_path / "releases")})
    with pytest.raises(ReleaseOfOtherKind, match="finds no garments"):
        with_parser(named, store_of(tmp_path / "releases"))


def test_the_report_shows_photographs_of_people_without_their_faces(
    folder: Path, catalog: Catalog, releases: tuple[str, str], tmp_path: Path
) -> None:
    parser_id = build_tiny_parser(folder / "releases")
    blur = GarmentCutter.load(store_of(folder / "releases"), parser_id, choose_device("cpu", "float32"), fused=False)
    photographs = drawn_catalog(tmp_path / "photographs", count=12, seed=9)
    person = drawn_person("upper", "trousers", size=(480, 640))
    for product in photographs.products:
        (photographs.root / product.picture).write_bytes(encoded(person, "PNG"))
    plan = plan_of(releases[0], galleries=["all"])
    evaluation_set = build_evaluation_set(plan, catalog, photographs)
    lines = measured(folder, plan, evaluation_set)
    document = evaluation_document(plan, evaluation_set, lines, store_of(folder / "releases"), title="People")
    face = (220, 60, 260, 100)
    assert np.asarray(blur.without_faces(person).crop(face)).std() < np.asarray(person.crop(face)).std()
    plain, blurred = tmp_path / "plain", tmp_path / "blurred"
    write_evaluation(plain, document, lines[0], evaluation_set)
    write_evaluation(blurred, document, lines[0], evaluation_set, edit_query=blur.without_faces)
    shown = data_url(photographs, photographs.products[0])
    edited = data_url(photographs, photographs.products[0], edit=blur.without_faces)
    pages = [(folder_ / "index.html").read_text() for folder_ in (plain, blurred)]
    assert [shown in page for page in pages] == [True, False]
    assert [edited in page for page in pages] == [False, True]
