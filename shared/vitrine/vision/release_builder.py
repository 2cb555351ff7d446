"""Creation of a release from a backbone and a fitted projection: its files are written, hashed and stored together."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vitrine.releases import (
    PROJECTION_FILE,
    SPLIT_FILE,
    WEIGHTS_FILE,
    Augmentation,
    Calibration,
    FittedOn,
    Manifest,
    Preprocessing,
    ProjectionSpec,
    ReleaseStore,
    WeightsOrigin,
    file_sha256,
)
from vitrine.releases.lineage import Lineage
from vitrine.vision.backbones import Loaded, save_weights
from vitrine.vision.pca import Fit


def fitted_on(dataset: str, ids: Iterable[str], *, part: Literal["train", "all"], seed: int) -> FittedOn:
    """The manifest's record of the products that a projection was fitted on."""
    ordered = sorted(ids)
    digest = hashlib.sha256("\n".join(ordered).encode()).hexdigest()
    return FittedOn(dataset=dataset, part=part, seed=seed, count=len(ordered), ids_sha256=digest)


@dataclass(frozen=True, slots=True)
class Training:
    """What a trained release has in addition to a projected one.

    `classifier` is the weights file of the label's classifier, `folder` holds the files of the training. With `half`
    the weights, which are rounded already, are stored in half precision.
    """

    recipe: dict[str, Any]
    labels: tuple[str, ...]
    metrics: dict[str, float]
    parent: str | None
    classifier: Path | None
    folder: Path | None
    half: bool = False
    calibration: Calibration | None = None
    augmentation: Augmentation | None = None


def make_release(
    store: ReleaseStore,
    model: str,
    backbone: Loaded,
    fit: Fit,
    *,
    rules: Preprocessing,
    trained_on: FittedOn,
    whiten: bool,
    random_state: int,
    lineage: Lineage | None = None,
    training: Training | None = None,
) -> str:
    """Store a release and return its id. The same inputs give the same id, and a second call changes nothing.

    Without `lineage` an evaluation cannot tell what the release was fitted on.
    """
    with tempfile.TemporaryDirectory(prefix="vitrine-release-") as folder:
        weights, projection = Path(folder, WEIGHTS_FILE), Path(folder, PROJECTION_FILE)
        save_weights(backbone.network, weights, half=training is not None and training.half)
        fit.arrays.save(projection)
        split = None
        if lineage is not None:
            split = Path(folder, SPLIT_FILE)
            split.write_bytes(lineage.as_bytes())
        manifest = Manifest(
            model=model,
            architecture=backbone.architecture,
            weights=WeightsOrigin(
                source=backbone.weights_source,
                source_sha256=backbone.weights_source_sha256,
                sha256=file_sha256(weights),
                size_bytes=weights.stat().st_size,
            ),
            preprocessing=rules,
            projection=ProjectionSpec(
                components=fit.arrays.components.shape[0],
                whiten=whiten,
                solver=fit.solver,
                random_state=random_state,
                explained_variance=fit.explained_variance,
                sha256=file_sha256(projection),
                fitted_on=trained_on,
            ),
            split_sha256=None if split is None else file_sha256(split),
        )
        if training is None:
            return store.publish(manifest, weights=weights, projection=projection, split=split)
        classifier = training.classifier
        manifest = manifest.model_copy(
            update={
                "recipe": training.recipe,
                "labels": training.labels,
                "metrics": training.metrics,
                "parent": training.parent,
                "calibration": training.calibration,
                "augmentation": training.augmentation,
                "classifier_sha256": None if classifier is None else file_sha256(classifier),
            }
        )
        return store.publish(
            manifest,
            weights=weights,
            projection=projection,
            classifier=classifier,
            split=split,
            training=training.folder,
        )
