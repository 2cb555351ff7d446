"""The settings every service shares, read from the environment. Each service adds its own in one subclass; the table in
`docs/configuration.md` lists them all, and a test holds the two together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from vitrine.errors import SettingsInvalid

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
    releases_url: str = Field(
        default="file:.vitrine/releases", description="Where releases live: an fsspec URL (file:, s3:)"
    )
    releases_cache_dir: Path = Field(
        default=Path(".vitrine/cache/releases"), description="Local copies of releases kept on remote storage"
    )
    uploads_dir: Path = Field(
        default=Path(".vitrine/uploads"), description="Pictures and attributes of products put through the API"
    )
    catalog_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Folders that catalogues may lie under, separated by ':'"
    )
    catalog_roots_file: Path | None = Field(
        default=None, description="A file of further such folders, one a line, read anew at each use"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged")
    log_format: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or text for people"
    )

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

    @field_validator("allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value


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
