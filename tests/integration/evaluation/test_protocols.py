"""The protocols: strict, reference, and the ablation between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.evaluating import COUNT, measured, plan_of, store
from harness.releases import store_of
from trainer.evaluation.ablation import protocol_ablation
from trainer.evaluation.document import evaluation_document, write_evaluation
from trainer.evaluation.protocol import EvaluationSet, build_evaluation_set
from vitrine.catalogs import Catalog
from vitrine.errors import EvaluationImpossible, ParameterInvalid
from vitrine.vision.pca import ProjectionArrays, fit_projection, project


def test_the_strict_protocol_uses_the_releases_vectors_without_the_query(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    plan = plan_of(releases[0], galleries=["all"], measures=["average_precision", "precision@15"])
    evaluation_set = build_evaluation_set(plan, catalog)
    (line,) = measured(folder, plan, evaluation_set)
    features, rows = store(folder).features(releases[0], evaluation_set.gallery)
    assert rows.tolist() == list(range(COUNT))
    arrays = ProjectionArrays.load(
        store_of(folder / "releases").local_folder(releases[0]) / "projection.safetensors"
    )  # fmt: skip
    plain = by_hand(project(arrays, np.asarray(features)), evaluation_set, drop_own=True)
    np.testing.assert_allclose(line.measured.values["average_precision"], plain[0], atol=1e-6)
    np.testing.assert_allclose(line.measured.values["precision@15"], plain[1], atol=1e-6)
    assert not (line.matches == evaluation_set.query_rows[:, None]).any()


def test_the_reference_protocol_repeats_the_faults_of_the_original(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    measures = ["average_precision", "precision@15"]
    plan = plan_of(releases[0], protocol="reference", galleries=["all"], measures=measures)
    evaluation_set = build_evaluation_set(plan, catalog)
    (line,) = measured(folder, plan, evaluation_set)
    features, _ = store(folder).features(releases[0], evaluation_set.gallery)
    everything = fit_projection(
        np.asarray(features), components=min(128, *features.shape), whiten=True, seed=0
    )  # fmt: skip
    vectors = project(everything.arrays, np.asarray(features))
    np.testing.assert_allclose(
        line.measured.values["average_precision"], by_hand(vectors, evaluation_set, drop_own=False)[0], atol=1e-6
    )
    np.testing.assert_allclose(
        line.measured.values["precision@15"], by_hand(vectors, evaluation_set, drop_own=True)[1], atol=1e-6
    )


def by_hand(vectors: np.ndarray, evaluation_set: EvaluationSet, *, drop_own: bool) -> tuple[list[float], list[float]]:
    labels = evaluation_set.labels.relevance[:, 0]
    average, hits = [], []
    for query in evaluation_set.query_rows:
        order = [row for row in np.argsort(-(vectors @ vectors[query]), kind="stable") if not drop_own or row != query]
        right = [labels[row] == labels[query] for row in order]
        found = [sum(right[: at + 1]) / (at + 1) for at, hit in enumerate(right) if hit]
        average.append(sum(found) / len(found))
        hits.append(sum(right[:15]) / 15)
    return average, hits


def test_the_ablation_corrects_one_fault_at_a_time(folder: Path, catalog: Catalog, releases: tuple[str, str]) -> None:
    evaluation_set = build_evaluation_set(plan_of(releases[0]), catalog)
    features = np.asarray(store(folder).features(releases[0], evaluation_set.gallery)[0])
    steps = protocol_ablation(
        features, evaluation_set.labels.relevance, train=evaluation_set.dataset.rows("train"),
        validation=evaluation_set.dataset.rows("validation"), queries=evaluation_set.query_rows, sizes=(4, 8, 12),
    )  # fmt: skip
    assert len(steps) == 7
    first, second = steps[0].measured, steps[1].measured
    assert first.mean("average_precision") > second.mean("average_precision"), "a query that answers itself flatters"
    assert first.mean("precision@15") == second.mean("precision@15"), "the hits were without it already"


def test_the_protocol_faults_reports_each_step_of_the_ablation(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    plan = plan_of(releases[0], protocol="faults", graded=["gender"])
    assert (plan.galleries, plan.measures) == (("all",), ("average_precision", "precision@15"))
    evaluation_set = build_evaluation_set(plan, catalog)
    lines = measured(folder, plan, evaluation_set)
    assert len(lines) == 7
    assert lines[0].variant.startswith("as the reference measured, ")
    strict = plan_of(releases[0], galleries=["all"], measures=["average_precision"])
    assert [line.measured.scored for line in lines] == [measured(folder, strict, evaluation_set)[0].measured.scored] * 7
    assert not (lines[-1].matches == evaluation_set.query_rows[:, None]).any(), "a query is among what it found"
    document = evaluation_document(plan, evaluation_set, lines, store_of(folder / "releases"), title="Faults")
    assert document["releases"][0]["strict"] == "no", "its first steps fit on what is tested"
    assert document["releases"][0]["why"][0].startswith("the protocol faults")
    written = write_evaluation(folder / "faults", document, lines[0], evaluation_set)
    assert "as the reference measured" in (folder / "faults" / "report.md").read_text()
    assert "index.html" in written
    with pytest.raises(EvaluationImpossible, match="leave out the photographs"):
        measured(folder, plan, build_evaluation_set(plan, catalog, catalog))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"galleries": ["unseen"]}, "galleries"),
        ({"measures": ["recall@1"]}, "measures"),
        ({"ways": [{"name": "mirrored", "flip": True}]}, "ways"),
        ({"within": ["gender"]}, "within"),
    ],
)
def test_fixed_fields_of_the_protocol_faults_cannot_be_set(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ParameterInvalid, match=named):
        plan_of("model-0000000000", protocol="faults", **changes)
