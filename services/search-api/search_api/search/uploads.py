"""Query pictures, kept in Redis for an hour under an unguessable id, so that a search has a link and can be reloaded.
Their number and bytes are bounded; the oldest are evicted first. Faces are blurred before a picture is kept.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import redis.asyncio

from search_api.search.parsers import Parsers
from vitrine.embedding import AsyncEmbedderClient
from vitrine.errors import ParserNotFound, UploadNotFound
from vitrine.images.checks import check_image
from vitrine.images.formats import MEDIA_TYPES
from vitrine.jobs.redis import broker_errors

_KEY: Final = "vitrine:upload:"
_ORDER: Final = "vitrine:uploads"  # sorted set: id by the time it was made
_SIZES: Final = "vitrine:uploads:bytes"  # hash: id to its bytes
_ID: Final = re.compile(r"[A-Za-z0-9_-]{32}")
_ID_BYTES: Final = 24
# Add an upload. Evict expired ones, then the oldest, until the rest is within the bounds.
_ADD: Final = """
local key, order, sizes = KEYS[1], KEYS[2], KEYS[3]
local prefix, id, size = ARGV[1], ARGV[2], tonumber(ARGV[4])
local ttl_ms, now_us, most, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local function forget(ids)
  for _, one in ipairs(ids) do
    redis.call('DEL', prefix .. one)
    redis.call('ZREM', order, one)
    redis.call('HDEL', sizes, one)
  end
end
forget(redis.call('ZRANGEBYSCORE', order, '-inf', now_us - 1000 * ttl_ms))
local held = 0
for _, one in ipairs(redis.call('HVALS', sizes)) do held = held + tonumber(one) end
local count = redis.call('ZCARD', order)
while count > 0 and (count + 1 > most or held + size > most_bytes) do
  local oldest = redis.call('ZRANGE', order, 0, 0)[1]
  held = held - tonumber(redis.call('HGET', sizes, oldest) or '0')
  forget({oldest})
  count = count - 1
end
redis.call('SET', key, ARGV[3], 'PX', ttl_ms)
redis.call('ZADD', order, string.format('%.0f', now_us), id)
redis.call('HSET', sizes, id, size)
for _, one in ipairs({order, sizes}) do redis.call('PEXPIRE', one, ttl_ms) end
return count + 1
"""


@dataclass(frozen=True, slots=True)
class Upload:
    """A stored picture: `picture` is the file as it is kept. Width and height are those of the file, before any EXIF
    rotation.
    """

    id: str
    picture: bytes
    media_type: str
    width_px: int
    height_px: int
    expires_at: datetime


# (a picture, its caller) -> the picture as it may be kept.
Anonymize = Callable[[bytes, str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class FaceBlur:
    """Blurs faces by the embedder, with the skin and hair that the parser finds. `keep_without_parser`: without a
    parser, pictures are kept as they are, instead of refused.
    """

    client: AsyncEmbedderClient
    parsers: Parsers
    keep_without_parser: bool
    timeout_s: float

    async def __call__(self, picture: bytes, caller: str) -> bytes:
        """The picture as it may be kept: unchanged if nobody's face is in it.

        Raises ParserNotFound, ImageRejected, Unavailable.
        """
        started_s = time.perf_counter()
        try:
            parser_id = await self.parsers.newest()
        except ParserNotFound as error:
            if self.keep_without_parser:
                return picture
            raise ParserNotFound(
                f"the picture cannot be kept, because nothing blurs people's faces: {error.detail}; or set "
                "VITRINE_KEEP_FACES_WITHOUT_PARSER=true"
            ) from None
        left_s = self.timeout_s - (time.perf_counter() - started_s)
        return await self.client.anonymize(picture, parser_id=parser_id, caller=caller, deadline_s=left_s)


def new_upload_id() -> str:
    """An unguessable id."""
    return secrets.token_urlsafe(_ID_BYTES)


class Uploads:
    """Stores query pictures, as `anonymize` returns them. Every call may raise BrokerUnavailable."""

    def __init__(
        self,
        connection: redis.asyncio.Redis,
        anonymize: Anonymize,
        *,
        ttl_s: float,
        max_uploads: int,
        max_total_bytes: int,
    ) -> None:
        self._redis = connection
        self._anonymize = anonymize
        self._ttl_s = ttl_s
        self._max_uploads = max_uploads
        self._max_total_bytes = max_total_bytes
        self._add: Any = connection.register_script(_ADD)

    async def keep(self, picture: bytes, *, caller: str = "", upload_id: str | None = None) -> Upload:
        """Store a picture file without faces, under a new id if none is given; the original is not stored.

        Raises ImageRejected and what `anonymize` raises.
        """
        check_image(picture)
        picture = await self._anonymize(picture, caller)
        header = check_image(picture)
        upload_id = upload_id or new_upload_id()
        now_s = time.time()
        ttl_ms = int(self._ttl_s * 1000)
        with broker_errors():
            await self._add(
                keys=[_KEY + upload_id, _ORDER, _SIZES],
                args=[
                    _KEY,
                    upload_id,
                    picture,
                    len(picture),
                    ttl_ms,
                    int(now_s * 1e6),
                    self._max_uploads,
                    max(self._max_total_bytes, len(picture)),
                ],
            )
        return Upload(
            upload_id,
            picture,
            MEDIA_TYPES[header.format],
            header.width,
            header.height,
            datetime.fromtimestamp(now_s + self._ttl_s, UTC),
        )

    async def get(self, upload_id: str) -> bytes:
        """The picture file. Raises UploadNotFound for an unknown or expired id."""
        data: Any = None
        if _ID.fullmatch(upload_id):
            with broker_errors():
                data = await self._redis.get(_KEY + upload_id)
        if data is None:
            raise UploadNotFound(
                f"there is no upload {upload_id[:40]!r}: pictures are kept for {self._ttl_s / 60:.0f} minutes, and the "
                "oldest go first; send the picture again"
            )
        return bytes(data)
