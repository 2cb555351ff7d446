"""The base classes of the models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A part of an answer. Members that this version does not know are kept, see `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, protected_namespaces=())


class AttributesModel(Model):
    """A part of an answer whose further members are the attributes of a product."""

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes by name."""
        return dict(self.model_extra or {})


class Parameters(BaseModel):
    """What a call takes. Only the members that are given are sent, so that the defaults of the server hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
