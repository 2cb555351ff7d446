"""What the bodies of jobs share: a catalogue, releases that must be there, weights that can be meant."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from search_api.settings import Settings
from vitrine.catalogs.registry import READERS, reader_for
from vitrine.catalogs.roots import allowed_roots, resolve_catalog_root
from vitrine.errors import CatalogRootRefused, ParameterInvalid, ReleaseNotFound, WeightsUnusable
from vitrine.products import check_dataset_name
from vitrine.releases import ReleaseStore

PRETRAINED: Final = "pretrained"
_SEED: Final = re.compile(r"seed:[0-9]{1,9}")


class CatalogRequest(BaseModel):
    """Which catalogue a job reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(min_length=1, max_length=120, description="The name its products go by")
    reader: str | None = Field(
        default=None,
        max_length=40,
        description=f"How the folder is laid out: {', '.join(READERS)}; by default the reader of the dataset's name",
    )
    root: str = Field(min_length=1, max_length=4096, description="The catalogue's folder, below an allowed root")
    limit: int | None = Field(default=None, ge=1, le=100_000_000, description="Read only so many products")


async def catalog_params(body: CatalogRequest, settings: Settings) -> dict[str, Any]:
    """The parameters that name a catalogue. Raises ParameterInvalid, CatalogRootRefused and CatalogNotFound."""
    dataset = check_dataset_name(body.dataset)
    reader = body.reader if body.reader is not None else reader_for(dataset)
    if reader not in READERS:
        raise ParameterInvalid(f"there is no catalogue reader {reader[:80]!r}; there are {', '.join(READERS)}")
    root = await asyncio.to_thread(_resolved_root, body.root, settings)
    return {"dataset": dataset, "reader": reader, "root": str(root)}


def must_exist(release_id: str, releases: ReleaseStore) -> None:
    """Raise ReleaseNotFound where the release is not there."""
    if release_id not in releases.ids():
        raise ReleaseNotFound(f"there is no release {release_id[:140]!r}: GET /api/releases lists those there are")


def checked_weights(weights: str) -> str:
    """Return `weights` where they can be meant. Whether the file may be read is for the trainer, which reads it.

    Raises WeightsUnusable.
    """
    if weights == PRETRAINED or _SEED.fullmatch(weights):
        return weights
    path = Path(weights)
    if not path.is_absolute() or path.suffix != ".safetensors" or ".." in path.parts or "\0" in weights:
        raise WeightsUnusable("weights are 'pretrained', 'seed:N' or the absolute path of a .safetensors file")
    return weights


def _resolved_root(root: str, settings: Settings) -> Path:
    if not Path(root).is_absolute():
        raise CatalogRootRefused(f"the catalogue folder {root[:200]!r} is not an absolute path")
    return resolve_catalog_root(root, allowed_roots(settings))
