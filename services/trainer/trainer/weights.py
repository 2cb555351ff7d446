"""Checks which weights a job may use: timm's, random ones, or a file below an allowed folder."""

from __future__ import annotations

from pathlib import Path

from trainer.settings import Settings
from vitrine.catalogs.roots import allowed_roots
from vitrine.errors import WeightsUnusable
from vitrine.vision.backbones import PRETRAINED

_SEED_PREFIX = "seed:"


def checked_weights(weights: str, settings: Settings) -> str:
    """Return the argument of `load_backbone`; a path is resolved. Raises WeightsUnusable."""
    if weights == PRETRAINED or weights.startswith(_SEED_PREFIX):
        return weights
    path = Path(weights).resolve()
    allowed = [folder.resolve() for folder in allowed_roots(settings)]
    if settings.weights_dir is not None:
        allowed.append(settings.weights_dir.resolve())
    if not any(path.is_relative_to(folder) for folder in allowed):
        raise WeightsUnusable(
            f"the weights file {path.name!r} is outside VITRINE_WEIGHTS_DIR and the catalogue roots: move it there"
        )
    return str(path)
