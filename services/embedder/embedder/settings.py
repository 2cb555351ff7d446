"""The embedder's settings, in addition to those of every HTTP service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vitrine.releases import PARSER_MODEL
from vitrine.settings import HttpSettings


class Settings(HttpSettings):
    """Where the description says so, 0 means a value that fits the device."""

    embedder_host: str = Field(default="127.0.0.1", description="Address the embedder listens on")
    embedder_port: int = Field(default=8001, ge=0, le=65535, description="Port the embedder listens on; 0: a free one")
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Precision of the network; auto: bfloat16 where the hardware multiplies it"
    )
    max_batch: int = Field(
        default=0, ge=0, le=1024, description="Pictures in one pass of the device; 0: 4 on a CPU, 64 on a GPU"
    )
    max_wait_ms: float = Field(
        default=2.0, ge=0, le=1000, description="Longest wait for pictures still being decoded before a batch closes"
    )
    decode_threads: int = Field(default=0, ge=0, le=256, description="Decoding threads; 0: one a core")
    queue_max_pictures: int = Field(
        default=512, ge=1, description="Pictures admitted and not yet answered; more are answered 503 with Retry-After"
    )
    queue_max_delay_s: float = Field(
        default=2.0,
        gt=0,
        description="An interactive call whose turn would come later is answered 503 at once",
    )
    heavy_calls: int = Field(
        default=4,
        ge=1,
        description=(
            "Concurrent calls with several views, an explanation or a very large picture; one caller may have half "
            "of them"
        ),
    )
    decode_bytes: int = Field(
        default=268_000_000, ge=1, description="Memory for decoding large pictures at the same time; others wait"
    )
    regions_bytes: int = Field(
        default=268_000_000,
        ge=1,
        description=(
            "Memory for pictures whose garments are being looked for, which are kept between the steps; a call beyond "
            "it is answered 503 with Retry-After"
        ),
    )
    releases_max_bytes: int = Field(
        default=4_000_000_000, ge=1, description="Memory for loaded releases; the least recently used are unloaded"
    )
    preload: str = Field(default="", description="Releases to load at start, separated by commas")
    parser_model: str = Field(
        default=PARSER_MODEL,
        description="The model whose newest release is loaded in the background at start, to find garments at once",
    )
    max_request_bytes: int = Field(default=128_000_000, ge=1, description="Largest request body, a whole batch")
    max_requests: int = Field(default=1024, ge=1, description="Concurrent requests")
    embed_timeout_s: float = Field(
        default=120.0, gt=0, description="Seconds a request may take, with the loading of its release"
    )
    self_check_interval_s: float = Field(
        default=5.0, gt=0, description="Seconds without a successful inference after which readiness runs one"
    )
