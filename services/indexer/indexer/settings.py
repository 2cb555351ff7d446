"""The indexer's settings, in addition to those of every worker."""

from __future__ import annotations

from pydantic import Field

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
    removal_max_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Largest share of the served products an indexing may remove without `allowRemoval`",
    )
    keep_previous: int = Field(default=1, ge=1, description="Earlier collections kept for rollback")
    indexer_metrics_host: str = Field(default="127.0.0.1", description="Address of the worker's Prometheus metrics")
    indexer_metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port of the worker's Prometheus metrics; 0: none"
    )
