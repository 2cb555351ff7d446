"""Collections, points and aliases as Vitrine needs them, tested on the local Qdrant and on the real server."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from harness.circle import DIM, IDS, POINTS, field, must, payload, points, unit, vector
from harness.containers import QdrantBackend
from harness.waiting import HUNG_AFTER_S
from vitrine.products import AttributeKind as K
from vitrine.qdrant.aliases import servings, switch_alias
from vitrine.qdrant.client import create_collection, mark_ready, open_qdrant, read_metadata, version_notice
from vitrine.qdrant.naming import Serving, collection_name
from vitrine.qdrant.schema import CollectionMetadata


class TestCollections:
    def test_the_client_supports_the_servers_version(self, qdrant: QdrantClient) -> None:
        notice = version_notice(qdrant.info().version)
        assert notice is None or "not supported" not in notice

    def test_the_server_answers_readiness_and_liveness_checks(self, qdrant_backend: QdrantBackend) -> None:
        for path in ("/readyz", "/livez", "/healthz"):
            assert httpx.get(f"{qdrant_backend.url}{path}").status_code == 200

    def test_a_collection_describes_its_configuration_metadata_and_schema(
        self, qdrant: QdrantClient, collection: str
    ) -> None:
        info = qdrant.get_collection(collection)
        assert isinstance(info.config.params.vectors, models.VectorParams)
        assert info.config.params.vectors.size == DIM
        assert info.config.params.vectors.distance == models.Distance.COSINE
        assert info.config.metadata == {"vitrine": 1, "state": "building"}
        assert info.config.strict_mode_config is not None
        assert info.config.strict_mode_config.max_query_limit == 100
        assert info.points_count == POINTS
        assert info.status == models.CollectionStatus.GREEN
        assert info.optimizer_status == models.OptimizersStatusOneOf.OK
        assert {name: index.data_type.value for name, index in info.payload_schema.items()} == {
            "gender": "keyword", "season": "keyword", "tags": "keyword", "note": "keyword",
            "year": "integer", "price": "float", "sale": "bool", "added": "datetime", "paths_.category": "keyword",
            "größe": "keyword",
        }  # fmt: skip
        assert info.payload_schema["gender"].points == POINTS
        assert info.payload_schema["season"].points == 5

    def test_collections_are_listed_and_exist_until_they_are_deleted(self, qdrant: QdrantClient) -> None:
        name = f"contract.{uuid.uuid4().hex}"
        assert not qdrant.collection_exists(name)
        assert qdrant.create_collection(
            name, vectors_config=models.VectorParams(size=DIM, distance=models.Distance.DOT)
        )
        assert qdrant.collection_exists(name)
        assert name in [item.name for item in qdrant.get_collections().collections]
        assert qdrant.delete_collection(name)
        assert not qdrant.collection_exists(name)
        assert not qdrant.delete_collection(name)

    def test_a_name_can_be_used_once(self, qdrant: QdrantClient, empty: str) -> None:
        with pytest.raises(UnexpectedResponse, match="already exists") as refusal:
            qdrant.create_collection(
                empty, vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE)
            )
        assert refusal.value.status_code == 409

    def test_concurrent_creations_of_one_collection_all_succeed(
        self, qdrant_backend: QdrantBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = metadata(f"shop{uuid.uuid4().hex[:8]}", "0123456789")
        clients = [open_qdrant(qdrant_backend.url) for _ in range(4)]
        checked = threading.Barrier(len(clients))

        def create(client: QdrantClient) -> str:
            exists = client.collection_exists

            def seen_by_all(name: str) -> bool:
                """All clients check before the first one creates."""
                found = exists(name)
                checked.wait(HUNG_AFTER_S)
                return found

            monkeypatch.setattr(client, "collection_exists", seen_by_all)
            return create_collection(client, wanted, dim=DIM, kinds={"gender": K.KEYWORD, "year": K.INTEGER})

        with ThreadPoolExecutor(len(clients)) as threads:
            names = set(threads.map(create, clients))
        name = collection_name(wanted.dataset, wanted.release_id)
        try:
            assert names == {name}
            assert clients[0].get_collection(name).payload_schema.keys() >= {"product_id", "gender", "year"}
        finally:
            clients[0].delete_collection(name)
            for client in clients:
                client.close()

    @pytest.mark.parametrize("served", [True, False], ids=["one serves", "none serves"])
    @pytest.mark.parametrize("target", ["the same", "each its own"])
    def test_concurrent_switches_of_one_alias_both_succeed(
        self, qdrant_backend: QdrantBackend, monkeypatch: pytest.MonkeyPatch, served: bool, target: str
    ) -> None:
        dataset = f"shop{uuid.uuid4().hex[:8]}"
        clients = [open_qdrant(qdrant_backend.url) for _ in range(2)]
        wanted = [metadata(dataset, digest) for digest in ("0123456789", "1123456789", "2123456789")]
        names = [create_collection(clients[0], one, dim=DIM, kinds={}) for one in wanted]
        serving = [Serving(dataset, one.model, one.release_id, name) for one, name in zip(wanted, names, strict=True)]
        looked = threading.Barrier(len(clients))
        before = names[2] if served else None

        def switch(client: QdrantClient, to: Serving) -> str | None:
            aliases = client.get_aliases

            def seen_by_all() -> models.CollectionsAliasesResponse:
                """Both clients read before the first one switches."""
                found = aliases()
                looked.wait(HUNG_AFTER_S)
                return found

            monkeypatch.setattr(client, "get_aliases", seen_by_all)
            return switch_alias(client, to)

        try:
            if served:
                assert switch_alias(clients[0], serving[2]) is None
            wished = [serving[0], serving[0] if target == "the same" else serving[1]]
            with ThreadPoolExecutor(len(clients)) as threads:
                assert list(threads.map(switch, clients, wished)) == [before] * 2
            monkeypatch.undo()
            found = [one for one in servings(clients[0].get_aliases().aliases) if one.dataset == dataset]
            assert len(found) == 1
            assert found[0] in wished
        finally:
            for name in names:
                clients[0].delete_collection(name)
            for client in clients:
                client.close()

    def test_an_unknown_collection_is_not_found(self, qdrant: QdrantClient) -> None:
        for call in (
            lambda: qdrant.get_collection("nowhere"),
            lambda: qdrant.count("nowhere"),
            lambda: qdrant.query_points("nowhere", query=vector(0)),
            lambda: qdrant.upsert("nowhere", points=points()),
        ):
            with pytest.raises(UnexpectedResponse, match="Collection `nowhere` doesn") as refusal:
                call()
            assert refusal.value.status_code == 404

    def test_an_update_merges_metadata_and_strict_mode(self, qdrant: QdrantClient, empty: str) -> None:
        qdrant.update_collection(
            empty,
            metadata={"state": "ready", "expected": 3},
            strict_mode_config=models.StrictModeConfig(max_query_limit=7),
        )
        config = qdrant.get_collection(empty).config
        assert config.metadata == {"vitrine": 1, "state": "ready", "expected": 3}
        assert config.strict_mode_config is not None
        assert config.strict_mode_config.max_query_limit == 7
        assert config.strict_mode_config.unindexed_filtering_retrieve is False

    def test_a_payload_index_can_be_deleted(self, qdrant: QdrantClient, collection: str) -> None:
        qdrant.delete_payload_index(collection, "season", wait=True)
        assert "season" not in qdrant.get_collection(collection).payload_schema


class TestPoints:
    def test_vectors_are_returned_normalised_with_their_payload(self, qdrant: QdrantClient, collection: str) -> None:
        records = qdrant.retrieve(collection, [IDS[5], IDS[0], str(uuid.uuid4())], with_vectors=True)
        found = {str(record.id): record for record in records}
        assert found.keys() == {IDS[0], IDS[5]}
        assert found[IDS[0]].payload == payload(0)
        assert found[IDS[5]].vector == pytest.approx(unit(5), abs=1e-6)

    def test_only_the_requested_payload_is_sent(self, qdrant: QdrantClient, collection: str) -> None:
        assert qdrant.retrieve(collection, [IDS[0]], with_payload=["year"])[0].payload == {"year": 2000}
        bare = qdrant.retrieve(collection, [IDS[0]], with_payload=False)[0]
        assert not bare.payload
        assert bare.vector is None
        without = models.PayloadSelectorExclude(exclude=["year"])
        assert "year" not in (qdrant.retrieve(collection, [IDS[0]], with_payload=without)[0].payload or {})

    def test_an_upsert_replaces_the_whole_point(self, qdrant: QdrantClient, collection: str) -> None:
        qdrant.upsert(collection, [models.PointStruct(id=IDS[0], vector=vector(7), payload={"year": 1})], wait=True)
        record = qdrant.retrieve(collection, [IDS[0]], with_vectors=True)[0]
        assert record.payload == {"year": 1}
        assert record.vector == pytest.approx(unit(7), abs=1e-6)
        assert qdrant.count(collection).count == POINTS

    def test_a_batch_upsert_and_integer_ids(self, qdrant: QdrantClient, empty: str) -> None:
        batch = models.Batch(ids=[1, 2], vectors=[vector(1), vector(2)], payloads=[{"year": 1}, {"year": 2}])
        qdrant.upsert(empty, points=batch, wait=True)
        assert {record.id: record.payload for record in qdrant.retrieve(empty, [1, 2])} == {
            1: {"year": 1},
            2: {"year": 2},
        }

    def test_vectors_of_the_wrong_size_are_refused(self, qdrant: QdrantClient, collection: str) -> None:
        with pytest.raises(UnexpectedResponse, match="expected dim: 4, got 3") as refusal:
            qdrant.upsert(collection, [models.PointStruct(id=1, vector=[1.0, 2.0, 3.0])], wait=True)
        assert refusal.value.status_code == 400
        with pytest.raises(UnexpectedResponse, match="expected dim: 4, got 2") as refusal:
            qdrant.query_points(collection, query=[1.0, 2.0])
        assert refusal.value.status_code == 400
        assert qdrant.count(collection).count == POINTS

    def test_points_are_deleted_by_id_and_by_filter(self, qdrant: QdrantClient, collection: str) -> None:
        qdrant.delete(collection, [IDS[0], IDS[1], str(uuid.uuid4())], wait=True)
        assert qdrant.count(collection).count == POINTS - 2
        qdrant.delete(collection, must(field("gender", "Boys")), wait=True)
        assert qdrant.count(collection).count == POINTS - 2 - POINTS // 3

    def test_payload_is_set_overwritten_and_removed(self, qdrant: QdrantClient, collection: str) -> None:
        def now() -> object:
            return qdrant.retrieve(collection, [IDS[9]])[0].payload

        qdrant.set_payload(collection, {"year": 1999, "new": "x"}, points=[IDS[9]], wait=True)
        assert now() == {**payload(9), "year": 1999, "new": "x"}
        qdrant.delete_payload(collection, ["new"], points=[IDS[9]], wait=True)
        assert now() == {**payload(9), "year": 1999}
        qdrant.overwrite_payload(collection, {"year": 5}, points=[IDS[9]], wait=True)
        assert now() == {"year": 5}
        qdrant.set_payload(collection, {"year": 1}, points=must(field("gender", "Men")), wait=True)
        assert qdrant.count(collection, must(field("year", 1))).count == POINTS // 3 - (9 % 3 == 0)

    def test_a_scroll_returns_every_point_once(self, qdrant: QdrantClient, collection: str) -> None:
        met: list[str] = []
        offset = None
        while True:
            page, offset = qdrant.scroll(collection, limit=25, offset=offset)
            met += [str(record.id) for record in page]
            if offset is None:
                break
        assert met == sorted(IDS)


class TestAliases:
    def test_an_alias_resolves_to_its_collection_and_is_deleted_with_it(
        self, qdrant: QdrantClient, collection: str
    ) -> None:
        alias = f"alias.{uuid.uuid4().hex}"
        create = models.CreateAlias(collection_name=collection, alias_name=alias)
        qdrant.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
        assert qdrant.count(alias).count == POINTS
        description = models.AliasDescription(alias_name=alias, collection_name=collection)
        assert description in qdrant.get_aliases().aliases
        qdrant.delete_collection(collection)
        assert alias not in [known.alias_name for known in qdrant.get_aliases().aliases]

    def test_an_alias_of_an_unknown_collection_is_refused(self, qdrant: QdrantClient, collection: str) -> None:
        create = models.CreateAlias(collection_name="nowhere", alias_name=f"alias.{uuid.uuid4().hex}")
        with pytest.raises(UnexpectedResponse, match="Collection `nowhere` doesn") as refusal:
            qdrant.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
        assert refusal.value.status_code == 404

    def test_an_alias_may_not_have_a_collections_name(self, qdrant: QdrantClient, empty: str) -> None:
        create = models.CreateAlias(collection_name=empty, alias_name=empty)
        with pytest.raises(UnexpectedResponse):
            qdrant.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])

    def test_collections_are_created_filled_served_and_switched_back(self, qdrant: QdrantClient) -> None:
        dataset = f"shop{uuid.uuid4().hex[:8]}"
        first, second = (metadata(dataset, digest) for digest in ("0123456789", "abcdef0123"))
        for each in (first, second):
            name = create_collection(qdrant, each, dim=DIM, kinds={"gender": K.KEYWORD, "year": K.INTEGER})
            assert create_collection(qdrant, each, dim=DIM, kinds={"price": K.DECIMAL}) == name
            assert qdrant.get_collection(name).payload_schema.keys() >= {"product_id", "gender", "year", "price"}
            mark_ready(qdrant, each, expected=7)
            known = read_metadata(qdrant, name)
            assert known is not None
            assert (known.state, known.expected, known.dataset) == ("ready", 7, dataset)
        try:
            assert switch_alias(qdrant, serving(first)) is None
            assert switch_alias(qdrant, serving(second)) == serving(first).collection
            assert switch_alias(qdrant, serving(first)) == serving(second).collection
            now = [one for one in servings(qdrant.get_aliases().aliases) if one.dataset == dataset]
            assert now == [serving(first)]
        finally:
            for each in (first, second):
                qdrant.delete_collection(serving(each).collection)


def metadata(dataset: str, digest: str) -> CollectionMetadata:
    return CollectionMetadata(
        dataset=dataset, model="tiny", release_id=f"tiny-{digest}", catalog="folder", root="/shop", state="building"
    )


def serving(known: CollectionMetadata) -> Serving:
    name = collection_name(known.dataset, known.release_id)
    return Serving(dataset=known.dataset, model=known.model, release_id=known.release_id, collection=name)
