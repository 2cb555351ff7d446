"""Filters and searches that Vitrine needs, tested on the local Qdrant and on the real server."""

from __future__ import annotations

import asyncio
import math
import sys
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from harness.circle import DATED, IDS, POINTS, field, must, number_of, payload, unit, vector
from harness.containers import QdrantBackend
from vitrine.qdrant.client import open_async_qdrant

EMPTY_DATE = models.IsEmptyCondition(is_empty=models.PayloadField(key="added"))
EXACT = models.SearchParams(exact=True)


def day(number: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


class TestFilters:
    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            (must(field("gender", "Men")), [n for n in range(POINTS) if n % 3 == 0]),
            (must(field("year", 2004)), [n for n in range(POINTS) if n % 10 == 4]),
            (must(field("sale", True)), [n for n in range(POINTS) if n % 2 == 0]),
            (must(field("tags", "odd")), [n for n in range(POINTS) if n % 2 == 1]),
            (must(field("sale", False)), [n for n in range(POINTS) if n % 2 == 1]),
            (must(field("paths_.category", "All > Women")), [n for n in range(POINTS) if n % 3 == 1]),
            (must(field("größe", "M")), list(range(DATED))),
            (must(models.FieldCondition(key="added", range=models.DatetimeRange(gte=day(3), lt=day(6)))), [3, 4, 5]),
            (must(models.FieldCondition(key="added", range=models.DatetimeRange(gt=day(27)))), [28, 29]),
            (must(models.FieldCondition(key="added", range=models.DatetimeRange(lte=day(2)))), [0, 1]),
            (must(EMPTY_DATE), list(range(DATED, POINTS))),
            (models.Filter(must_not=[EMPTY_DATE], must=[field("sale", True)]), list(range(0, DATED, 2))),
            (
                must(models.FieldCondition(key="gender", match=models.MatchAny(any=["Men", "Boys"]))),
                [n for n in range(POINTS) if n % 3 != 1],
            ),
            (
                must(models.FieldCondition(key="year", match=models.MatchExcept(**{"except": [2000, 2001]}))),
                [n for n in range(POINTS) if n % 10 > 1],
            ),
            (
                must(models.FieldCondition(key="price", range=models.Range(gt=2.0, lte=4.0))),
                [5, 6, 7, 8],
            ),
            (must(models.HasIdCondition(has_id=[IDS[3], IDS[8]])), [3, 8]),
            (
                models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key="season"))]),
                list(range(5)),
            ),
            (must(models.IsNullCondition(is_null=models.PayloadField(key="note"))), [0]),
            (
                models.Filter(
                    must=[models.Filter(should=[field("season", "Summer"), field("year", 2009)])],
                    must_not=[field("gender", "Men")],
                ),
                [n for n in range(POINTS) if (n < 5 or n % 10 == 9) and n % 3 != 0],
            ),
            (
                models.Filter(
                    min_should=models.MinShould(
                        conditions=[field("season", "Summer"), field("gender", "Men"), field("sale", True)],
                        min_count=3,
                    )
                ),
                [0],
            ),
        ],
    )
    def test_a_filter_selects_the_matching_points(
        self, qdrant: QdrantClient, collection: str, condition: models.Filter, expected: list[int]
    ) -> None:
        assert matching(qdrant, collection, condition) == expected
        assert qdrant.count(collection, condition, exact=True).count == len(expected)

    @pytest.mark.parametrize(
        "condition",
        [
            models.Filter(should=[field("secret", 1)]),
            models.IsNullCondition(is_null=models.PayloadField(key="secret")),
            models.IsEmptyCondition(is_empty=models.PayloadField(key="secret")),
        ],
        ids=["value", "is_null", "is_empty"],
    )
    def test_a_filter_on_a_field_without_an_index_is_refused(
        self, qdrant: QdrantClient, collection: str, condition: models.Condition
    ) -> None:
        unindexed = must(condition)
        for call in (
            lambda: qdrant.query_points(collection, query=vector(0), query_filter=unindexed),
            lambda: qdrant.count(collection, unindexed),
            lambda: qdrant.scroll(collection, unindexed),
            lambda: qdrant.facet(collection, "gender", facet_filter=unindexed),
        ):
            with pytest.raises(UnexpectedResponse, match="Index required but not found") as refusal:
                call()
            assert refusal.value.status_code == 400

    def test_limits_of_strict_mode_are_enforced(self, qdrant: QdrantClient, collection: str) -> None:
        for call in (
            lambda: qdrant.query_points(collection, query=vector(0), limit=101),
            lambda: qdrant.scroll(collection, limit=101),
            lambda: qdrant.count(collection, must(*(field("year", n) for n in range(11)))),
        ):
            with pytest.raises(UnexpectedResponse) as refusal:
                call()
            assert refusal.value.status_code == 400

    def test_facets_count_the_values(self, qdrant: QdrantClient, collection: str) -> None:
        hits = qdrant.facet(collection, "gender", exact=True, facet_filter=must(field("season", "Summer"))).hits
        assert {hit.value: hit.count for hit in hits} == {"Men": 2, "Women": 2, "Boys": 1}
        assert [hit.count for hit in qdrant.facet(collection, "year", exact=True, limit=3).hits] == [6, 6, 6]
        with pytest.raises(UnexpectedResponse) as refusal:
            qdrant.facet(collection, "secret", exact=True)
        assert refusal.value.status_code == 400


