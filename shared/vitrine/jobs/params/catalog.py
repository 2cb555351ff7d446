"""The base of all job parameters, and those of the jobs that change a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from vitrine.catalogs.registry import READERS, check_reader, reader_for
from vitrine.jobs.record import JobRecord
from vitrine.jobs.schedules import format_every, parse_every
from vitrine.parsing import parse_as
from vitrine.products import check_dataset_name, check_model_name, check_product_id

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
# A role may have several columns, separated by commas.
Column = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class JobParams(BaseModel):
    """Parameters of a job. Members that the model does not have are refused in a request and ignored in a record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, record: JobRecord) -> Self:
        """The parameters in a job's record. Raises ParameterInvalid, naming each field that is wrong."""
        known = {name: value for name, value in record.params.items() if name in cls.model_fields}
        return parse_as(cls, known, what="job")

    def as_record(self) -> dict[str, Any]:
        """The parameters as JSON, for the job's record. Defaults are written out."""
        return self.model_dump(mode="json")

    def release_ids(self) -> Iterator[str]:
        """The releases that must be stored before the job can start."""
        yield from ()


class CatalogParams(JobParams):
    """A catalogue on disk."""

    dataset: str = Field(min_length=1, max_length=120, description="The name its products go by")
    reader: str | None = Field(
        default=None,
        max_length=40,
        description=f"How the folder is laid out: {', '.join(READERS)}; by default the reader of the dataset's name",
    )
    root: str = Field(min_length=1, max_length=4096, description="The catalogue's folder, below an allowed root")
    limit: int | None = Field(default=None, ge=1, le=100_000_000, description="Read only the first N products")
    mapping: dict[Name, Column] | None = Field(
        default=None,
        max_length=256,
        description="The columns of the roles `id`, `picture` and `variantOf`, and of attributes by their name, such "
        'as `{"id": "Handle", "price": "Variant Price"}`; an index job takes by default those of the last indexing, '
        "other jobs the usual names; empty: the usual names",
    )

    @property
    def reader_name(self) -> str:
        """The reader, or the default for the dataset."""
        return reader_for(self.dataset) if self.reader is None else self.reader

    @field_validator("dataset")
    @classmethod
    def _dataset(cls, name: str) -> str:
        return check_dataset_name(name)

    @field_validator("reader")
    @classmethod
    def _reader(cls, name: str | None) -> str | None:
        return name if name is None else check_reader(name)


class IndexParams(CatalogParams):
    """Index a catalogue with a release. A record always names the release."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [{"dataset": "fashion-product", "root": "/data/fashion-product", "model": "mobilenetv2_100"}]
        },
    )

    model: str = Field(min_length=1, max_length=120, description="The model")
    release_id: str | None = Field(
        default=None, max_length=140, description="The release; by default the newest of the model"
    )
    allow_removal: bool = Field(
        default=False,
        alias="allowRemoval",
        description="Index even if more than a fifth of the products that are served would be removed",
    )

    download: bool = Field(
        default=False,
        description="Download pictures that are links and not in the folder, from the hosts that the indexer allows",
    )
    full: bool = Field(
        default=False,
        description="Read every picture, also those whose file has the size and the time of change that it had before",
    )
    every: str | None = Field(
        default=None,
        max_length=40,
        description="Index again and again at this interval (`30min`, `6h`, `1d`): kept as the dataset's schedule",
        examples=["6h"],
    )

    @field_validator("model")
    @classmethod
    def _model(cls, name: str) -> str:
        return check_model_name(name)

    @field_validator("every")
    @classmethod
    def _interval(cls, every: str | None) -> str | None:
        return every if every is None else format_every(parse_every(every))


class DeleteParams(JobParams):
    """Take a product out of every collection that serves its dataset."""

    dataset: str = Field(min_length=1, max_length=120)
    product_id: str = Field(min_length=1, max_length=200)

    @field_validator("dataset")
    @classmethod
    def _dataset(cls, name: str) -> str:
        return check_dataset_name(name)

    @field_validator("product_id")
    @classmethod
    def _product(cls, product_id: str) -> str:
        return check_product_id(product_id)


class UpsertParams(DeleteParams):
    """Store a product in every collection that serves its dataset. With `restore` a deletion is undone."""

    restore: bool = False

    def as_record(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_defaults=True)
