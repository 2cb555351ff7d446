"""A gRPC server in front of a local Qdrant, for the calls that the tests make. It speaks Qdrant's protocol through the
client's own conversions, as the real server would.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from qdrant_client import grpc as messages
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http.exceptions import UnexpectedResponse

from vitrine.qdrant.client import open_qdrant

_CODES = {400: grpc.StatusCode.INVALID_ARGUMENT, 404: grpc.StatusCode.NOT_FOUND}


class GrpcGateway:
    """Serves `Query`, `Count`, `List` and `HealthCheck` on `port` of 127.0.0.1 or another loopback address."""

    def __init__(self, url: str, *, host: str, port: int) -> None:
        self.calls = 0
        self.keys: set[str] = set()
        self._client = open_qdrant(url)
        self._address = f"{host}:{port}"
        self.start()

    def start(self) -> None:
        """Start, or start again after `kill`."""
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        for service, methods in (
            (
                "qdrant.Points",
                {"Query": (messages.QueryPoints, self._query), "Count": (messages.CountPoints, self._count)},
            ),
            ("qdrant.Collections", {"List": (messages.ListCollectionsRequest, self._list)}),
            ("qdrant.Qdrant", {"HealthCheck": (messages.HealthCheckRequest, self._health)}),
        ):
            handlers = {name: self._handler(kind, answer) for name, (kind, answer) in methods.items()}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        assert self._server.add_insecure_port(self._address), f"{self._address} is taken"
        self._server.start()

    def kill(self) -> None:
        """End at once, also the calls under way."""
        self._server.stop(0).wait()

    def close(self) -> None:
        self.kill()
        self._client.close()

    def _handler(self, kind: Any, answer: Callable[[Any], Any]) -> grpc.RpcMethodHandler:
        def respond(request: Any, context: grpc.ServicerContext) -> Any:
            self.calls += 1
            self.keys |= {value for name, value in context.invocation_metadata() if name == "api-key"}
            try:
                return answer(request)
            except UnexpectedResponse as error:
                code = _CODES.get(error.status_code or 500, grpc.StatusCode.INTERNAL)
                context.abort(code, error.content.decode())

        return grpc.unary_unary_rpc_method_handler(
            respond,
            request_deserializer=kind.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _query(self, request: Any) -> Any:
        asked = GrpcToRest.convert_query_points(request)
        found = self._client.http.search_api.query_points(request.collection_name, query_request=asked).result
        assert found is not None
        return messages.QueryResponse(result=[RestToGrpc.convert_scored_point(point) for point in found.points])

    def _count(self, request: Any) -> Any:
        condition = GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None
        count = self._client.count(request.collection_name, condition, exact=True).count
        return messages.CountResponse(result=messages.CountResult(count=count))

    def _list(self, _: Any) -> Any:
        names = [one.name for one in self._client.get_collections().collections]
        return messages.ListCollectionsResponse(
            collections=[messages.CollectionDescription(name=name) for name in names]
        )

    def _health(self, _: Any) -> Any:
        info = self._client.info()
        return messages.HealthCheckReply(title=info.title, version=info.version)
