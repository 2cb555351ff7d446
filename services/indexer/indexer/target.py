"""What an indexing job works on: its parameters, typed, and the collection they name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vitrine.errors import ParameterInvalid
from vitrine.jobs import JobRecord
from vitrine.jobs.params.catalog import IndexParams
from vitrine.qdrant.collections import CollectionMetadata, Serving, collection_name


@dataclass(frozen=True, slots=True)
class Target:
    """The parameters of an indexing job. `source` is the collection of the same release whose vectors are taken over,
    where that is not the one it fills.
    """

    job_id: str
    dataset: str
    reader: str
    root: Path
    model: str
    release_id: str
    limit: int | None
    allow_removal: bool = False
    placed_in: str | None = None
    source: str | None = None

    @classmethod
    def of(cls, record: JobRecord) -> Target:
        """The target of a job. Raises ParameterInvalid if its parameters are not valid."""
        params = IndexParams.of(record)
        if params.release_id is None:
            raise ParameterInvalid(f"the index job {record.id} names no release")
        return cls(
            job_id=record.id,
            dataset=params.dataset,
            reader=params.reader_name,
            root=Path(params.root),
            model=params.model,
            release_id=params.release_id,
            limit=params.limit,
            allow_removal=params.allow_removal,
            placed_in=record.params.get("collection"),
            source=record.params.get("source_collection"),
        )

    @property
    def is_placed(self) -> bool:
        """Whether it is decided which collection the job fills."""
        return self.placed_in is not None

    @property
    def collection(self) -> str:
        """The collection the job fills: the first generation's until it is decided."""
        return self.placed_in or collection_name(self.dataset, self.release_id)

    @property
    def serving(self) -> Serving:
        return Serving(self.dataset, self.model, self.release_id, self.collection)

    @property
    def metadata(self) -> CollectionMetadata:
        return CollectionMetadata(
            dataset=self.dataset,
            model=self.model,
            release_id=self.release_id,
            catalog=self.reader,
            root=str(self.root),
            state="building",
        )
