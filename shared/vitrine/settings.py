"""The settings every service shares, read from the environment. Each service adds its own in one subclass; the table in
`docs/configuration.md` lists them all, and a test holds the two together.
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

EXIT_SETTINGS: Final = 2  # the exit code of a service whose settings cannot work


class CommonSettings(BaseSettings):
    """Addresses and folders that more than one service needs."""

    model_config = SettingsConfigDict(env_prefix="VITRINE_", extra="ignore", frozen=True, populate_by_name=True)

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("VITRINE_REDIS_URL", "REDIS_URL"),
        description="Redis: job records and the Celery broker",
        repr=False,  # it may hold a password
    )
    qdrant_url: str = Field(
        default="http://127.0.0.1:6333",
        validation_alias=AliasChoices("VITRINE_QDRANT_URL", "QDRANT_URL"),
        description="Qdrant's REST address",
    )
    qdrant_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("VITRINE_QDRANT_API_KEY", "QDRANT_API_KEY"),
        description="Qdrant's API key",
    )
    qdrant_timeout_s: int = Field(default=30, ge=1, description="Seconds one Qdrant call may take")
    embedder_url: str = Field(
        default="http://127.0.0.1:8001", description="The embedder, or the balancer before several"
    )
    embedder_api_key: SecretStr | None = Field(
        default=None, description="What the embedder asks of its callers as a bearer token; unset: nothing"
    )
    releases_url: str = Field(
        default="file:.vitrine/releases", description="Where releases live: an fsspec URL (file:, s3:)"
    )
    releases_cache_dir: Path = Field(
        default=Path(".vitrine/cache/releases"), description="Local copies of releases kept on remote storage"
    )
    uploads_dir: Path = Field(
        default=Path(".vitrine/uploads"), description="Pictures and attributes of products put through the API"
    )
    disk_reserve_mb: int = Field(
        default=128, ge=0, description="Mebibytes left free on a disk: uploads and the local Qdrant refuse writes below"
    )
    catalog_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Folders that catalogues may lie under, separated by ':'"
    )
    catalog_roots_file: Path | None = Field(
        default=None, description="A file of further such folders, one a line, read anew at each use"
    )
    max_pixels: int = Field(
        default=DEFAULT_LIMITS.max_pixels,
        ge=4_096,
        description="Most pixels of a picture, width times height; it may be lowered and not raised",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged")
    log_format: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or text for people"
    )

    @property
    def image_limits(self) -> ImageLimits:
        """What a picture may measure."""
        return dataclasses.replace(DEFAULT_LIMITS, max_pixels=self.max_pixels)

    @field_validator("max_pixels")
    @classmethod
    def _safe_to_decode(cls, value: int) -> int:
        if value > DEFAULT_LIMITS.max_pixels:
            raise ValueError(
                f"VITRINE_MAX_PIXELS is at most {DEFAULT_LIMITS.max_pixels}: what decoding costs is known up to that"
            )
        return value

    @field_validator("catalog_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part) for part in value.split(":") if part)
        return value


class HttpSettings(CommonSettings):
    """What both HTTP services read beyond that."""

    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description=(
            "Names accepted in `Host` beside loopback ones, separated by commas; none: any on a network address, "
            "loopback names alone on loopback"
        ),
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Web sites whose pages may call the service, as https://shop.example, separated by commas",
    )
    drain_delay_s: float = Field(
        default=0.0, ge=0, description="Seconds between unreadiness and the end of listening when told to stop"
    )
    shutdown_grace_s: int = Field(default=20, ge=1, description="Seconds for the requests under way when told to stop")
    max_connections: int = Field(
        default=1024, ge=1, description="Connections open at once; beyond them only health calls are answered"
    )
    max_connections_per_address: int = Field(
        default=0, ge=0, description="Connections of one address, loopback and trusted proxies excepted; 0: any"
    )
    reserved_connections: int = Field(
        default=32, ge=1, description="Connections beyond the others that are left to health calls"
    )
    max_header_bytes: int = Field(
        default=32_768, ge=1_024, description="Largest request line and headers; more is answered 431"
    )
    max_headers: int = Field(default=128, ge=16, description="Most headers of a request; more are answered 431")
    header_timeout_s: float = Field(default=10.0, gt=0, description="Seconds in which a request's headers arrive")
    keep_alive_s: int = Field(
        # Longer than balancers keep idle connections, so that they are the ones to close.
        default=75,
        ge=1,
        description="Seconds an idle connection is kept",
    )
    body_grace_s: float = Field(default=10.0, gt=0, description="Seconds a request's body may take at any rate")
    body_min_bytes_per_s: int = Field(default=4_096, ge=1, description="Least rate at which a body arrives after that")
    body_timeout_s: float = Field(default=120.0, gt=0, description="Seconds a body may take in all")
    refusal_pause_s: float = Field(
        default=0.0, ge=0, le=10, description="Seconds after a 429 or 503 in which the same connection is not read"
    )
    max_held_body_bytes: int = Field(
        default=268_435_456, ge=1, description="Bytes that all request bodies together hold; more is answered 503"
    )
    write_timeout_s: float = Field(
        default=30.0, gt=0, description="Seconds in which a client takes none of its answer before it is dropped"
    )

    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description=(
            "Addresses and networks of the proxies whose `X-Forwarded-For` is believed, separated by commas; none: no "
            "forwarded address is believed"
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
    """What both Celery workers read beyond that."""

    outage_patience_s: float = Field(
        default=21_600.0, gt=0, description="Seconds a job's step is tried again while a part is away or busy"
    )
    step_max_tries: int = Field(
        default=20, ge=1, description="Times in a row a job's step may fail while the parts it needs work"
    )
    step_max_crashes: int = Field(
        default=3, ge=1, description="Times in a row a job's step may end its worker's process before the job fails"
    )


S = TypeVar("S", bound=BaseSettings)


def load_settings(kind: type[S]) -> S:
    """The settings of a service from the environment.

    Raises SettingsInvalid, which names the variables and leaves out their values: one of them may be a secret.
    """
    try:
        return kind()
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise SettingsInvalid(f"the settings are not valid: {faults}") from None
