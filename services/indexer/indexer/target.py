"""What an indexing job works on: its parameters, typed, and the collection they name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vitrine.collections import CollectionMetadata, Serving, collection_name
from vitrine.jobs import JobRecord


@dataclass(frozen=True, slots=True)
class Target:
    """The parameters of an indexing job."""

    job_id: str
    dataset: str
    reader: str
    root: Path
    model: str
    release_id: str
    limit: int | None

    @classmethod
    def of(cls, record: JobRecord) -> Target:
        params = record.params
        return cls(
            job_id=record.id,
            dataset=params["dataset"],
            reader=params["reader"],
            root=Path(params["root"]),
            model=params["model"],
            release_id=params["release_id"],
            limit=params.get("limit"),
        )

    @property
    def collection(self) -> str:
        return collection_name(self.dataset, self.release_id)

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
