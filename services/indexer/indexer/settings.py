"""What the indexer reads from its environment, beyond the settings every service shares."""

from __future__ import annotations

from pydantic import Field

from vitrine.settings import CommonSettings


class Settings(CommonSettings):
    """The indexer's settings."""

    index_batch: int = Field(default=64, ge=1, le=256, description="Pictures in one batch message")
    index_processes: int = Field(
        default=2, ge=1, le=64, description="Batches at work at once: one is read and written while another is embedded"
    )
    embed_patience_s: float = Field(
        default=10.0, ge=0, description="Seconds a batch waits for a busy embedder before it is set aside"
    )
    batch_max_deferrals: int = Field(
        default=60, ge=1, description="Times in a row a batch is set aside for a part that is away before the job fails"
    )
    poison_deaths: int = Field(
        default=3, ge=1, description="Times a batch may take its worker with it before it goes picture by picture"
    )
    verify_sample: int = Field(default=100, ge=50, le=1000, description="Products a new collection is checked with")
    verify_recall: float = Field(
        default=0.99, ge=0, le=1, description="Least recall@10 against exact search that a new collection must have"
    )
    keep_previous: int = Field(default=1, ge=1, description="Earlier collections kept for rollback")
    indexer_metrics_host: str = Field(default="127.0.0.1", description="Address the worker shows its metrics on")
    indexer_metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port of the worker's Prometheus metrics; 0: none"
    )