class TestScrolling:
    """Requirements of the product list."""

    def test_facets_count_booleans_and_the_levels_of_paths(self, qdrant: QdrantClient, collection: str) -> None:
        sale = qdrant.facet(collection, "sale", facet_filter=must(field("gender", "Men")), exact=True)
        assert {hit.value: hit.count for hit in sale.hits} == {True: 10, False: 10}
        levels = qdrant.facet(collection, "paths_.category", exact=True)
        counts = {hit.value: hit.count for hit in levels.hits}
        assert counts == {"All": POINTS, "All > Men": 20, "All > Women": 20, "All > Boys": 20}

    @pytest.mark.parametrize("key", ["added", "price"])
    def test_facets_of_dates_and_decimals_are_refused(self, qdrant: QdrantClient, collection: str, key: str) -> None:
        with pytest.raises(UnexpectedResponse) as refusal:
            qdrant.facet(collection, key, exact=True)
        assert refusal.value.status_code == 400

    def test_points_come_in_the_order_of_a_date_in_microseconds(self, qdrant: QdrantClient, collection: str) -> None:
        first, _ = qdrant.scroll(collection, limit=4, order_by="added")
        assert [number_of(record.id) for record in first] == [0, 1, 2, 3]
        assert first[2].order_value == (day(2).timestamp() + 8 * 3600) * 1_000_000
        order = models.OrderBy(key="added", direction=models.Direction.DESC, start_from=day(20))
        last, _ = qdrant.scroll(collection, limit=2, order_by=order)
        assert [number_of(record.id) for record in last] == [19, 18], "20 is later on its day"

    def test_a_scroll_returns_points_in_the_order_of_their_ids_page_by_page(
        self, qdrant: QdrantClient, collection: str
    ) -> None:
        found: list[str] = []
        offset: models.ExtendedPointId | None = None
        while True:
            records, offset = qdrant.scroll(collection, limit=25, offset=offset)
            found += [str(record.id) for record in records]
            if offset is None:
                break
        assert found == sorted(IDS)
        rest, _ = qdrant.scroll(collection, limit=100, offset="00000000-0000-0000-0000-000000000000")
        assert [str(record.id) for record in rest] == sorted(IDS)

    @pytest.mark.parametrize("direction", list(models.Direction))
    @pytest.mark.parametrize("key", ["year", "price"])
    def test_points_come_in_the_order_of_a_number_with_its_value(
        self, qdrant: QdrantClient, collection: str, key: str, direction: models.Direction
    ) -> None:
        order = models.OrderBy(key=key, direction=direction)
        records, following = qdrant.scroll(collection, limit=45, order_by=order)
        values = [(record.payload or {})[key] for record in records]
        expected = sorted((payload(n)[key] for n in range(POINTS)), key=float, reverse=direction == "desc")  # type: ignore[arg-type]
        assert values == expected[:45]
        assert [record.order_value for record in records] == values
        assert following is None

    def test_an_order_can_start_after_a_value_and_be_filtered(self, qdrant: QdrantClient, collection: str) -> None:
        beyond = models.FieldCondition(key="year", range=models.Range(lt=2004))
        order = models.OrderBy(key="year", direction=models.Direction.DESC)
        records, _ = qdrant.scroll(
            collection, limit=5, scroll_filter=must(beyond, field("gender", "Men")), order_by=order
        )
        numbers = [number_of(record.id) for record in records]
        assert {payload(n)["gender"] for n in numbers} == {"Men"}
        assert [payload(n)["year"] for n in numbers] == [2003, 2003, 2002, 2002, 2001]
        started, _ = qdrant.scroll(collection, limit=1, order_by=models.OrderBy(key="year", start_from=2007))
        assert started[0].order_value == 2007

    def test_points_without_a_number_can_be_selected(self, qdrant: QdrantClient, collection: str) -> None:
        qdrant.delete_payload(collection, ["year"], points=[IDS[3]], wait=True)
        qdrant.set_payload(collection, {"year": "unknown"}, points=[IDS[4]], wait=True)
        ordered, _ = qdrant.scroll(collection, limit=100, order_by="year")
        assert len(ordered) == POINTS - 2
        any_number = models.FieldCondition(key="year", range=models.Range(gte=-sys.float_info.max))
        others, _ = qdrant.scroll(collection, limit=100, scroll_filter=models.Filter(must_not=[any_number]))
        assert {number_of(record.id) for record in others} == {3, 4}

    def test_an_order_by_text_or_with_an_offset_is_refused(self, qdrant: QdrantClient, collection: str) -> None:
        with pytest.raises(UnexpectedResponse, match="No range index"):
            qdrant.scroll(collection, limit=5, order_by="gender")
        with pytest.raises(UnexpectedResponse, match="not supported when ordering"):
            qdrant.scroll(collection, limit=5, order_by="year", offset=IDS[0])


