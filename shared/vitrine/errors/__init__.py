"""Every error that a user or a caller can meet. Any other exception that reaches a caller is a bug and answers 500.

Each class sets the HTTP status and whether a retry can help. Its stable `code` is its name in snake case. The tree,
which a test compares with the classes:

    VitrineError                          500
    ├── InputInvalid                      400
    │   ├── ParameterInvalid              400
    │   ├── FilterInvalid                 400
    │   ├── ModelUnknown                  400
    │   ├── ImageMissing                  400
    │   ├── ImageRejected                 400
    │   ├── GarmentUnknown                400
    │   ├── BodyInvalid                   422
    │   ├── MediaTypeUnsupported          415
    │   ├── BodyTooLarge                  413
    │   ├── HeadersTooLarge               431
    │   ├── RequestTooSlow                408  retryable
    │   └── WorkTooLarge                  413
    ├── AccessDenied                      403
    │   ├── KeyMissing                    401
    │   ├── KeyRefused                    403
    │   ├── ForeignSite                   403
    │   ├── HostRefused                   421
    │   └── TooManyRequests               429  retryable
    ├── NotFound                          404
    │   ├── ProductNotFound               404
    │   ├── PictureNotFound               404
    │   │   └── PictureNotDownloaded      404
    │   ├── DatasetNotFound               404
    │   ├── ModelNotFound                 404
    │   ├── ReleaseNotFound               404
    │   ├── ParserNotFound                404
    │   ├── CollectionNotFound            404
    │   ├── UploadNotFound                404
    │   └── JobNotFound                   404
    ├── Conflict                          409
    │   ├── ReleaseMismatch               409
    │   ├── CollectionIncomplete          409
    │   ├── JobFinished                   409
    │   ├── RemovalRefused                409
    │   ├── JobUnfinished                 409
    │   ├── RecordChanged                 409  retryable
    │   └── JobCancelled                  409
    ├── Unavailable                       503  retryable
    │   ├── EmbedderOverloaded            503  retryable
    │   ├── EmbedderSilent                503  retryable
    │   ├── EmbedderBusyWithHeavyWork     503  retryable
    │   ├── EmbedderUnavailable           503  retryable
    │   │   └── EmbedderConnectionLost    503  retryable
    │   ├── VectorStoreUnavailable        503  retryable
    │   │   └── VectorStoreRefused        503
    │   ├── BrokerUnavailable             503  retryable
    │   │   └── BrokerFull                503  retryable
    │   ├── TooManyJobs                   503  retryable
    │   ├── Draining                      503  retryable
    │   └── DeadlineExpired               504  retryable
    ├── CatalogError                      422
    │   ├── CatalogNotFound               422
    │   ├── CatalogRootRefused            422
    │   └── CatalogMalformed              422
    ├── ReleaseError                      422
    │   ├── ReleaseCorrupt                500
    │   ├── ReleaseOfOtherKind            422
    │   ├── WeightsUnusable               422
    │   ├── ProjectionImpossible          422
    │   ├── TrainingImpossible            422
    │   ├── EvaluationImpossible          422
    │   └── TrainingDiverged              422
    ├── JobTooLarge                       422
    ├── StorageFull                       507
    │   └── VectorStoreFull               507  retryable
    ├── EmbeddingFailed                   500
    ├── PictureCrashes                    422
    │   ├── PictureCrashesEmbedder        422
    │   └── PictureCrashesWorker          422
    ├── TooManyCrashes                    500
    ├── WorkerCrashed                     500
    ├── VerificationFailed                500
    └── SettingsInvalid                   500
"""

from __future__ import annotations

from vitrine.errors.base import VitrineError as VitrineError
from vitrine.errors.requests import *  # noqa: F403 - every class of these modules is public
from vitrine.errors.unavailable import *  # noqa: F403
from vitrine.errors.work import *  # noqa: F403
