"""The calls that search: one query, several, and by groups."""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge
from pydantic import TypeAdapter
from qdrant_client.http import models

from vitrine_local.qdrant.collection import Collection
from vitrine_local.qdrant.endpoint import Call
from vitrine_local.qdrant.groups import GroupSearch
from vitrine_local.qdrant.point_calls import record_answer
from vitrine_local.qdrant.queries import search

_QUERY = TypeAdapter(models.QueryRequest)
_QUERIES = TypeAdapter(models.QueryRequestBatch)
_GROUPS = TypeAdapter(models.QueryGroupsRequest)


async def query_points(call: Call) -> Any:
    request = await call.body(_QUERY)
    return _answer(call.store.get(call.name), request)


async def query_batch(call: Call) -> Any:
    request = await call.body(_QUERIES)
    collection = call.store.get(call.name)
    collection.strict_mode.check_batch(len(request.searches))
    return [_answer(collection, each) for each in request.searches]


async def query_groups(call: Call) -> Any:
    request = await call.body(_GROUPS)
    grouped = GroupSearch(call.store.get(call.name), request)
    groups = grouped.run()
    records = grouped.records(groups)
    return {
        "groups": [
            {
                "id": key,
                "hits": [
                    {**record_answer(records[hit.id]), "version": hit.version, "score": hit.score} for hit in hits
                ],
            }
            for key, hits in groups
        ]
    }


def _answer(collection: Collection, request: models.QueryRequest) -> dict[str, Any]:
    return {"points": [_scored(hit, vectors=bool(request.with_vector)) for hit in search(collection, request)]}


def _scored(hit: edge.ScoredPoint, *, vectors: bool) -> dict[str, Any]:
    answer = {**record_answer(hit), "version": hit.version, "score": hit.score}
    if not vectors:  # a diverse search brings them along unasked
        answer.pop("vector", None)
    return answer
