"""The search for a picture that crashes a process, on a real Redis: it is found, and no other picture is lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import redis

from indexer.crash_search import CrashSearch, SearchStore
from indexer.crash_state import SearchState
from indexer.plan import PlannedProduct
from indexer.settings import Settings
from vitrine.errors import EmbedderConnectionLost, EmbedderUnavailable, TooManyCrashes, Unavailable
from vitrine.jobs import BatchOutcome, JobKind, JobStore, StepStore
from vitrine.products import Product


class Killed(BaseException):
    """The simulated crash of the worker."""


class CrashingStore(SearchStore):
    """The store of a worker, which writes nothing after the worker is killed."""

    killed = False

    def save(self, job_id: str, step: str, search: SearchState) -> None:
        if self.killed:
            raise Killed
        super().save(job_id, step, search)


@dataclass
class Scene:
    """A batch in which some pictures crash the embedder or the worker, and the products stored from it."""

    client: redis.Redis
    count: int
    embedder: frozenset[str] = frozenset()
    worker: frozenset[str] = frozenset()
    settings: Settings = field(default_factory=Settings)
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    accidents: float = 0.0

    def __post_init__(self) -> None:
        self.steps = StepStore(self.client)
        self.searches = CrashingStore(self.client)
        self.job_id = JobStore(self.client).create(JobKind.INDEX, {})[0].id
        products = [Product("d", str(number), f"{number}.jpg", {}) for number in range(self.count)]
        self.planned = [PlannedProduct(product, "catalog") for product in products]
        self.stored: set[str] = set()
        self.embedder_crashes = self.worker_crashes = self.requests = 0

    def store(self, planned: Sequence[PlannedProduct]) -> BatchOutcome:
        ids = {one.product.id for one in planned}
        self.requests += 1
        if self.worker & ids:
            self.worker_crashes += 1
            self.searches.killed = True
            raise Killed
        if self.embedder & ids or self.rng.random() < self.accidents:
            self.embedder_crashes += 1
            raise EmbedderConnectionLost("it ended")
        fresh = ids - self.stored
        self.stored |= ids
        return BatchOutcome(done=len(fresh), skipped=len(ids) - len(fresh))

    def search(self) -> CrashSearch:
        crashes = self.steps.begin(self.job_id, "batch:0")
        return CrashSearch(
            self.searches, self.steps, self.settings, job_id=self.job_id, step="batch:0", crashes=crashes
        )

    def run(self, *, most: int = 500) -> BatchOutcome:
        """Retry until the batch succeeds, each time in a new worker."""
        for _ in range(most):
            search = self.search()
            try:
                outcome = search.store(self.planned, self.store)
            except EmbedderUnavailable:
                self.steps.end(self.job_id, "batch:0")
            except Killed:
                self.searches.killed = False  # the next worker: the step was not finished
            else:
                search.finish()
                return outcome
        raise AssertionError("the search does not end")


def check(scene: Scene, outcome: BatchOutcome) -> None:
    """The crashing pictures are reported with their reasons, and all others are stored."""
    crashing = scene.embedder | scene.worker
    assert outcome.failed_ids() == crashing
    assert {fault.product_id: fault.kind for fault in outcome.faults} == {
        **dict.fromkeys(scene.embedder, "picture_crashes_embedder"),
        **dict.fromkeys(scene.worker, "picture_crashes_worker"),
    }
    assert scene.stored == {one.product.id for one in scene.planned} - crashing
    assert outcome.done + outcome.skipped == scene.count - len(crashing)


@pytest.mark.parametrize("count", [1, 2, 17, 64, 256])
def test_the_picture_is_found_in_a_batch_of_any_size_with_few_crashes(client: redis.Redis, count: int) -> None:
    scene = Scene(client, count, embedder=frozenset({str(count // 2)}))
    check(scene, scene.run())
    assert scene.embedder_crashes <= 7
    assert scene.requests <= 40


def test_several_pictures_of_one_batch_are_found(client: redis.Redis) -> None:
    scene = Scene(client, 64, embedder=frozenset({"0", "1", "40", "63"}))
    check(scene, scene.run())


def test_a_random_crash_loses_no_picture(client: redis.Redis) -> None:
    for seed in range(20):
        scene = Scene(client, 64, accidents=0.15, rng=random.Random(seed))
        check(scene, scene.run())


def test_a_batch_that_crashed_randomly_is_sent_again_whole(client: redis.Redis) -> None:
    scene = Scene(client, 64, rng=random.Random(1), accidents=1.0)
    with pytest.raises(EmbedderConnectionLost):
        scene.search().store(scene.planned, scene.store)
    scene.accidents = 0.0
    check(scene, scene.run())
    assert scene.requests == 2


def test_a_picture_that_crashes_the_worker_is_found_too(client: redis.Redis) -> None:
    scene = Scene(client, 8, worker=frozenset({"5"}))
    check(scene, scene.run())
    assert scene.worker_crashes <= 6


def test_one_batch_is_searched_at_a_time(client: redis.Redis) -> None:
    first, second = (Scene(client, 4, embedder=frozenset({"2"})) for _ in range(2))
    for scene in (first, second):
        with pytest.raises(EmbedderConnectionLost):
            scene.search().store(scene.planned, scene.store)

    def meanwhile(planned: Sequence[PlannedProduct]) -> BatchOutcome:
        with pytest.raises(Unavailable, match="another batch"):
            second.search().store(second.planned, second.store)
        return first.store(planned)

    with pytest.raises(EmbedderConnectionLost):
        first.search().store(first.planned, meanwhile)
    assert second.requests == 1


def test_a_release_that_crashes_on_everything_ends_the_job(client: redis.Redis) -> None:
    settings = Settings(quarantine_max=3)
    scene = Scene(client, 64, embedder=frozenset(map(str, range(64))), settings=settings)
    with pytest.raises(TooManyCrashes, match="VITRINE_QUARANTINE_MAX"):
        scene.run()
    assert scene.embedder_crashes <= 20, "each costs the searches seconds"


def test_products_added_to_or_removed_from_a_step_are_handled(client: redis.Redis) -> None:
    scene = Scene(client, 6, embedder=frozenset({"1"}))
    with pytest.raises(EmbedderConnectionLost):
        scene.search().store(scene.planned[:5], scene.store)
    outcome = None
    scene.planned = scene.planned[1:]
    outcome = scene.run()
    assert scene.stored == {"2", "3", "4", "5"}
    assert outcome.failed_ids() == {"1"}


@dataclass
class SeveralPictures(Scene):
    """Products of three pictures each. `embedder` and `worker` name the pictures that crash these."""

    def __post_init__(self) -> None:
        super().__post_init__()
        numbers = range(self.count)
        products = [Product("d", str(n), f"{n}a.jpg", {}, (f"{n}b.jpg", f"{n}c.jpg")) for n in numbers]
        self.planned = [PlannedProduct(product, "catalog") for product in products]
        self.pictures: dict[str, tuple[str, ...]] = {}

    @property
    def crashes(self) -> int:
        return self.embedder_crashes + self.worker_crashes

    def store(self, planned: Sequence[PlannedProduct]) -> BatchOutcome:
        pictures = {picture for one in planned for picture in one.product.pictures}
        if self.worker & pictures:
            self.worker_crashes += 1
            self.searches.killed = True
            raise Killed
        if self.embedder & pictures:
            self.embedder_crashes += 1
            raise EmbedderConnectionLost("it ended")
        fresh = [one.product for one in planned if self.pictures.get(one.product.id) != one.product.pictures]
        self.pictures |= {product.id: product.pictures for product in fresh}
        return BatchOutcome(done=len(fresh), skipped=len(planned) - len(fresh))


def test_a_picture_that_crashes_costs_only_itself_if_its_product_has_others(client: redis.Redis) -> None:
    for crashing in (["3a.jpg"], ["3b.jpg"], ["3a.jpg", "3c.jpg"], ["0c.jpg", "7b.jpg"]):
        scene = SeveralPictures(client, 8, embedder=frozenset(crashing))
        outcome = scene.run()
        assert scene.pictures == {
            one.product.id: tuple(picture for picture in one.product.pictures if picture not in crashing)
            for one in scene.planned
        }
        assert (outcome.done + outcome.skipped, outcome.faults) == (8, ())
        assert [fault.kind for fault in outcome.picture_faults] == ["picture_crashes_embedder"] * len(crashing)
        for picture, fault in zip(crashing, outcome.picture_faults, strict=True):
            assert fault.product_id == picture[0]
            assert repr(picture) in fault.detail
        assert scene.crashes <= 6 * len(crashing)


def test_a_product_is_left_out_only_if_all_its_pictures_crash(client: redis.Redis) -> None:
    scene = SeveralPictures(client, 3, embedder=frozenset({"1a.jpg", "1b.jpg", "1c.jpg"}))
    outcome = scene.run()
    assert scene.pictures.keys() == {"0", "2"}
    assert (set(outcome.failed_ids()), outcome.done) == ({"1"}, 2)
    assert outcome.picture_faults == ()
    assert "none of its 3 pictures" in outcome.faults[0].detail


def test_a_picture_of_several_that_crashes_the_worker_is_found_too(client: redis.Redis) -> None:
    scene = SeveralPictures(client, 1, worker=frozenset({"0b.jpg"}))
    outcome = scene.run()
    assert scene.pictures == {"0": ("0a.jpg", "0c.jpg")}
    assert (outcome.done, outcome.faults) == (1, ())
    assert [fault.kind for fault in outcome.picture_faults] == ["picture_crashes_worker"]


def test_many_pictures_of_one_product_are_searched_with_few_crashes(client: redis.Redis) -> None:
    scene = SeveralPictures(client, 0, embedder=frozenset({"40.jpg"}))
    names = tuple(f"{number}.jpg" for number in range(64))
    scene.planned = [PlannedProduct(Product("d", "p", names[0], {}, names[1:]), "catalog")]
    outcome = scene.run()
    assert scene.pictures == {"p": tuple(name for name in names if name != "40.jpg")}
    assert (outcome.done, outcome.skipped, len(outcome.picture_faults)) == (1, 0, 1)
    assert scene.crashes <= 6


def test_a_search_of_before_without_pictures_goes_on() -> None:
    stored = SearchState.model_validate_json(
        '{"ids": ["1"], "groups": [{"ids": ["1"], "crashes": 2}], "at_work": true}'
    )
    state, guilty = stored.crashed("embedder", tolerated=2)
    assert guilty == "1"
    assert state.stored.failed_ids() == {"1"}


def test_a_crashed_step_without_products_needs_no_search(client: redis.Redis) -> None:
    """All of its products may have been stored before the crash, or put anew since."""
    searched = CrashSearch(SearchStore(client), StepStore(client), Settings(), job_id="j", step="batch:0", crashes=1)
    assert searched.store([], lambda _: BatchOutcome()) == BatchOutcome()
    assert searched.has_begun
