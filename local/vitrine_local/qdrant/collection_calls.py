"""The calls about collections, payload indexes and aliases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from pydantic import TypeAdapter
from qdrant_client.http import models

from vitrine_local.qdrant.collection import Change, Collection
from vitrine_local.qdrant.describe import describe
from vitrine_local.qdrant.endpoint import Call
from vitrine_local.qdrant.errors import Unsupported, WrongInput

_CREATE = TypeAdapter(models.CreateCollection)
_UPDATE = TypeAdapter(models.UpdateCollection)
_INDEX = TypeAdapter(models.CreateFieldIndex)
_ALIASES = TypeAdapter(models.ChangeAliasesOperation)
_INDEX_TYPES = frozenset({"keyword", "integer", "float", "bool", "uuid", "text"})
_PARAMS_TAKEN = {
    "keyword": (edge.KeywordIndexParams, frozenset({"is_tenant", "on_disk", "enable_hnsw"})),
    "integer": (edge.IntegerIndexParams, frozenset({"lookup", "range", "is_principal", "on_disk", "enable_hnsw"})),
    "float": (edge.FloatIndexParams, frozenset({"is_principal", "on_disk", "enable_hnsw"})),
    "bool": (edge.BoolIndexParams, frozenset({"on_disk", "enable_hnsw"})),
    "uuid": (edge.UuidIndexParams, frozenset({"is_tenant", "on_disk", "enable_hnsw"})),
}


async def list_collections(call: Call) -> Any:
    return {"collections": [{"name": collection.name} for collection in call.store.collections()]}


async def get_collection(call: Call) -> Any:
    return describe(call.store.get(call.name))


async def collection_exists(call: Call) -> Any:
    return {"exists": call.store.exists(call.name)}


async def create_collection(call: Call) -> Any:
    call.store.create(call.name, await call.written(_CREATE))
    return True


async def update_collection(call: Call) -> Any:
    await call.store.update(call.name, await call.written(_UPDATE))
    return True


async def delete_collection(call: Call) -> Any:
    return await call.store.delete(call.name)


async def create_index(call: Call) -> Any:
    request = await call.written(_INDEX)
    collection = call.store.get(call.name)
    schema = _index_schema(request.field_schema)

    def build() -> Change:
        known = collection.schema
        if request.field_name not in known:
            collection.strict_mode.check_index_count(len(known) + 1)
        return Change(edge.UpdateOperation.create_field_index(request.field_name, schema))

    return await _change_index(collection, build)


async def delete_index(call: Call) -> Any:
    field = str(call.request.path_params["field"])
    removal = Change(edge.UpdateOperation.delete_field_index(field))
    return await _change_index(call.store.get(call.name), lambda: removal)


async def list_aliases(call: Call) -> Any:
    return {"aliases": call.store.aliases()}


async def list_collection_aliases(call: Call) -> Any:
    return {"aliases": call.store.aliases(call.name)}


async def list_issues(call: Call) -> Any:
    """What is set aside because it was damaged, in the form of Qdrant's report of issues."""
    return {
        "issues": [
            {
                "id": f"DAMAGED/{Path(damage.folder).name}",
                "description": damage.description,
                "solution": {"refactor": damage.remedy},
                "timestamp": damage.at,
                "related_collection": damage.collection,
            }
            for damage in call.store.damages()
        ]
    }


async def change_aliases(call: Call) -> Any:
    call.store.change_aliases((await call.written(_ALIASES)).actions)
    return True


async def _change_index(collection: Collection, build: Callable[[], Change]) -> dict[str, Any]:
    number = await collection.write(build)
    collection.refresh_schema()
    return {"operation_id": number, "status": "completed"}


def _index_schema(wanted: models.PayloadFieldSchema | None) -> Any:
    """The index for the engine. Raises Unsupported for a type or option it is not told of."""
    if wanted is None:
        raise WrongInput("field_schema is required")
    name = wanted.value if isinstance(wanted, models.PayloadSchemaType) else str(wanted.type.value)
    if name not in _INDEX_TYPES:
        raise Unsupported(f"{name} indexes")
    if isinstance(wanted, models.PayloadSchemaType):
        return getattr(edge.PayloadSchemaType, name.capitalize())
    given = wanted.model_dump(exclude_none=True, exclude={"type"})
    if not given:
        return getattr(edge.PayloadSchemaType, name.capitalize())
    params, taken = _PARAMS_TAKEN.get(name, (None, frozenset[str]()))
    for option in sorted(given.keys() - taken):
        raise Unsupported(f"{name} index option {option}")
    assert params is not None  # every option of a type that is not listed was refused
    return params(**given)