class TestSearch:
    def test_the_nearest_points_come_first_with_their_cosine(self, qdrant: QdrantClient, collection: str) -> None:
        answer = qdrant.query_points(collection, query=vector(10.2), limit=3, search_params=EXACT, with_payload=False)
        assert numbers(answer) == [10, 11, 9]
        assert answer.points[0].score == pytest.approx(math.cos(2 * math.pi * 0.2 / POINTS), abs=1e-5)
        assert answer.points[0].payload is None
        assert answer.points[0].vector is None

    def test_payload_and_vectors_are_sent_on_request(self, qdrant: QdrantClient, collection: str) -> None:
        best = qdrant.query_points(
            collection, query=vector(4), limit=1, with_payload=["year"], with_vectors=True
        ).points[0]
        assert best.payload == {"year": 2004}
        assert best.vector == pytest.approx(unit(4), abs=1e-6)

    def test_an_offset_pages_through_the_answer(self, qdrant: QdrantClient, collection: str) -> None:
        whole = numbers(qdrant.query_points(collection, query=vector(10.2), limit=9, search_params=EXACT))
        paged = numbers(qdrant.query_points(collection, query=vector(10.2), limit=6, offset=3, search_params=EXACT))
        assert paged == whole[3:]

    def test_a_score_threshold_cuts_the_answer(self, qdrant: QdrantClient, collection: str) -> None:
        least = math.cos(2 * math.pi * 2.5 / POINTS)
        answer = qdrant.query_points(collection, query=vector(10), limit=50, score_threshold=least)
        assert sorted(numbers(answer)) == [8, 9, 10, 11, 12]

    @pytest.mark.parametrize(
        "params",
        [
            models.SearchParams(exact=True),
            models.SearchParams(hnsw_ef=64),
            models.SearchParams(hnsw_ef=64, acorn=models.AcornSearchParams(enable=True, max_selectivity=1.0)),
        ],
        ids=["exact", "ef", "acorn"],
    )
    def test_a_filtered_search_finds_the_nearest_that_match(
        self, qdrant: QdrantClient, collection: str, params: models.SearchParams
    ) -> None:
        answer = qdrant.query_points(
            collection, query=vector(10.2), query_filter=must(field("gender", "Men")), limit=3, search_params=params
        )
        assert numbers(answer) == [9, 12, 6]

    def test_a_search_by_id_leaves_the_point_out(self, qdrant: QdrantClient, collection: str) -> None:
        answer = qdrant.query_points(collection, query=IDS[10], limit=2, search_params=EXACT)
        assert sorted(numbers(answer)) == [9, 11]
        with pytest.raises(UnexpectedResponse, match="No point with id") as refusal:
            qdrant.query_points(collection, query=str(uuid.uuid4()), limit=2)
        assert refusal.value.status_code == 404

    def test_the_average_of_examples_finds_points_between_them(self, qdrant: QdrantClient, collection: str) -> None:
        recommend = models.RecommendInput(positive=[IDS[10], IDS[14]])
        answer = qdrant.query_points(collection, query=models.RecommendQuery(recommend=recommend), limit=3)
        assert numbers(answer)[0] == 12
        assert sorted(numbers(answer)) == [11, 12, 13]

    def test_a_negative_example_pushes_away(self, qdrant: QdrantClient, collection: str) -> None:
        recommend = models.RecommendInput(positive=[vector(10)], negative=[IDS[14]])
        answer = qdrant.query_points(collection, query=models.RecommendQuery(recommend=recommend), limit=1)
        assert numbers(answer)[0] < 10

    def test_a_recommendation_without_examples_is_refused(self, qdrant: QdrantClient, collection: str) -> None:
        recommend = models.RecommendInput(positive=[], negative=[IDS[0]])
        with pytest.raises(UnexpectedResponse) as refusal:
            qdrant.query_points(collection, query=models.RecommendQuery(recommend=recommend), limit=4)
        assert refusal.value.status_code == 400

    def test_several_queries_in_one_request_are_answered_in_order(self, qdrant: QdrantClient, collection: str) -> None:
        answers = qdrant.query_batch_points(
            collection,
            [
                models.QueryRequest(query=vector(n), limit=1, params=EXACT, filter=None, with_payload=["product_id"])
                for n in (3, 33)
            ],
        )
        assert [numbers(answer) for answer in answers] == [[3], [33]]
        assert answers[1].points[0].payload == {"product_id": "33"}

    def test_groups_contain_the_best_of_each_value(self, qdrant: QdrantClient, collection: str) -> None:
        answer = qdrant.query_points_groups(
            collection, "gender", query=vector(9.1), limit=3, group_size=2, with_payload=["gender"], search_params=EXACT
        )
        found = {group.id: [number_of(hit.id) for hit in group.hits] for group in answer.groups}
        assert list(found) == ["Men", "Women", "Boys"]
        assert found == {"Men": [9, 12], "Women": [10, 7], "Boys": [8, 11]}
        assert answer.groups[0].hits[0].payload == {"gender": "Men"}

    def test_groups_find_a_rare_value_far_down_the_ranking(self, qdrant: QdrantClient, collection: str) -> None:
        # The only points of this season are far away: the first results all belong to one group.
        qdrant.set_payload(collection, {"season": "Winter"}, points=[*IDS[20:50]], wait=True)
        answer = qdrant.query_points_groups(
            collection, "season", query=vector(35), limit=2, group_size=1, search_params=EXACT
        )
        assert [(group.id, number_of(group.hits[0].id)) for group in answer.groups] == [("Winter", 35), ("Summer", 0)]

    def test_the_async_client_gets_the_same_answers(self, qdrant_backend: QdrantBackend, collection: str) -> None:
        async def ask() -> list[list[int]]:
            connection = open_async_qdrant(qdrant_backend.url)
            try:
                answers = await asyncio.gather(
                    *(connection.query_points(collection, query=vector(n), limit=1) for n in range(POINTS))
                )
            finally:
                await connection.close()
            return [numbers(answer) for answer in answers]

        assert asyncio.run(ask()) == [[n] for n in range(POINTS)]


def numbers(answer: models.QueryResponse) -> list[int]:
    return [number_of(point.id) for point in answer.points]


def matching(qdrant: QdrantClient, collection: str, condition: models.Filter) -> list[int]:
    found, _ = qdrant.scroll(collection, scroll_filter=condition, limit=100)
    return sorted(number_of(record.id) for record in found)
