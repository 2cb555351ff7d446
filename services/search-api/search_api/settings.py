"""The settings of the search API, beyond those of every service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from vitrine.errors import SettingsInvalid
from vitrine.qdrant.planner import DEFAULT_ACORN_EF, DEFAULT_EF, DEFAULT_EXACT_MAX_MATCHES
from vitrine.releases import PARSER_MODEL
from vitrine.settings import HttpSettings
from vitrine.web import is_loopback


class Settings(HttpSettings):
    """The search API's settings."""

    api_host: str = Field(default="127.0.0.1", description="Address the search API listens on")
    api_port: int = Field(default=8000, ge=0, le=65535, description="Port the search API listens on; 0: a free one")
    api_keys: SecretStr = Field(
        default=SecretStr(""),
        description="API keys as name:scope+scope:sha256hex, separated by commas; none: loopback only",
    )
    default_dataset: str | None = Field(
        default=None, description="The dataset of calls that name none; unset: the only one that is served"
    )
    max_body_bytes: int = Field(default=20_000_000, ge=1, description="Largest request body")
    max_connections_per_address: int = Field(
        default=256, ge=0, description="Connections of one address, loopback and trusted proxies excepted; 0: any"
    )
    refusal_pause_s: float = Field(
        default=0.5, ge=0, le=10, description="Seconds after a 429 or 503 in which the same connection is not read"
    )
    max_concurrent_requests: int = Field(
        default=512, ge=1, description="Requests at work at once; more are answered 503 with Retry-After"
    )
    request_timeout_s: float = Field(default=30.0, gt=0, description="Seconds a request may take")
    product_write_timeout_s: float = Field(
        default=30.0, gt=0, description="Seconds a product's put or delete waits for the indexer"
    )
    thumbnails_dir: Path = Field(
        default=Path(".vitrine/cache/thumbnails"), description="Thumbnails of products' pictures that are kept"
    )
    thumbnails_max_mb: int = Field(
        default=512, ge=0, description="Mebibytes of thumbnails kept, those asked for last; 0: none"
    )
    rate_limit_per_s: float = Field(default=0.0, ge=0, description="Requests a second from one key or address; 0: any")
    wrong_keys_per_minute: int = Field(
        default=30, ge=0, description="Wrong API keys from one address before it is answered 429; 0: any"
    )
    rate_limit_burst: int = Field(default=50, ge=1, description="Requests at once from one key or address")
    public_pages: bool = Field(
        default=False,
        description="Whether anybody may search and look at products without an API key, on the pages and by calls",
    )
    path_prefix: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description=(
            "Where a proxy puts the pages and calls, as /vitrine; it may leave the prefix on or take it off. A trusted "
            "proxy may send it instead, as `X-Forwarded-Prefix`"
        ),
    )
    recipes_dir: Path = Field(default=Path("recipes"), description="Recipe files that the training form offers")
    reports_dir: Path = Field(
        default=Path(".vitrine/reports"), description="Where the trainer keeps reports, so that pages can show them"
    )
    alias_ttl_s: float = Field(default=1.0, ge=0, description="Seconds the alias table is kept between requests")
    collection_ttl_s: float = Field(default=5.0, ge=0, description="Seconds a collection's description is kept")
    match_count_ttl_s: float = Field(default=60.0, ge=0, description="Seconds the count of a filter's matches is kept")
    exact_max_matches: int = Field(
        default=DEFAULT_EXACT_MAX_MATCHES,
        ge=0,
        description=(
            "Search exactly where at most so many products match a filter, with ACORN where more do. This and the two "
            "below apply to collections whose searches were not measured when they were published"
        ),
    )
    hnsw_ef: int = Field(default=DEFAULT_EF, ge=1, description="Width of the graph search's beam without a filter")
    acorn_ef: int = Field(default=DEFAULT_ACORN_EF, ge=1, description="Width of the beam with a filter")
    upload_ttl_s: float = Field(default=3600.0, ge=1, description="Seconds a query picture is kept")
    max_uploads: int = Field(default=2_000, ge=1, description="Query pictures kept at once; the oldest goes first")
    max_uploads_mb: int = Field(default=128, ge=1, description="Megabytes of query pictures kept in Redis at once")
    parser_model: str = Field(
        default=PARSER_MODEL, description="The model whose newest release finds the garments in photographs"
    )
    keep_faces_without_parser: bool = Field(
        default=False,
        description="Whether query pictures are kept, with people's faces, while no parser is there to blur them",
    )
    heartbeat_s: float = Field(default=15.0, gt=0, description="Seconds between comments on a quiet event stream")
    max_event_streams: int = Field(
        default=256, ge=1, description="Event streams open at once; more are answered 503 with Retry-After"
    )
    max_event_streams_per_caller: int = Field(
        default=64, ge=1, description="Event streams of one key or address; more are answered 429 with Retry-After"
    )
    max_exports: int = Field(
        default=8, ge=1, description="Exports of products under way at once; more are answered 503 with Retry-After"
    )
    max_exports_per_caller: int = Field(
        default=2, ge=1, description="Exports of one key or address; more are answered 429 with Retry-After"
    )
    event_stream_max_age_s: float = Field(
        default=3600.0, gt=0, description="Seconds after which an event stream ends and its client comes back"
    )


def check_exposure(settings: Settings) -> None:
    """Raise SettingsInvalid if the API would listen on the network without a configured key."""
    if settings.api_keys.get_secret_value().strip() or is_loopback(settings.api_host):
        return
    raise SettingsInvalid(
        f"no API key is configured, so the search API listens on loopback only, and {settings.api_host!r} is not: "
        "set VITRINE_API_KEYS (name:scope+scope:sha256hex) or VITRINE_API_HOST=127.0.0.1"
    )
