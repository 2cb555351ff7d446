"""View model of a release: its ancestors, training data, metrics, and the datasets it serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from search_api.models.service import Indexed, KnownRelease, StoredManifest
from search_api.pages.reports import Figure
from vitrine.errors import ReleaseCorrupt, ReleaseNotFound, ReleaseOfOtherKind
from vitrine.releases import Manifest, ParserManifest, ReleaseStore
from vitrine.releases.ancestry import lineage_of
from vitrine.releases.lineage import Lineage

SHOWN_MEASURES: Final = ("average_precision", "precision@15", "recall@1")
MEASURE_NAMES: Final = {
    "average_precision": "mAP",
    "precision@15": "P@15",
    "recall@1": "R@1",
    "reciprocal_rank": "MRR",
    "r_precision": "R-precision",
    "accuracy": "Accuracy",
    "mean_iou": "Mean IoU",
    "upper_and_outer_iou": "IoU, tops",
    "shoes_iou": "IoU, shoes",
}
# Metric names in a manifest, from its training's own test, without intervals.
_OWN_METRICS: Final = (
    ("average_precision", "test_mean_average_precision"),
    ("precision@15", "test_precision_at_15"),
    ("recall@1", "test_recall_at_1"),
    ("accuracy", "test_accuracy"),
    ("average_precision", "validation_mean_average_precision"),
    ("average_precision", "validation_average_precision"),
    ("precision@15", "validation_precision_at_15"),
    ("precision@15", "validation_precision@15"),
)
# Of a parser.
_PARSER_METRICS: Final = ("mean_iou", "upper_and_outer_iou", "shoes_iou")
_MADE_BY: Final = {
    "classify": "Trained as a classifier",
    "metric": "Trained by metric learning",
    "retrain": "Trained further",
    "distill": "Learned from a teacher",
    "adapt": "Adapted",
    "tune": "Tuned",
}
_MAX_ANCESTORS: Final = 8
_RELEASE: Final = "release:"


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One step in the lineage of a release: a stored release, or only a name."""

    name: str
    stored: bool


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """One release. `ancestors` are oldest first; `measured_on` says what `figures` were measured on."""

    release: KnownRelease
    ancestors: tuple[Ancestor, ...]
    figures: tuple[Figure, ...]
    measured_on: str

    @property
    def id(self) -> str:
        return self.release.id

    @property
    def manifest(self) -> Manifest | None:
        return self.release.manifest

    @property
    def parser(self) -> ParserManifest | None:
        return self.release.parser

    @property
    def made_by(self) -> str:
        if self.parser is not None:
            return f"Finds garments in photographs: {len(self.parser.classes)} kinds, background and skin among them"
        if self.manifest is None:
            return "Not in the release store" if not self.release.stored else "Its manifest cannot be read"
        recipe = self.manifest.recipe
        return "Projected" if recipe is None else _MADE_BY.get(str(recipe.get("kind")), "Trained")

    @property
    def serving(self) -> tuple[Indexed, ...]:
        return tuple(one for one in self.release.indexed if one.serving)

    @property
    def standing_by(self) -> tuple[Indexed, ...]:
        """Collections that could serve at once: checked, not serving, the newest of each dataset."""
        newest: dict[str, Indexed] = {}
        for one in self.release.indexed:
            if one.info.metadata.state == "ready" and not one.serving:
                known = newest.get(one.dataset)
                if known is None or (one.info.metadata.published_at or "") > (known.info.metadata.published_at or ""):
                    newest[one.dataset] = one
        taken = {one.dataset for one in self.serving}
        return tuple(one for dataset, one in sorted(newest.items()) if dataset not in taken)


def release_view(
    release: KnownRelease, stored: Mapping[str, StoredManifest | None], measured: Mapping[str, tuple[Figure, ...]]
) -> ReleaseView:
    """The view of a release, given all stored manifests and the metrics of evaluations."""
    figures, measured_on = measured.get(release.id, ()), "by an evaluation, 95 % intervals"
    if not figures and release.either is not None:
        figures, measured_on = _own_figures(release.either)
    return ReleaseView(release, _ancestors(release.either, stored), figures, measured_on)


def fitted_on(store: ReleaseStore, release_id: str) -> tuple[tuple[str, int], ...] | None:
    """The number of products per dataset that the release was fitted or tuned on; None if unreadable.

    Empty for a parser, which is trained on photographs.
    """
    try:
        lineage: Lineage = lineage_of(store, release_id)
    except ReleaseOfOtherKind:
        return ()
    except (ReleaseNotFound, ReleaseCorrupt, OSError):
        return None
    return tuple((dataset, int((marked.flags & 0b1100 > 0).sum())) for dataset, marked in lineage.products.items())


