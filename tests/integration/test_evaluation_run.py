"""Evaluation and PCA tuning of real, very small releases on a drawn catalogue."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.releases import build_tiny_release, store_of
from harness.training import Listener, drawn_catalog
from trainer.evaluation.contest import Contest, make_contest
from trainer.evaluation.document import document_of
from trainer.evaluation.faults import faults_ladder
from trainer.evaluation.features import FeatureStore
from trainer.evaluation.lines import Line, compared
from trainer.evaluation.map_page import write_maps
from trainer.evaluation.measuring import Evaluation
from trainer.evaluation.pages import write_report
from trainer.evaluation.tuning import decompose, tune
from trainer.settings import Settings
from vitrine.catalogs import Catalog
from vitrine.errors import EvaluationImpossible, ParameterInvalid, ProjectionImpossible
from vitrine.evaluation.plan import EvaluationPlan, parse_plan
from vitrine.products import Product
from vitrine.releases import Augmentation
from vitrine.views import View
from vitrine.vision.network import choose_device
from vitrine.vision.projection import ProjectionArrays, fit_projection, project

COUNT = 150
DATA = {"label": "subCategory", "relevance": ["subCategory"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def catalog(folder: Path) -> Catalog:
    return drawn_catalog(folder / "shop", count=COUNT)


@pytest.fixture(scope="module")
def releases(folder: Path) -> tuple[str, str]:
    return tuple(build_tiny_release(folder / "releases", weights=f"seed:{seed}") for seed in (0, 1))  # type: ignore[return-value]


def store(folder: Path, listener: Listener | None = None) -> FeatureStore:
    settings = Settings(work_dir=folder / "work", trainer_device="cpu", trainer_precision="float32")
    return FeatureStore(
        store_of(folder / "releases"), settings, choose_device("cpu", "float32"), listener or Listener()
    )  # fmt: skip


def plan_of(*releases: str, **changes: Any) -> EvaluationPlan:
    return parse_plan({"releases": list(releases), "data": DATA, "graded": ["subCategory", "gender"], **changes})


def measured(folder: Path, plan: EvaluationPlan, contest: Contest) -> list[Line]:
    return Evaluation(plan, contest, store(folder), Listener()).lines()


def test_every_release_gallery_and_way_has_a_line(folder: Path, catalog: Catalog, releases: tuple[str, str]) -> None:
    ways: list[dict[str, Any]] = [
        {"name": "plain"},
        {"name": "flip", "flip": True, "crops": 2},
        {"name": "expanded", "expand": 3},
        {"name": "augmented", "augment": 3, "augment_alpha": 3.0},
        {"name": "re-ranked", "rerank": 20},
        {"name": "fused", "fuse": releases[1]},
    ]
    plan = plan_of(*releases, ways=ways)
    contest = make_contest(plan, catalog)
    lines = measured(folder, plan, contest)
    assert [(line.release, line.gallery, line.way) for line in lines] == [
        (release, gallery, way["name"]) for release in releases for gallery in ("all", "unseen") for way in ways
    ]
    test = len(contest.parts.rows("test"))
    assert {(line.gallery, line.gallery_size) for line in lines} == {("all", COUNT), ("unseen", test)}
    assert all(line.measured.scored + line.measured.left_out == test for line in lines)
    assert all(line.measured.scored == test for line in lines if line.gallery == "all")
    assert all(line.milliseconds > 0 for line in lines)
    same = [line.measured.mean("average_precision") for line in lines if line.way == "fused" and line.gallery == "all"]
    assert same[0] != same[1], "the second release is fused with itself"
    assert len({round(line.measured.mean("average_precision"), 6) for line in lines[:6]}) == 6


def test_the_strict_protocol_is_the_releases_own_vectors_with_the_query_left_out(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    plan = plan_of(releases[0], galleries=["all"], measures=["average_precision", "precision@15"])
    contest = make_contest(plan, catalog)
    (line,) = measured(folder, plan, contest)
    features, rows = store(folder).features(releases[0], contest.gallery)
    assert rows.tolist() == list(range(COUNT))
    arrays = ProjectionArrays.load(
        store_of(folder / "releases").local_folder(releases[0]) / "projection.safetensors"
    )  # fmt: skip
    plain = by_hand(project(arrays, np.asarray(features)), contest, drop_own=True)
    np.testing.assert_allclose(line.measured.values["average_precision"], plain[0], atol=1e-6)
    np.testing.assert_allclose(line.measured.values["precision@15"], plain[1], atol=1e-6)
    assert not (line.matches == contest.asked[:, None]).any()


def test_the_reference_protocol_has_the_references_faults(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    measures = ["average_precision", "precision@15"]
    plan = plan_of(releases[0], protocol="reference", galleries=["all"], measures=measures)
    contest = make_contest(plan, catalog)
    (line,) = measured(folder, plan, contest)
    features, _ = store(folder).features(releases[0], contest.gallery)
    everything = fit_projection(
        np.asarray(features), components=min(128, *features.shape), whiten=True, seed=0
    )  # fmt: skip
    vectors = project(everything.arrays, np.asarray(features))
    np.testing.assert_allclose(
        line.measured.values["average_precision"], by_hand(vectors, contest, drop_own=False)[0], atol=1e-6
    )
    np.testing.assert_allclose(
        line.measured.values["precision@15"], by_hand(vectors, contest, drop_own=True)[1], atol=1e-6
    )


def by_hand(vectors: np.ndarray, contest: Contest, *, drop_own: bool) -> tuple[list[float], list[float]]:
    labels = contest.labels.relevance[:, 0]
    average, hits = [], []
    for query in contest.asked:
        order = [row for row in np.argsort(-(vectors @ vectors[query]), kind="stable") if not drop_own or row != query]
        right = [labels[row] == labels[query] for row in order]
        found = [sum(right[: at + 1]) / (at + 1) for at, hit in enumerate(right) if hit]
        average.append(sum(found) / len(found))
        hits.append(sum(right[:15]) / 15)
    return average, hits


def test_queries_within_a_filter_find_nothing_outside_it(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    plan = plan_of(releases[0], galleries=["all"], within=["gender"], measures=["average_precision"])
    contest = make_contest(plan, catalog)
    (line,) = measured(folder, plan, contest)
    genders = contest.labels.within[:, 0]
    found = line.matches >= 0
    assert (genders[line.matches] == genders[contest.asked][:, None])[found].all()
    assert found.any(axis=1).all()


def test_photographs_are_asked_with_where_the_catalogue_has_their_kind(
    folder: Path, catalog: Catalog, releases: tuple[str, str], tmp_path: Path
) -> None:
    other = drawn_catalog(tmp_path / "other", count=40, seed=9)
    strange = Product(other.dataset, "strange", other.products[0].picture, {"subCategory": "Spacesuits"})
    photographs = Catalog(other.dataset, other.reader, other.root, (*other.products, strange), (), other.rows + 1)
    plan = plan_of(releases[0], galleries=["all"])
    contest = make_contest(plan, catalog, photographs)
    assert contest.outside is not None
    assert "strange" not in {product.id for product in contest.outside.products}
    (line,) = measured(folder, plan, contest)
    assert line.measured.scored == len(contest.outside.products)
    nothing = Catalog(other.dataset, other.reader, other.root, (strange,), (), 1)
    with pytest.raises(EvaluationImpossible, match="nothing to ask"):
        make_contest(plan, catalog, nothing)


def test_features_are_computed_once_and_again_for_other_pictures(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    listener = Listener()
    contest = make_contest(plan_of(releases[0]), catalog)
    first, _ = store(folder).features(releases[0], contest.gallery)
    files = sorted((folder / "work" / "features").glob("*.npy"))
    stamps = [file.stat().st_mtime_ns for file in files]
    again, _ = store(folder, listener).features(releases[0], contest.gallery)
    np.testing.assert_array_equal(first, again)
    assert [file.stat().st_mtime_ns for file in files] == stamps
    mirrored, _ = store(folder).features(releases[0], contest.gallery, view=View(mirrored=True))
    assert not np.array_equal(first, mirrored)


def test_the_report_names_what_was_measured_and_is_one_page_with_pictures(
    folder: Path, catalog: Catalog, releases: tuple[str, str], tmp_path: Path
) -> None:
    plan = plan_of(*releases, galleries=["all"], ways=[{"name": "plain"}, {"name": "expanded", "expand": 5}])
    contest = make_contest(plan, catalog)
    lines = measured(folder, plan, contest)
    document = document_of(plan, contest, lines, store_of(folder / "releases"), title="Two & more")
    write_report(tmp_path, document, lines, contest)
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored == json.loads(json.dumps(document))
    assert stored["protocol"] == "strict"
    assert stored["catalog"]["parts"] == {"train": 92, "validation": 29, "test": 29}
    assert [one["second"]["way"] for one in stored["comparisons"]][:2] == ["expanded", "expanded"]
    for told in stored["lines"][0]["measures"].values():
        assert told["low"] <= told["mean"] <= told["high"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert len(rows) == len(lines) * len(plan.measures)
    said = (tmp_path / "report.md").read_text()
    assert "Protocol `strict`" in said
    assert "seed 0" in said
    page = (tmp_path / "index.html").read_text()
    assert "Two &amp; more" in page
    assert page.count("data:image/jpeg;base64,") > 40
    assert "http" not in page.replace("http-equiv", ""), "the page needs nothing from elsewhere"


def test_the_same_release_differs_from_itself_in_nothing(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    plan = plan_of(releases[0], releases[0], galleries=["all"], measures=["average_precision"])
    first, second = measured(folder, plan, make_contest(plan, catalog))
    found = compared(first, second, "average_precision")
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
def test_a_plan_that_cannot_be_followed_is_refused_by_the_name_of_the_field(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterInvalid, match=told):
        parse_plan({"releases": ["x-0123456789"], **changes})


@pytest.mark.parametrize("changes", [{"within": ["mood"]}, {"data": {**DATA, "relevance": ["subCategory", "mood"]}}])
def test_an_attribute_that_no_product_has_is_told(
    changes: dict[str, Any], catalog: Catalog, releases: tuple[str, str]
) -> None:
    with pytest.raises(ParameterInvalid, match="mood"):
        make_contest(plan_of(releases[0], **changes), catalog)


def test_a_map_by_an_attribute_that_no_product_has_is_refused(
    folder: Path, catalog: Catalog, releases: tuple[str, str], tmp_path: Path
) -> None:
    pictures = make_contest(plan_of(releases[0]), catalog).gallery
    features, rows = store(folder).features(releases[0], pictures)
    with pytest.raises(ParameterInvalid, match="mood"):
        write_maps(
            tmp_path, pictures, rows.tolist(), features, methods=("tsne",), colour="mood", seed=0, title="A map",
            step=lambda _: None,
        )  # fmt: skip


def test_a_query_without_anything_relevant_is_left_out_and_told(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    unique = tuple(
        Product(one.dataset, one.id, one.picture, {**one.attributes, "serial": one.id}) for one in catalog.products
    )
    alone = Catalog(catalog.dataset, catalog.reader, catalog.root, unique, (), catalog.rows)
    plan = plan_of(releases[0], data={"label": "subCategory", "relevance": ["serial"]})
    with pytest.raises(EvaluationImpossible, match="anything to find"):
        measured(folder, plan, make_contest(plan, alone))


def test_tuning_tries_every_size_and_keeps_the_smallest_that_is_as_good(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    contest = make_contest(plan_of(releases[0]), catalog)
    features, _ = store(folder).features(releases[0], contest.gallery)
    parts, labels = contest.parts, contest.labels
    options: dict[str, Any] = {
        "train": parts.rows("train"), "validation": parts.rows("validation"), "queries": 600, "seed": 0,
    }  # fmt: skip
    objective = {"average_precision": 1.0, "ndcg@15": 0.5}
    found = tune(np.asarray(features), labels.relevance, labels.graded, objective=objective, **options)
    dim = len(found.decomposition.components)
    assert [point.components for point in found.points] == [*range(1, dim + 1)] * 2
    assert found.chosen.components <= found.best.components
    assert found.chosen.whiten == found.best.whiten
    mixed = found.best.means
    assert mixed["objective"] == pytest.approx((mixed["average_precision"] + 0.5 * mixed["ndcg@15"]) / 1.5)
    share = [point.explained_variance for point in found.points if not point.whiten]
    assert share == sorted(share)
    assert share[-1] == pytest.approx(1.0, abs=1e-6)
    few = tune(
        np.asarray(features), labels.relevance, labels.graded, objective=objective, sizes=[4, 8, 4096],
        whiten=(False,), **options,
    )  # fmt: skip
    assert [point.components for point in few.points] == [4, 8, dim]
    by_size = {point.components: point.means for point in found.points if not point.whiten}
    assert few.points[0].means["objective"] == pytest.approx(by_size[4]["objective"], abs=1e-3)


def test_the_decomposition_is_scikit_learns(folder: Path, catalog: Catalog, releases: tuple[str, str]) -> None:
    contest = make_contest(plan_of(releases[0]), catalog)
    features = np.asarray(store(folder).features(releases[0], contest.gallery)[0])
    whole = decompose(features)
    for whiten in (False, True):
        ours = project(whole.fit(6, whiten=whiten).arrays, features)
        theirs = project(fit_projection(features, components=6, whiten=whiten, seed=0).arrays, features)
        np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-4)
    with pytest.raises(ProjectionImpossible, match="all alike"):
        decompose(np.ones((5, 3), dtype=np.float32))
    with pytest.raises(ProjectionImpossible, match="finite"):
        decompose(np.full((5, 3), np.nan, dtype=np.float32))


def test_the_ladder_of_faults_mends_one_at_a_time(folder: Path, catalog: Catalog, releases: tuple[str, str]) -> None:
    contest = make_contest(plan_of(releases[0]), catalog)
    features = np.asarray(store(folder).features(releases[0], contest.gallery)[0])
    rungs = faults_ladder(
        features, contest.labels.relevance, train=contest.parts.rows("train"),
        validation=contest.parts.rows("validation"), queries=contest.asked, grid=(4, 8, 12),
    )  # fmt: skip
    assert len(rungs) == 7
    first, second = rungs[0].measured, rungs[1].measured
    assert first.mean("average_precision") > second.mean("average_precision"), "a query that answers itself flatters"
    assert first.mean("precision@15") == second.mean("precision@15"), "the hits were without it already"


def test_an_evaluation_by_the_protocol_of_faults_is_a_report_of_them(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    plan = plan_of(releases[0], protocol="faults", graded=["gender"])
    assert (plan.galleries, plan.measures) == (("all",), ("average_precision", "precision@15"))
    contest = make_contest(plan, catalog)
    lines = measured(folder, plan, contest)
    assert len(lines) == 7
    assert lines[0].way.startswith("as the reference measured, ")
    strict = plan_of(releases[0], galleries=["all"], measures=["average_precision"])
    assert [line.measured.scored for line in lines] == [measured(folder, strict, contest)[0].measured.scored] * 7
    assert not (lines[-1].matches == contest.asked[:, None]).any(), "a query is among what it found"
    document = document_of(plan, contest, lines, store_of(folder / "releases"), title="Faults")
    written = write_report(folder / "faults", document, lines, contest)
    assert "as the reference measured" in (folder / "faults" / "report.md").read_text()
    assert "index.html" in written
    with pytest.raises(EvaluationImpossible, match="leave out photographs"):
        measured(folder, plan, make_contest(plan, catalog, catalog))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"galleries": ["unseen"]}, "galleries"),
        ({"measures": ["recall@1"]}, "measures"),
        ({"ways": [{"name": "mirrored", "flip": True}]}, "ways"),
        ({"within": ["gender"]}, "within"),
    ],
)
def test_what_the_protocol_of_faults_fixes_cannot_be_chosen(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ParameterInvalid, match=named):
        plan_of("model-0000000000", protocol="faults", **changes)


def test_a_release_with_an_augmented_gallery_is_measured_as_it_is_served(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    augmented = build_tiny_release(
        folder / "releases", name="augmented", parent=releases[0], augmentation=Augmentation(neighbours=4, alpha=1.0)
    )
    way = {"name": "augmented", "augment": 4, "augment_alpha": 1.0}
    plan = plan_of(releases[0], augmented, galleries=["all"], ways=[{"name": "plain"}, way])
    plain, wanted, served, same = measured(folder, plan, make_contest(plan, catalog))
    assert served.measured.means() == wanted.measured.means() == same.measured.means()
    assert plain.measured.means() != wanted.measured.means()
