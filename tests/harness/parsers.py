"""Releases of parsers of garments."""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.releases import store_of
from vitrine.garments import KIND_NAMES
from vitrine.releases import ParserManifest, ParserNetwork, Preprocessing, WeightsOrigin


def publish_unread_parser(releases: Path, model: str, *, weights: bytes = b"weights") -> str:
    """Store a parser whose weights are no weights, for tests that only list it or name it. Returns its id."""
    file = releases.parent / "parser-weights"
    file.write_bytes(weights)
    manifest = ParserManifest(
        model=model,
        network=ParserNetwork(timm_name="mobilenetv2_100", levels=(1, 2), channels=32),
        weights=WeightsOrigin(source="seed:0", sha256=hashlib.sha256(weights).hexdigest(), size_bytes=len(weights)),
        preprocessing=Preprocessing(
            input_px=96,
            resize_px=96,
            fit="pad",
            interpolation="bilinear",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            decode_rules_version=1,
        ),
        classes=KIND_NAMES,
    )
    return store_of(releases).publish(manifest, weights=file)
