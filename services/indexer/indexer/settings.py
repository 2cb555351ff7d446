"""The indexer's settings, in addition to those of every worker."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from vitrine.images.checks import DEFAULT_LIMITS
from vitrine.qdrant.profiles import Layout, Profile
from vitrine.settings import WorkerSettings


class Settings(WorkerSettings):
    index_batch: int = Field(default=64, ge=1, le=256, description="Pictures in one batch message")
    index_processes: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Batches in parallel: one is read and written while another is embedded",
    )
    embed_patience_s: float = Field(
        default=10.0, ge=0, description="Seconds a batch waits for a busy embedder before it is deferred"
    )
    batch_max_crashes: int = Field(
        default=2, ge=1, description="Times a batch may crash the embedder or its worker before it is bisected"
    )
    quarantine_max: int = Field(
        default=20, ge=0, description="Pictures of one job that may crash a process before the job fails"
    )
    verify_sample: int = Field(default=100, ge=50, le=1000, description="Products a new collection is checked with")
    verify_recall: float = Field(
        default=0.99, ge=0, le=1, description="Least recall@10 against exact search that a new collection must have"
    )
    collection_profile: Profile = Field(
        default=Profile.EXACT,
        description=(
            "How a collection is stored: exact (vectors of full precision in memory), memory (quantized vectors in "
            "memory, originals on disk), disk (everything on disk). A change is applied by the next indexing"
        ),
    )
    collection_shards: int = Field(
        default=1, ge=1, le=256, description="Parts of a collection, for several nodes; the local Qdrant has one"
    )
    collection_replicas: int = Field(
        default=1, ge=1, le=16, description="Copies of each part, on different nodes; the local Qdrant has one"
    )
    removal_max_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Largest share of the served products an indexing may remove without `allowRemoval`",
    )
    download_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description=(
            "Hosts that pictures may be downloaded from (`vitrine index --download`), separated by commas: "
            "`cdn.example.com`, `*.example.com` for all below it, `example.com:8080` for another port; none: no "
            "downloads"
        ),
    )
    download_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Private networks that allowed hosts may be in, e.g. 10.1.2.0/24; none: public addresses only",
    )
    download_rate_per_s: float = Field(
        default=10.0, gt=0, description="Maximum downloads per second from one host, by all processes together"
    )
    download_timeout_s: float = Field(default=20.0, gt=0, le=60, description="Timeout of one download, in seconds")
    download_max_bytes: int = Field(
        default=DEFAULT_LIMITS.max_bytes,
        ge=1_024,
        le=DEFAULT_LIMITS.max_bytes,
        description="Maximum size of a download",
    )
    download_max_age_days: float = Field(
        default=7.0, ge=0, description="Days after which a downloaded picture is checked for changes"
    )
    keep_previous: int = Field(default=1, ge=1, description="Earlier collections kept for rollback")
    indexer_metrics_host: str = Field(default="127.0.0.1", description="Address of the worker's Prometheus metrics")
    indexer_metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port of the worker's Prometheus metrics; 0: none"
    )

    @property
    def layout(self) -> Layout:
        """How new collections are stored."""
        return Layout(self.collection_profile, self.collection_shards, self.collection_replicas)

    @field_validator("download_hosts", "download_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("download_networks")
    @classmethod
    def _valid_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(part, strict=False)) for part in value)
