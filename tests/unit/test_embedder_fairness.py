"""Order of service: callers in turn, searches before indexing, small pictures before large ones, and refusals."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from embedder.admission import AdmissionControl, CallCost
from embedder.batcher import INTERACTIVE_IN_A_ROW, Batcher
from embedder.call import BatchItem, Call, Caller, DecodeTask, Priority, Upload
from embedder.decode_pool import DecodePool
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.errors import EmbedderBusyWithHeavyWork, EmbedderOverloaded, WorkTooLarge
from vitrine.fair_queue import FairQueue
from vitrine.images.checks import DecodeCost

ONE: Any = object()
OTHER: Any = object()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def call_of(
    loop: asyncio.AbstractEventLoop, name: str = "", priority: Priority = "interactive", *, count: int = 1
) -> Call:
    caller = Caller(name, priority)
    return Call(count=count, space="projected", deadline_s=time.monotonic() + HUNG_AFTER_S, loop=loop, caller=caller)


def admission_of(**changed: Any) -> AdmissionControl:
    options: dict[str, Any] = {
        "cores": 2,
        "pictures": lambda: 0,
        "max_pictures": 512,
        "max_delay_s": 2.0,
        "max_heavy": 4,
        "max_decode_s": 0.8,
    }
    return AdmissionControl(**{**options, **changed})


def test_the_lanes_of_a_queue_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(5):
        queue.put("greedy", f"greedy {number}")
    queue.put("modest", "modest 0")
    taken = [queue.take(lambda _: True) for _ in range(6)]
    assert taken == ["greedy 0", "modest 0", "greedy 1", "greedy 2", "greedy 3", "greedy 4"]
    assert queue.take(lambda _: True) is None
    assert len(queue) == 0


def test_a_caller_with_one_picture_shares_the_next_batch_with_a_caller_of_hundreds(
    loop: asyncio.AbstractEventLoop,
) -> None:
    queue = Batcher(max_wait_s=0.0)
    greedy, modest = call_of(loop, "greedy", count=100), call_of(loop, "modest")
    queue.announce(101)
    queue.put([BatchItem(greedy, place, ONE) for place in range(100)])
    queue.put([BatchItem(modest, 0, ONE)])
    assert [item.call for item in queue.take(4)] == [greedy, modest, greedy, greedy]


def test_a_batch_has_one_release_even_if_a_caller_mixes_them(loop: asyncio.AbstractEventLoop) -> None:
    queue = Batcher(max_wait_s=0.0)
    call = call_of(loop, count=6)
    queue.announce(6)
    queue.put([BatchItem(call, place, (ONE, OTHER)[place % 2]) for place in range(6)])
    assert [[item.release for item in queue.take(4)] for _ in range(2)] == [[ONE] * 3, [OTHER] * 3]


def test_searches_have_priority_and_indexing_keeps_a_share(loop: asyncio.AbstractEventLoop) -> None:
    queue = Batcher(max_wait_s=0.0)
    searches = call_of(loop, "shop", count=40)
    catalogue = call_of(loop, "job", "batch", count=8)
    queue.announce(8, "batch")
    queue.put([BatchItem(catalogue, place, ONE) for place in range(8)])
    queue.announce(40)
    queue.put([BatchItem(searches, place, ONE) for place in range(40)])
    order = []
    for _ in range(2 * (INTERACTIVE_IN_A_ROW + 1)):
        (item,) = queue.take(1)
        order.append(item.call.priority)
        queue.passed(item.call.priority)
    assert order == 2 * (["interactive"] * INTERACTIVE_IN_A_ROW + ["batch"])


def test_a_late_search_waits_for_at_most_the_allowed_indexing_passes(
    loop: asyncio.AbstractEventLoop,
) -> None:
    queue = Batcher(max_wait_s=0.0, max_batch_passes=2, short_batch=2)
    catalogue, search = call_of(loop, "job", "batch", count=20), call_of(loop, "shop")
    queue.announce(20, "batch")
    queue.put([BatchItem(catalogue, place, ONE) for place in range(20)])
    assert [len(queue.take(4)), len(queue.take(4))] == [4, 4]
    third: list[list[BatchItem]] = []
    taker = threading.Thread(target=lambda: third.append(queue.take(4)), daemon=True)
    taker.start()
    wait_until(lambda: queue._takers == 1, what="a thread asks for work and gets none")
    queue.announce(1)
    queue.put([BatchItem(search, 0, ONE)])
    taker.join(HUNG_AFTER_S)
    assert [item.call for item in third[0]] == [search]
    queue.passed("batch")
    assert len(queue.take(4)) == 2, "while searches come, a pass of the catalogue is short"


def test_large_pictures_wait_for_memory_and_small_ones_overtake_them(loop: asyncio.AbstractEventLoop) -> None:
    go, lock = threading.Event(), threading.Lock()
    running: list[int] = []
    most = [0]
    done: list[int] = []

    def decode(task: DecodeTask) -> None:
        size = task.upload.cost.memory_bytes
        with lock:
            running.append(size)
            most[0] = max(most[0], sum(running))
        if size > 1000:
            go.wait(HUNG_AFTER_S)
        with lock:
            running.remove(size)
            done.append(size)

    pool = DecodePool(4, memory_bytes=250_000_000, decode=decode)
    pool.start()
    call = call_of(loop, count=32)
    for size in [*[120_000_000] * 12, *[1000] * 8]:
        pool.submit(DecodeTask(call, 0, Upload((), list, DecodeCost(0.1, size))))
    wait_until(lambda: done.count(1000) == 8, what="the small ones are decoded while the large ones wait")
    assert most[0] <= 250_000_000
    go.set()
    pool.close()
    assert done.count(120_000_000) == 12
    assert most[0] <= 250_000_000


@pytest.mark.parametrize(
    "cost", [DecodeCost(0.1, 50_000_000), DecodeCost(1.2, 5_000_000)], ids=["much memory", "much time"]
)
def test_one_large_picture_at_a_time_leaves_a_thread_for_small_ones(
    loop: asyncio.AbstractEventLoop, cost: DecodeCost
) -> None:
    go = threading.Event()
    small = threading.Event()

    def decode(task: DecodeTask) -> None:
        if task.upload.cost.memory_bytes > 1000:
            go.wait(HUNG_AFTER_S)
        else:
            small.set()

    pool = DecodePool(2, memory_bytes=10**9, decode=decode)
    pool.start()
    call = call_of(loop, count=8)
    for one in (cost, cost, cost, DecodeCost(0.1, 1000)):
        pool.submit(DecodeTask(call, 0, Upload((), list, one)))
    assert small.wait(10)
    go.set()
    pool.close()


def let_in(admission: AdmissionControl, callers: Iterator[Caller], cost: CallCost) -> tuple[int, EmbedderOverloaded]:
    """The number of accepted calls, and the refusal of the next one."""
    for count, caller in enumerate(callers):
        try:
            admission.enter(caller, cost)
        except EmbedderOverloaded as refused:
            return count, refused
    raise AssertionError("nobody was refused")


def test_a_call_that_would_wait_too_long_is_refused_and_another_caller_is_accepted() -> None:
    admission = admission_of()
    count, refused = let_in(admission, itertools.repeat(Caller("greedy"), 1000), CallCost(0.0, 0.01, 1))
    assert 250 <= count <= 400, "one caller alone has most of two seconds of two cores, 10 ms each"
    assert refused.retry_after_s is not None
    assert refused.retry_after_s >= 1
    with pytest.raises(EmbedderOverloaded):
        admission.check(Caller("greedy"))
    admission.check(Caller("modest"))
    admission.enter(Caller("modest"), CallCost(0.0, 0.01, 1))


def test_the_wait_of_many_callers_is_within_the_delay_limit() -> None:
    callers = (Caller(f"caller {number}") for number in range(1000))
    count, _ = let_in(admission_of(), callers, CallCost(0.0, 0.05, 1))
    assert 70 <= count <= 90, "two seconds of two cores, 50 ms each"


def test_indexing_is_limited_by_pictures_and_not_by_delay() -> None:
    at_work = [0]
    admission = admission_of(pictures=lambda: at_work[0])
    for _ in range(7):
        admission.enter(Caller("job", "batch"), CallCost(3.0, 3.0, 64))
        at_work[0] += 64
    with pytest.raises(EmbedderOverloaded):
        admission.enter(Caller("job", "batch"), CallCost(3.0, 3.0, 128))
    admission.enter(Caller("shop"), CallCost(0.0, 0.01, 1))


def test_the_requests_of_disconnected_callers_free_their_place() -> None:
    admission = admission_of()
    admitted = [admission.enter(Caller("greedy"), CallCost(0.0, 0.01, 1)) for _ in range(250)]
    for one in admitted:
        admission.leave(one, answered=False)
    for _ in range(250):
        admission.enter(Caller("greedy"), CallCost(0.0, 0.01, 1))


def test_heavy_calls_have_a_small_pool_and_one_caller_may_use_half() -> None:
    admission = admission_of()
    heavy = CallCost(0.1, 0.1, 12, heavy=True)
    first = [admission.enter(Caller("greedy"), heavy) for _ in range(2)]
    with pytest.raises(EmbedderBusyWithHeavyWork):
        admission.enter(Caller("greedy"), heavy)
    for name in ("modest", "humble"):
        admission.enter(Caller(name), heavy)
    with pytest.raises(EmbedderBusyWithHeavyWork):
        admission.enter(Caller("late"), heavy)
    admission.enter(Caller("late"), CallCost(0.0, 0.01, 1))
    admission.leave(first[0], answered=True)
    admission.enter(Caller("late"), heavy)


def test_pictures_that_take_too_long_are_refused_in_a_search_but_not_in_indexing() -> None:
    admission = admission_of()
    with pytest.raises(WorkTooLarge):
        admission.enter(Caller("shop"), CallCost(1.0, 0.1, 16, heavy=True))
    admission.enter(Caller("job", "batch"), CallCost(1.0, 0.1, 16, heavy=True))


def test_admission_control_learns_the_real_duration_of_its_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr("embedder.admission.time.monotonic", lambda: now_s[0])
    admission = admission_of()

    def fill_and_empty() -> int:
        admitted = []
        try:
            while True:
                admitted.append(admission.enter(Caller("shop"), CallCost(0.0, 0.01, 1)))
        except EmbedderOverloaded:
            count = len(admitted)
        for one in admitted:
            now_s[0] += 0.02  # four times the estimate for two cores
            admission.leave(one, answered=True)
        return count

    before = fill_and_empty()
    counts = [fill_and_empty() for _ in range(6)]
    assert counts[-1] < before / 2
    assert np.isfinite(admission._slowness)


def test_indexing_does_not_use_the_capacity_of_interactive_calls() -> None:
    pictures = 0
    admission = admission_of(pictures=lambda: pictures)
    for _ in range(7):
        admission.enter(Caller("job", "batch"), CallCost(0.1, 0.1, 64))
        pictures += 64
    with pytest.raises(EmbedderOverloaded, match="448 pictures"):
        admission.enter(Caller("job", "batch"), CallCost(0.1, 0.1, 64))
    admission.enter(Caller("shop"), CallCost(0.01, 0.01, 64))
