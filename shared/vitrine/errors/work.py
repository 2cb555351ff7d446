"""Errors of catalogues, releases, jobs, pictures and the machine."""

from __future__ import annotations

from vitrine.errors.base import VitrineError


class CatalogError(VitrineError):
    """A whole catalogue cannot be read. Problems of single rows are not errors, see `vitrine.catalogs.model`."""

    status = 422


class CatalogNotFound(CatalogError):
    """The folder or its CSV does not exist."""


class CatalogRootRefused(CatalogError):
    """The path is outside the configured catalogue roots."""


class CatalogMalformed(CatalogError):
    """The catalogue's CSV has no usable header or no usable row."""


class ReleaseError(VitrineError):
    """A release cannot be created or used."""

    status = 422


class ReleaseCorrupt(ReleaseError):
    """A release's files do not match its manifest."""

    status = 500


class ReleaseOfOtherKind(ReleaseError):
    """A parser is named where a release that embeds pictures is needed, or the reverse."""


class WeightsUnusable(ReleaseError):
    """The weights are missing or do not fit the architecture."""


class ProjectionImpossible(ReleaseError):
    """A projection cannot be fitted, for instance with fewer pictures than components."""


class TrainingImpossible(ReleaseError):
    """The training cannot run, for instance with a single class or without pictures."""


class EvaluationImpossible(ReleaseError):
    """The evaluation cannot run, for instance because no query has a relevant product."""


class TrainingDiverged(ReleaseError):
    """The loss is no longer finite."""


class JobTooLarge(VitrineError):
    """A job would need more memory than it may use. The detail names the option that makes it too large."""

    status = 422


class StorageFull(VitrineError):
    """The disk has no room for a write. Files written before are complete."""

    status = 507


class VectorStoreFull(StorageFull):
    """Qdrant's disk has no room for a write. Searches still work."""

    retryable = True


class EmbeddingFailed(VitrineError):
    """The device failed on this picture alone; the other pictures of the batch have their vectors."""


class PictureCrashes(VitrineError):
    """A process crashes each time it works on this picture, so the picture is skipped."""

    status = 422


class PictureCrashesEmbedder(PictureCrashes):
    """The embedder crashes each time it works on this picture."""


class PictureCrashesWorker(PictureCrashes):
    """The indexer crashes each time it works on this picture."""


class TooManyCrashes(VitrineError):
    """So many pictures crash a process that the cause must be the release or the machine."""


class WorkerCrashed(VitrineError):
    """A step of a job crashed its worker on each try."""


class VerificationFailed(VitrineError):
    """A new collection did not pass its checks, so the old one stays active."""


class SettingsInvalid(VitrineError):
    """The settings are not valid; raised at start only."""
