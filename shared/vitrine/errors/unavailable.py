"""Errors of a dependency or of the service itself that may pass: 503 and 504, retryable."""

from __future__ import annotations

from vitrine.errors.base import VitrineError


class Unavailable(VitrineError):
    """A part of the system cannot answer now."""

    status = 503
    retryable = True


class EmbedderOverloaded(Unavailable):
    """The embedder's queue is full."""


class EmbedderSilent(Unavailable):
    """The embedder does not answer its health check, so calls fail at once and are not retried."""

    code = "embedder_unavailable"


class EmbedderBusyWithHeavyWork(Unavailable):
    """The embedder's pool for expensive calls (several views, explanations, very large pictures) is full."""


class EmbedderUnavailable(Unavailable):
    """The embedder cannot be reached or is not ready."""


class EmbedderConnectionLost(EmbedderUnavailable):
    """The connection broke after the request was sent: the embedder crashed, perhaps because of the request."""


class VectorStoreUnavailable(Unavailable):
    """Qdrant cannot be reached or is too busy."""


class VectorStoreRefused(VectorStoreUnavailable):
    """Qdrant refused a request, and will refuse it again."""

    retryable = False


class BrokerUnavailable(Unavailable):
    """Redis cannot be reached, or refuses work for a reason that passes."""


class BrokerFull(BrokerUnavailable):
    """Redis is at its memory limit and accepts no new data. Its data can still be read."""


class TooManyJobs(Unavailable):
    """The number of unfinished jobs is at its limit."""


class Draining(Unavailable):
    """The service is stopping and accepts no new work."""


class DeadlineExpired(Unavailable):
    """The caller's deadline passed before the work was done."""

    status = 504
