"""Settings from environment variables that several services share. Each service adds its own in a subclass.
`docs/configuration.md` is generated from these classes.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from vitrine.errors import SettingsInvalid
from vitrine.images.checks import DEFAULT_LIMITS, ImageLimits
from vitrine.node_addresses import parse_nodes
from vitrine.parsing import message_of

EXIT_SETTINGS: Final = 2  # exit code of a service with invalid settings


class CommonSettings(BaseSettings):
    """Settings of all services."""

    model_config = SettingsConfigDict(env_prefix="VITRINE_", extra="ignore", frozen=True, populate_by_name=True)

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("VITRINE_REDIS_URL", "REDIS_URL"),
        description="Redis: job records and the Celery broker",
        repr=False,  # may contain a password
    )
    qdrant_url: str = Field(
        default="http://127.0.0.1:6333",
        validation_alias=AliasChoices("VITRINE_QDRANT_URL", "QDRANT_URL"),
        description=(
            "Qdrant's REST address; of a cluster the addresses of several nodes, separated by commas: the first that "
            "answers is used"
        ),
    )
    qdrant_grpc_port: int = Field(
        default=0, ge=0, le=65535, description="Qdrant's gRPC port, the same on every node; 0: REST alone"
    )
    qdrant_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("VITRINE_QDRANT_API_KEY", "QDRANT_API_KEY"),
        description="Qdrant's API key",
    )
    qdrant_timeout_s: int = Field(default=30, ge=1, description="Timeout of one Qdrant call, in seconds")
    embedder_url: str = Field(
        default="http://127.0.0.1:8001", description="The embedder, or the load balancer of several"
    )
    embedder_api_key: SecretStr | None = Field(
        default=None, description="Bearer token that the embedder requires of its callers; unset: none"
    )
    releases_url: str = Field(
        default="file:.vitrine/releases", description="The release store: an fsspec URL (file:, s3:)"
    )
    releases_cache_dir: Path = Field(
        default=Path(".vitrine/cache/releases"), description="Local copies of releases in remote storage"
    )
    uploads_dir: Path = Field(
        default=Path(".vitrine/uploads"), description="Pictures and attributes of products put through the API"
    )
    downloads_dir: Path = Field(
        default=Path(".vitrine/downloads"),
        description="Pictures that the indexer downloaded by their links",
    )
    disk_reserve_mb: int = Field(
        default=128,
        ge=0,
        description="Mebibytes to keep free on a disk: below, uploads and the local Qdrant refuse writes",
    )
    lower_priority: bool = Field(
        default=True,
        description="Whether `vitrine up` runs the indexer and the trainer at a lower CPU priority than searches",
    )
    catalog_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Folders in which catalogues may be, separated by ':'"
    )
    catalog_roots_file: Path | None = Field(
        default=None, description="A file with more such folders, one per line, read at each use"
    )
    max_pixels: int = Field(
        default=DEFAULT_LIMITS.max_pixels,
        ge=4_096,
        description="Maximum pixels of a picture, width times height; can only be lowered",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Minimum level of log records"
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="One JSON object per line, or text for people"
    )

    @property
    def image_limits(self) -> ImageLimits:
        return dataclasses.replace(DEFAULT_LIMITS, max_pixels=self.max_pixels)

    @field_validator("qdrant_url")
    @classmethod
    def _valid_nodes(cls, value: str) -> str:
        try:
            parse_nodes(value)
        except SettingsInvalid as error:
            raise ValueError(error.detail) from None
        return value

    @field_validator("max_pixels")
    @classmethod
    def _safe_to_decode(cls, value: int) -> int:
        if value > DEFAULT_LIMITS.max_pixels:
            raise ValueError(
                f"VITRINE_MAX_PIXELS can be at most {DEFAULT_LIMITS.max_pixels}: decode costs are not known above that"
            )
        return value

    @field_validator("catalog_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part) for part in value.split(":") if part)
        return value


class HttpSettings(CommonSettings):
    """Settings of both HTTP services."""

    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description=(
            "Names accepted in `Host` besides loopback names, separated by commas; none: any on a network address, "
            "only loopback names on loopback"
        ),
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose pages may call the service, e.g. https://shop.example, separated by commas",
    )
    drain_delay_s: float = Field(
        default=0.0, ge=0, description="Seconds between becoming unready and closing the listener at shutdown"
    )
    shutdown_grace_s: int = Field(default=20, ge=1, description="Seconds for running requests at shutdown")
    max_connections: int = Field(
        default=1024, ge=1, description="Maximum open connections; above, only health calls are answered"
    )
    max_connections_per_address: int = Field(
        default=0, ge=0, description="Maximum connections per address, except loopback and trusted proxies; 0: no limit"
    )
    reserved_connections: int = Field(default=32, ge=1, description="Additional connections for health calls")
    max_header_bytes: int = Field(
        default=32_768, ge=1_024, description="Maximum size of request line and headers; above: 431"
    )
    max_headers: int = Field(default=128, ge=16, description="Maximum number of headers of a request; above: 431")
    header_timeout_s: float = Field(default=10.0, gt=0, description="Timeout of a request's headers, in seconds")
    keep_alive_s: int = Field(
        # Longer than load balancers keep idle connections, so that they close them first.
        default=75,
        ge=1,
        description="Seconds to keep an idle connection",
    )
    body_grace_s: float = Field(
        default=10.0, gt=0, description="Seconds before the minimum rate of a request body applies"
    )
    body_min_bytes_per_s: int = Field(default=4_096, ge=1, description="Minimum rate of a request body after that")
    body_timeout_s: float = Field(default=120.0, gt=0, description="Timeout of a request body, in seconds")
    refusal_pause_s: float = Field(
        default=0.0, ge=0, le=10, description="Seconds for which a connection is not read after a 429 or 503"
    )
    max_held_body_bytes: int = Field(
        default=268_435_456, ge=1, description="Maximum bytes of all request bodies in memory; above: 503"
    )
    write_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds without progress after which a client that does not read its answer is disconnected",
    )

    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description=(
            "Addresses and networks of proxies whose `X-Forwarded-For`, `-Proto` and `-Prefix` are trusted, separated "
            "by commas; none: these headers are ignored"
        ),
    )

    @field_validator("allowed_hosts", "allowed_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(part, strict=False)) for part in value)


class WorkerSettings(CommonSettings):
    """Settings of both Celery workers."""

    outage_patience_s: float = Field(
        default=21_600.0, gt=0, description="Seconds to retry a job's step while a dependency is unavailable or busy"
    )
    step_max_tries: int = Field(
        default=20, ge=1, description="Maximum consecutive failures of a job's step while its dependencies work"
    )
    step_max_crashes: int = Field(
        default=3, ge=1, description="Maximum consecutive crashes of the worker in a job's step before the job fails"
    )


S = TypeVar("S", bound=BaseSettings)


def load_settings(kind: type[S]) -> S:
    """Read the settings of a service from the environment.

    Raises SettingsInvalid, which names the variables but not their values, because they may be secret.
    """
    try:
        return kind()
    except ValidationError as error:
        errors = "; ".join(f"{'.'.join(map(str, one['loc']))}: {message_of(one)}" for one in error.errors())
        raise SettingsInvalid(f"the settings are not valid: {errors}") from None
