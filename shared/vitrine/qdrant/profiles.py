"""Storage profiles of a collection: what is kept in memory, and how the search graph is built.

    exact   vectors of full precision in memory; the default, for catalogues up to a few hundred thousand products
    memory  quantized vectors (int8) and the graph in memory, a quarter of the vectors' bytes; originals on disk
    disk    everything on disk, and what is read often in the page cache: quantized vectors of 4 bits, graph, indexes

With quantized vectors a search takes three times as many candidates as it needs and scores these again by the
originals, which finds as much as full precision does. A layout is set when a collection is made. If it changes, the
next indexing builds a new generation of the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from qdrant_client import models

# Without more candidates than needed, recall falls to about 0.9 with int8.
OVERSAMPLING: Final = 3.0
# Qdrant gives a value links of its own only where the graph among its points would fall apart without them. With fewer
# links in the whole graph more values get their own, which filters need more than searches without one do.
_FEWER_LINKS: Final = 10
_LINKS_OF_VALUES: Final = 16
_EF_CONSTRUCT: Final = 200
# The graph is built by the sum over a product's pictures, and searched by the best one. More links make up for that.
_SEVERAL_PICTURES_LINKS: Final = 32

_ON_DISK_INDEXES: Final[Mapping[models.PayloadSchemaType, models.PayloadSchemaParams]] = {
    models.PayloadSchemaType.KEYWORD: models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, on_disk=True),
    models.PayloadSchemaType.INTEGER: models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, on_disk=True),
    models.PayloadSchemaType.FLOAT: models.FloatIndexParams(type=models.FloatIndexType.FLOAT, on_disk=True),
    models.PayloadSchemaType.DATETIME: models.DatetimeIndexParams(type=models.DatetimeIndexType.DATETIME, on_disk=True),
}


class Profile(StrEnum):
    """Where the parts of a collection are kept."""

    EXACT = "exact"
    MEMORY = "memory"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a collection is stored. `shards` are its parts on different nodes, `replicas` the copies of each."""

    profile: Profile = Profile.EXACT
    shards: int = 1
    replicas: int = 1

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Layout:
        """The layout in a collection's metadata; the default one for collections of older versions."""
        profile = stored.get("profile", Profile.EXACT)
        known = Profile(profile) if profile in list(Profile) else Profile.EXACT
        return cls(known, int(stored.get("shards", 1)), int(stored.get("replicas", 1)))

    def as_dict(self) -> dict[str, Any]:
        """What `of` reads."""
        return {"profile": str(self.profile), "shards": self.shards, "replicas": self.replicas}

    def index_schema(self, kind: models.PayloadSchemaType) -> models.PayloadFieldSchema:
        """The payload index of a field, on disk if the profile says so. Indexes of booleans are small."""
        on_disk = _ON_DISK_INDEXES.get(kind) if self.profile is Profile.DISK else None
        return kind if on_disk is None else on_disk

    def options(self, *, dim: int, several_pictures: bool) -> dict[str, Any]:
        """The arguments of `create_collection`. `dim` is the number of components of a vector."""
        several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        quantized = self.profile is not Profile.EXACT
        options: dict[str, Any] = {
            "vectors_config": models.VectorParams(
                size=dim,
                distance=models.Distance.COSINE,
                on_disk=True if quantized else None,
                multivector_config=several if several_pictures else None,
            ),
            "hnsw_config": self._graph(several_pictures=several_pictures),
            "quantization_config": self._quantization(),
            "on_disk_payload": True if quantized else None,
        }
        # Left out if there is one, so that a server's own default holds.
        if self.shards > 1:
            options["shard_number"] = self.shards
        if self.replicas > 1:
            options["replication_factor"] = self.replicas
        return options

    def _graph(self, *, several_pictures: bool) -> models.HnswConfigDiff | None:
        if several_pictures:
            graph = models.HnswConfigDiff(m=_SEVERAL_PICTURES_LINKS, ef_construct=_EF_CONSTRUCT)
        elif self.profile is Profile.EXACT:
            return None
        else:
            graph = models.HnswConfigDiff(m=_FEWER_LINKS, payload_m=_LINKS_OF_VALUES, ef_construct=_EF_CONSTRUCT)
        return graph.model_copy(update={"on_disk": True}) if self.profile is Profile.DISK else graph

    def _quantization(self) -> models.QuantizationConfig | None:
        match self.profile:
            case Profile.EXACT:
                return None
            case Profile.MEMORY:
                int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
                return models.ScalarQuantization(scalar=int8)
            case Profile.DISK:
                turbo = models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4, always_ram=False)
                return models.TurboQuantization(turbo=turbo)


DEFAULT_LAYOUT: Final = Layout()
