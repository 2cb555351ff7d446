"""Releases: everything that turns a picture into a vector, frozen. This package does not need torch."""

from vitrine.releases.manifest import (
    CATALOGUE_PICTURES,
    Architecture,
    Augmentation,
    Calibration,
    Familiarity,
    FittedOn,
    Manifest,
    ParserManifest,
    ParserNetwork,
    Preprocessing,
    ProjectionSpec,
    WeightsOrigin,
)
from vitrine.releases.store import (
    CLASSIFIER_FILE,
    MANIFEST_FILE,
    PARSER_MODEL,
    PROJECTION_FILE,
    SPLIT_FILE,
    TRAINING_FOLDER,
    WEIGHTS_FILE,
    ReleaseStore,
)
from vitrine.safe_read import file_sha256

__all__ = [
    "Architecture",
    "Augmentation",
    "Calibration",
    "Familiarity",
    "FittedOn",
    "Manifest",
    "ParserManifest",
    "ParserNetwork",
    "Preprocessing",
    "ProjectionSpec",
    "ReleaseStore",
    "WeightsOrigin",
    "file_sha256",
    "MANIFEST_FILE",
    "CATALOGUE_PICTURES",
    "CLASSIFIER_FILE",
    "PARSER_MODEL",
    "PROJECTION_FILE",
    "SPLIT_FILE",
    "TRAINING_FOLDER",
    "WEIGHTS_FILE",
]
