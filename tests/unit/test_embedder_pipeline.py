"""The embedder's queue, batches, failures and deadlines, with a real network that fails on request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry

from embedder.admission import CallCost
from embedder.batcher import Batcher
from embedder.call import BatchItem, Call, Result, whole_picture
from embedder.metrics import Metrics
from embedder.model_cache import LoadedRelease
from embedder.pipeline import DEFAULT_DECODE_BYTES, Pipeline
from harness.releases import build_tiny_release, picture, store_of
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.errors import (
    DeadlineExpired,
    Draining,
    EmbedderOverloaded,
    EmbedderUnavailable,
    EmbeddingFailed,
    ImageRejected,
)
from vitrine.types import Pixels
from vitrine.vision.network import ReleaseNetwork, choose_device, load_release
from vitrine.vision.preprocess import Preprocessor

CPU = choose_device("cpu", "float32")


class Fragile:
    """A network that records its batches, waits while `go` is clear, and fails on given pictures."""

    def __init__(self, network: ReleaseNetwork) -> None:
        self._network = network
        self.dim, self.raw_dim, self.size_bytes = network.dim, network.raw_dim, network.size_bytes
        self.batches: list[int] = []
        self.alone: list[bool] = []
        self.failing: list[Pixels] = []
        self.fatal = False
        self.go = threading.Event()
        self.go.set()

    def submit(self, pixels: Pixels, *, alone: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        self.alone.append(alone)
        self.go.wait(HUNG_AFTER_S)
        self.batches.append(len(pixels))
        if self.fatal:
            raise SystemExit("the device is gone")
        if any((one == bad).all() for one in pixels for bad in self.failing):
            raise RuntimeError("kernel failed")
        return self._network.submit(pixels)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("pipeline") / "releases"
    return folder, build_tiny_release(folder)


@pytest.fixture
def network(release: tuple[Path, str]) -> Fragile:
    store = store_of(release[0])
    return Fragile(load_release(store.local_folder(release[1]), store.manifest(release[1]), CPU))


@pytest.fixture
def loaded(release: tuple[Path, str], network: Fragile) -> LoadedRelease:
    manifest = store_of(release[0]).manifest(release[1])
    return LoadedRelease(release[1], manifest, network, Preprocessor(manifest.preprocessing))  # type: ignore[arg-type]


def started_pipeline(*, passes_at_once: int = 1, max_pictures: int = 16) -> Pipeline:
    pipeline = Pipeline(
        decode_threads=2,
        max_batch=4,
        passes_at_once=passes_at_once,
        max_wait_s=0.0,
        max_pictures=max_pictures,
        metrics=Metrics(CollectorRegistry()),
    )
    pipeline.start()
    return pipeline


@pytest.fixture
def pipeline(network: Fragile) -> Iterator[Pipeline]:
    pipeline = started_pipeline()
    yield pipeline
    network.go.set()
    pipeline.close()


@pytest.fixture
def wide_pipeline(network: Fragile) -> Iterator[Pipeline]:
    """A pipeline whose device runs two passes at once, like a CPU with two cores."""
    pipeline = started_pipeline(passes_at_once=2)
    yield pipeline
    network.go.set()
    pipeline.close()


async def ask(
    pipeline: Pipeline, loaded: LoadedRelease, *pictures: bytes, within_s: float = HUNG_AFTER_S
) -> list[Result]:
    answer = await pipeline.embed(loaded, pictures, space="projected", deadline_s=time.monotonic() + within_s)
    return answer.results


def test_every_picture_gets_its_own_vector_in_order(pipeline: Pipeline, loaded: LoadedRelease) -> None:
    async def scenario() -> None:
        together = await ask(pipeline, loaded, *(picture(number) for number in range(11)))
        for number in (0, 5, 10):
            (alone,) = await ask(pipeline, loaded, picture(number))
            np.testing.assert_allclose(np.asarray(together[number]), np.asarray(alone), atol=1e-4)

    asyncio.run(scenario())


def test_pictures_that_arrive_during_a_pass_share_the_next_batch(
    pipeline: Pipeline, loaded: LoadedRelease, network: Fragile
) -> None:
    async def scenario() -> None:
        network.go.clear()
        calls = [asyncio.create_task(ask(pipeline, loaded, picture(number))) for number in range(9)]
        await asyncio.to_thread(wait_until, lambda: len(pipeline._queue) >= 8 - 3, what="the pictures are decoded")
        network.go.set()
        assert all(len(results) == 1 for results in await asyncio.gather(*calls))

    asyncio.run(scenario())
    assert max(network.batches) > 1
    assert max(network.batches) <= 4, "a batch never exceeds its cap"
    assert sum(network.batches) == 9


def test_concurrent_passes_give_every_picture_its_own_vector(
    wide_pipeline: Pipeline, loaded: LoadedRelease, network: Fragile
) -> None:
    async def scenario() -> None:
        alone = [(await ask(wide_pipeline, loaded, picture(number)))[0] for number in range(12)]
        for _ in range(3):
            together = await ask(wide_pipeline, loaded, *(picture(number) for number in range(12)))
            np.testing.assert_allclose(np.asarray(together), np.asarray(alone), atol=1e-4)

    asyncio.run(scenario())
    assert sum(network.batches) == 12 + 3 * 12


def test_a_thread_that_leaves_a_picture_wakes_the_next(loaded: LoadedRelease) -> None:
    queue = Batcher(max_wait_s=60.0)
    taken: list[int] = []
    takers = [threading.Thread(target=lambda: taken.append(len(queue.take(4))), daemon=True) for _ in range(2)]
    for taker in takers:
        taker.start()
    asleep = vars(queue._changed)["_waiters"]
    wait_until(lambda: len(asleep) == 2, what="both wait for a picture")
    loop = asyncio.new_event_loop()
    call = Call(count=2, space="projected", deadline_s=time.monotonic() + HUNG_AFTER_S, loop=loop)
    queue.announce(2)
    queue.put([BatchItem(call, 0, loaded)])
    wait_until(lambda: len(asleep) == 2, what="the first has woken and waits for the second picture")
    queue.put([BatchItem(call, 1, loaded)])
    for taker in takers:
        taker.join(HUNG_AFTER_S)
    loop.close()
    assert taken == [1, 1]


def test_a_result_for_a_caller_that_has_gone_harms_nobody() -> None:
    loop = asyncio.new_event_loop()
    call = Call(count=1, space="projected", deadline_s=time.monotonic() + HUNG_AFTER_S, loop=loop)
    loop.close()
    assert call.resolve(0, DeadlineExpired("too late"))
    assert not call.resolve(0, DeadlineExpired("again")), "only the first result counts"


def test_the_network_knows_if_a_picture_is_alone_on_the_device(
    wide_pipeline: Pipeline, loaded: LoadedRelease, network: Fragile
) -> None:
    async def scenario() -> None:
        await ask(wide_pipeline, loaded, picture(0))
        network.go.clear()
        calls = [asyncio.create_task(ask(wide_pipeline, loaded, picture(number))) for number in (1, 2)]
        await asyncio.to_thread(wait_until, lambda: len(network.alone) == 3, what="both passes run")
        network.go.set()
        await asyncio.gather(*calls)

    asyncio.run(scenario())
    assert network.alone[0]
    assert not network.alone[2], "the last to come is not alone"


def test_a_picture_that_breaks_a_pass_does_not_affect_a_concurrent_pass(
    wide_pipeline: Pipeline, loaded: LoadedRelease, network: Fragile
) -> None:
    network.failing = [loaded.preprocessor(picture(6))]
    results = asyncio.run(ask(wide_pipeline, loaded, *(picture(number) for number in range(12))))
    assert [number for number, result in enumerate(results) if isinstance(result, EmbeddingFailed)] == [6]
    assert wide_pipeline.state()["alive"]


def test_a_bad_picture_loses_only_its_own_result(pipeline: Pipeline, loaded: LoadedRelease) -> None:
    results = asyncio.run(ask(pipeline, loaded, picture(0), b"not a picture", picture(1), picture(2)[:400]))
    assert isinstance(results[1], ImageRejected)
    assert isinstance(results[3], ImageRejected)
    assert results[3].reason == "truncated"
    assert isinstance(results[0], np.ndarray)
    assert isinstance(results[2], np.ndarray)


def test_a_picture_that_breaks_the_network_fails_alone(
    pipeline: Pipeline, loaded: LoadedRelease, network: Fragile
) -> None:
    network.failing = [loaded.preprocessor(picture(6))]
    results = asyncio.run(ask(pipeline, loaded, *(picture(number) for number in range(12))))
    assert [number for number, result in enumerate(results) if isinstance(result, EmbeddingFailed)] == [6]
    assert pipeline.state()["alive"]
    wait_until(lambda: pipeline.state()["in_flight"] == 0, what="every picture is accounted for")


def test_a_full_embedder_refuses_at_once_and_recovers(
    pipeline: Pipeline, loaded: LoadedRelease, network: Fragile
) -> None:
    async def scenario() -> None:
        network.go.clear()
        waiting = asyncio.create_task(ask(pipeline, loaded, *(picture(number) for number in range(16))))
        await asyncio.sleep(0)
        with pytest.raises(EmbedderOverloaded) as refusal:
            await ask(pipeline, loaded, picture(0))
        assert refusal.value.retry_after_s is not None
        assert refusal.value.retry_after_s >= 1
        assert pipeline.state()["full"]
        network.go.set()
        assert len(await waiting) == 16
        assert len(await ask(pipeline, loaded, picture(0))) == 1

    asyncio.run(scenario())


def test_a_call_larger_than_the_limit_is_served_when_the_embedder_is_idle(
    pipeline: Pipeline, loaded: LoadedRelease
) -> None:
    assert len(asyncio.run(ask(pipeline, loaded, *(picture(number) for number in range(40))))) == 40


def test_a_picture_whose_deadline_passed_never_reaches_the_device(
    pipeline: Pipeline, loaded: LoadedRelease, network: Fragile
) -> None:
    async def scenario() -> None:
        network.go.clear()
        held = asyncio.create_task(ask(pipeline, loaded, picture(0)))
        await asyncio.to_thread(wait_until, lambda: len(network.alone) == 1, what="the first pass runs")
        with pytest.raises(DeadlineExpired):
            await ask(pipeline, loaded, picture(1), picture(2), within_s=0.05)
        network.go.set()
        await held
        await asyncio.to_thread(wait_until, lambda: pipeline.state()["in_flight"] == 0, what="the expired are dropped")

    asyncio.run(scenario())
    assert sum(network.batches) == 1


def test_a_dead_device_fails_every_call_and_readiness(
    pipeline: Pipeline, loaded: LoadedRelease, network: Fragile, caplog: pytest.LogCaptureFixture
) -> None:
    notified = threading.Event()
    pipeline.when_dead(notified.set)

    async def scenario() -> None:
        network.fatal = True
        results = await ask(pipeline, loaded, *(picture(number) for number in range(7)))
        assert all(isinstance(result, EmbedderUnavailable) for result in results)
        with pytest.raises(EmbedderUnavailable):
            await ask(pipeline, loaded, picture(0))

    asyncio.run(scenario())
    assert not pipeline.state()["alive"]
    assert notified.wait(HUNG_AFTER_S)
    assert pipeline.dead
    wait_until(lambda: pipeline.state()["in_flight"] == 0, what="every picture is accounted for")


def test_a_closed_pipeline_finishes_what_it_accepted(
    release: tuple[Path, str], loaded: LoadedRelease, network: Fragile
) -> None:
    pipeline = started_pipeline(max_pictures=64)

    async def scenario() -> None:
        network.go.clear()
        accepted = asyncio.create_task(ask(pipeline, loaded, *(picture(number) for number in range(20))))
        await asyncio.to_thread(wait_until, lambda: pipeline.state()["in_flight"] == 20, what="all are accepted")
        closing = asyncio.create_task(asyncio.to_thread(pipeline.close))
        network.go.set()
        assert all(isinstance(result, np.ndarray) for result in await accepted)
        await closing
        with pytest.raises(Draining):
            await ask(pipeline, loaded, picture(0))

    asyncio.run(scenario())


def test_what_calls_keep_between_their_steps_is_bounded(pipeline: Pipeline, loaded: LoadedRelease) -> None:
    cost, half = CallCost(0.01, 0.01, 1), DEFAULT_DECODE_BYTES // 2 + 1

    async def scenario() -> None:
        deadline_s = time.monotonic() + HUNG_AFTER_S
        async with pipeline.admitted(cost, deadline_s=deadline_s, held_bytes=half):
            with pytest.raises(EmbedderOverloaded, match="memory for pictures"):
                async with pipeline.admitted(cost, deadline_s=deadline_s, held_bytes=half):
                    pass
            assert len(await ask(pipeline, loaded, picture(1))) == 1, "a call that keeps nothing is admitted"
        with pytest.raises(RuntimeError, match="a step failed"):
            async with pipeline.admitted(cost, deadline_s=deadline_s, held_bytes=half):
                raise RuntimeError("a step failed")
        async with pipeline.admitted(cost, deadline_s=deadline_s, held_bytes=2 * DEFAULT_DECODE_BYTES):
            pass

    asyncio.run(scenario())


def test_the_steps_of_a_call_share_their_deadline_and_their_timings(pipeline: Pipeline, loaded: LoadedRelease) -> None:
    async def scenario() -> None:
        async with pipeline.admitted(CallCost(0.01, 0.01, 2), deadline_s=time.monotonic() + HUNG_AFTER_S) as steps:
            first, second = [await steps.run([whole_picture(loaded, picture(number))]) for number in (1, 2)]
            assert steps.timings_ms["device"] == pytest.approx(first.timings_ms["device"] + second.timings_ms["device"])
        async with pipeline.admitted(CallCost(0.01, 0.01, 2), deadline_s=time.monotonic() - 1.0) as steps:
            with pytest.raises(DeadlineExpired):
                await steps.run([whole_picture(loaded, picture(1))])

    asyncio.run(scenario())