def training_document(store: ReleaseStore, release_id: str, name: str) -> Any:
    """A JSON file of the release's training; None if missing or unreadable."""
    try:
        data = store.training_file(release_id, name)
        return None if data is None else json.loads(data)
    except (ValueError, OSError, ReleaseCorrupt, ReleaseNotFound):
        return None


def history_series(content: Any) -> dict[str, dict[str, list[list[float]]]]:
    """The curves in a training's `history.json`, in the format of a job's record."""
    named = {
        "train_loss": "loss, training",
        "validation_loss": "loss, validation",
        "train_accuracy": "accuracy, training",
        "validation_accuracy": "accuracy, validation",
        "precision_at_15": "P@15, validation",
        "mean_average_precision": "mAP, validation",
        "mean_iou": "mean IoU, validation",
    }
    epochs = content.get("epochs") if isinstance(content, dict) else None
    series: dict[str, dict[str, list[list[float]]]] = {}
    for epoch in epochs if isinstance(epochs, list) else ():
        for key, name in named.items():
            value = epoch.get(key) if isinstance(epoch, dict) else None
            if isinstance(value, int | float):
                series.setdefault(name, {"points": []})["points"].append([float(epoch["epoch"]), float(value)])
    return {name: one for name, one in series.items() if len(one["points"]) > 1}


def projection_series(tuning: Any, tried: Any) -> dict[str, dict[str, list[list[float]]]]:
    """Metrics and explained variance by number of PCA components, from a tuning's `tuning.json` or a training's
    `projections.json`.
    """
    series: dict[str, list[list[float]]] = {}
    if isinstance(tuning, dict):
        for point in tuning.get("points", ()):
            called = "whitened" if point.get("whiten") else "not whitened"
            for measure, value in (point.get("means") or {}).items():
                name = MEASURE_NAMES.get(measure, measure)
                series.setdefault(f"{name}, {called}", []).append([float(point["components"]), float(value)])
        total = 0.0
        for number, share in enumerate(tuning.get("explained_variance", ()), start=1):
            total += float(share)
            series.setdefault("explained variance, up to this one", []).append([float(number), total])
    elif isinstance(tried, list):
        for point in tried:
            if not isinstance(point, dict) or point.get("raw"):
                continue
            called = "whitened" if point.get("whiten") else "not whitened"
            for key, name in (("mean_average_precision", "mAP"), ("precision_at_15", "P@15")):
                if isinstance(point.get(key), int | float):
                    series.setdefault(f"{name}, {called}", []).append([float(point["components"]), float(point[key])])
    return {name: {"points": sorted(points)} for name, points in series.items() if len(points) > 1}


def _own_figures(manifest: StoredManifest) -> tuple[tuple[Figure, ...], str]:
    if isinstance(manifest, ParserManifest):
        measured = [Figure(name, manifest.metrics[name]) for name in _PARSER_METRICS if name in manifest.metrics]
        return tuple(measured), "on validation photographs"
    figures: list[Figure] = []
    for measure, key in _OWN_METRICS:
        value = manifest.metrics.get(key)
        if value is not None and measure not in {one.measure for one in figures}:
            figures.append(Figure(measure, float(value)))
    is_test = any(key.startswith("test_") for key in manifest.metrics)
    return tuple(figures[:3]), "on its training's test part" if is_test else "on validation queries"


def _ancestors(manifest: StoredManifest | None, stored: Mapping[str, StoredManifest | None]) -> tuple[Ancestor, ...]:
    line: list[Ancestor] = []
    seen: set[str] = set()
    while manifest is not None and len(line) < _MAX_ANCESTORS:
        source = manifest.weights.source
        parent = manifest.parent or (source.removeprefix(_RELEASE) if source.startswith(_RELEASE) else None)
        if parent is None:
            line.append(Ancestor(_source_words(source), stored=False))
            break
        if parent in seen:
            break
        seen.add(parent)
        line.append(Ancestor(parent, stored=parent in stored))
        manifest = stored.get(parent)
    return tuple(reversed(line))


def _source_words(source: str) -> str:
    kind, _, name = source.partition(":")
    return {"pretrained": f"{name}, pretrained", "seed": f"random weights, seed {name}", "file": name}.get(kind, source)
