"""The embedder's Prometheus metrics: queue depth, batch sizes, stage times, rejected pictures and refused calls."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from vitrine.telemetry import LATENCY_BUCKETS_S


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = Gauge(
            "vitrine_embedder_pictures_in_flight", "Pictures accepted and not yet answered", registry=registry
        )
        self.queue_depth = Gauge("vitrine_embedder_queue_depth", "Decoded pictures waiting", registry=registry)
        self.batch_size = Histogram(
            "vitrine_embedder_batch_size",
            "Pictures in one pass of the device",
            registry=registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
        )
        self.stage_s = Histogram(
            "vitrine_embedder_stage_seconds",
            "Seconds a picture (decode, masks, queue) or a batch (parse, device, reply) spends in a stage",
            ["stage"],
            registry=registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self.rejected = Counter(
            "vitrine_embedder_rejected_total", "Pictures without a vector, by reason", ["code"], registry=registry
        )
        self.refused = Counter(
            "vitrine_embedder_refused_total", "Calls refused before any work, by reason", ["code"], registry=registry
        )
        self.bisections = Counter(
            "vitrine_embedder_bisections_total", "Failed batches that were split", registry=registry
        )
        self.garments = Histogram(
            "vitrine_embedder_garments_found",
            "Garments that a parser found in a picture",
            registry=registry,
            buckets=(0, 1, 2, 3, 4, 6, 8),
        )
        self.loaded_bytes = Gauge("vitrine_embedder_releases_bytes", "Memory of loaded releases", registry=registry)
        self.loads = Counter("vitrine_embedder_release_loads_total", "Releases loaded", registry=registry)
