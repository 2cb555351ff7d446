"""The curves of a job's record: bounded for any training, and correct after a resumed run."""

from __future__ import annotations

import itertools
import math

from vitrine.jobs import JobKind, JobRecord
from vitrine.jobs.record import MAX_SERIES, MAX_SERIES_POINTS


def training() -> JobRecord:
    return JobRecord(id="0" * 21, kind=JobKind.TRAIN, created_at="2026-01-01T00:00:00.000+00:00")


def test_a_metric_becomes_a_curve() -> None:
    record = training().with_measures(1, {"loss": 2.0, "accuracy": 0.25}).with_measures(2, {"loss": 1.0})
    assert record.series["loss"].points == ((1, 2.0), (2, 1.0))
    assert record.series["accuracy"].points == ((1, 0.25),)


def test_a_long_curve_keeps_its_shape_in_a_bounded_number_of_points() -> None:
    record = training()
    for epoch in range(1, 2_001):
        record = record.with_measures(epoch, {"loss": 1 / epoch})
    points = record.series["loss"].points
    assert MAX_SERIES_POINTS / 2 <= len(points) <= MAX_SERIES_POINTS
    assert points[0] == (1, 1.0)
    assert points[-1][0] > 1_980
    steps = {later[0] - earlier[0] for earlier, later in itertools.pairwise(points)}
    assert steps == {16}, "the points that stay are evenly apart"


def test_a_run_resumed_at_an_earlier_epoch_replaces_the_repeated_points() -> None:
    record = training()
    for epoch in (1, 2, 3):
        record = record.with_measures(epoch, {"loss": float(epoch)})
    record = record.with_measures(2, {"loss": 9.0})
    assert record.series["loss"].points == ((1, 1.0), (2, 9.0))


def test_values_that_are_not_numbers_and_too_many_names_are_left_out() -> None:
    record = training().with_measures(1, {"loss": math.nan, "worse": math.inf})
    assert record.series == {}
    record = record.with_measures(1, {f"measure {number}": 1.0 for number in range(3 * MAX_SERIES)})
    assert len(record.series) == MAX_SERIES
    assert JobRecord.model_validate_json(record.model_dump_json()) == record
