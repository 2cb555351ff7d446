"""A client of the Vitrine search API: `Vitrine`, and `AsyncVitrine` for asyncio."""

from __future__ import annotations

from vitrine_client import api_errors as api_errors
from vitrine_client import models as models
from vitrine_client.batch_search import AsyncVitrine as AsyncVitrine
from vitrine_client.batch_search import Vitrine as Vitrine
from vitrine_client.batches import BatchProgress as BatchProgress
from vitrine_client.batches import Query as Query
from vitrine_client.batches import QueryResult as QueryResult
from vitrine_client.batches import queries_in as queries_in
from vitrine_client.errors import AnswerInvalid as AnswerInvalid
from vitrine_client.errors import ApiError as ApiError
from vitrine_client.errors import ConnectionLost as ConnectionLost
from vitrine_client.errors import JobFailed as JobFailed
from vitrine_client.errors import PictureUnusable as PictureUnusable
from vitrine_client.errors import ServerUnreachable as ServerUnreachable
from vitrine_client.errors import TimedOut as TimedOut
from vitrine_client.errors import VitrineError as VitrineError
from vitrine_client.filters import MISSING as MISSING
from vitrine_client.filters import PRESENT as PRESENT
from vitrine_client.filters import Filters as Filters
from vitrine_client.filters import Not as Not
from vitrine_client.filters import Range as Range
from vitrine_client.pictures import Link as Link
from vitrine_client.pictures import Picture as Picture
from vitrine_client.pictures import Upload as Upload
