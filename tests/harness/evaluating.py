"""Evaluations of tiny releases on a generated catalogue, without a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from harness.releases import store_of
from harness.training import Listener
from trainer.evaluation.features import FeatureCache
from trainer.evaluation.protocol import EvaluationSet
from trainer.evaluation.runner import EvaluationRunner, ResultRow
from trainer.settings import Settings
from vitrine.evaluation.plan import EvaluationPlan, parse_plan
from vitrine.vision.network import choose_device

COUNT: Final = 150
DATA: Final = {"label": "subCategory", "relevance": ["subCategory"]}


def store(folder: Path, listener: Listener | None = None, *, parser_id: str | None = None) -> FeatureCache:
    settings = Settings(work_dir=folder / "work", trainer_device="cpu", trainer_precision="float32")
    return FeatureCache(
        store_of(folder / "releases"),
        settings,
        choose_device("cpu", "float32"),
        listener or Listener(),
        parser_id=parser_id,
    )


def plan_of(*releases: str, **changes: Any) -> EvaluationPlan:
    return parse_plan({"releases": list(releases), "data": DATA, "graded": ["subCategory", "gender"], **changes})


def measured(folder: Path, plan: EvaluationPlan, evaluation_set: EvaluationSet) -> list[ResultRow]:
    return EvaluationRunner(plan, evaluation_set, store(folder, parser_id=plan.parser), Listener()).run()
