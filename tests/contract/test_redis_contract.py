"""The behaviour that Vitrine requires of Redis, tested on the local server and on the official image."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis

from harness.containers import REDIS_IMAGE, require_image
from harness.processes import Redis
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.jobs import BatchOutcome, JobFault, JobKind, JobStore, open_redis, scripts


@dataclass(frozen=True)
class RedisBackend:
    """A Redis under test. `process` is set if the tests may kill it."""

    url: str
    process: Redis | None


@pytest.fixture(
    scope="session", params=["local", pytest.param("server", marks=pytest.mark.docker)], ids=["local", "server"]
)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisBackend]:
    if request.param == "local":
        process = Redis(tmp_path_factory.mktemp("redis"))
        yield RedisBackend(process.url, process)
        process.kill()
        return
    image = require_image(REDIS_IMAGE)
    from testcontainers.redis import RedisContainer

    with RedisContainer(image).with_command("redis-server --appendonly yes --appendfsync always") as container:
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(6379)}"
        yield RedisBackend(f"redis://{address}/0", None)


@pytest.fixture
def client(backend: RedisBackend) -> Iterator[redis.Redis]:
    connection = open_redis(backend.url)
    connection.flushdb()
    yield connection
    connection.close()


def test_nothing_is_evicted_and_every_write_is_logged(client: redis.Redis) -> None:
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    assert client.config_get("appendfsync") == {"appendfsync": "always"}


def test_only_one_client_can_set_an_absent_key_and_it_expires(client: redis.Redis) -> None:
    assert client.set("lock", "first", nx=True, px=600_000)
    assert client.set("lock", "second", nx=True, px=600_000) is None
    assert client.get("lock") == b"first"
    assert 0 < client.pttl("lock") <= 600_000
    client.pexpire("lock", 100)
    wait_until(lambda: client.set("lock", "second", nx=True, px=600_000), what="the expiry")
    assert client.get("lock") == b"second"


def test_an_absent_field_is_set_once_by_any_number_of_clients(backend: RedisBackend, client: redis.Redis) -> None:
    won: list[int] = []
    barrier = threading.Barrier(4)

    def compete(number: int) -> None:
        with open_redis(backend.url) as own:
            barrier.wait()
            won.extend(field for field in range(50) if own.hsetnx("batches", str(field), str(number)))

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HUNG_AFTER_S)
    assert sorted(won) == list(range(50))
    assert client.hlen("batches") == 50


def test_scripts_are_accepted_and_see_the_clock_of_the_server(client: redis.Redis) -> None:
    lease = client.register_script(scripts.ACQUIRE)
    client.hset("job", "record", "{}")
    keys = ["leases", "tokens", "deferred", "job"]
    assert lease(keys=keys, args=["batch-1", 60_000]) == 1
    assert lease(keys=keys, args=["batch-1", 60_000]) == 0
    assert client.register_script(scripts.HELD)(keys=["leases"]) == [b"batch-1"]
    seconds, _ = client.time()
    assert abs(float(client.zscore("leases", "batch-1") or 0) - (seconds + 60) * 1000) < 2_000
    client.script_flush()
    assert lease(keys=keys, args=["batch-2", 60_000]) == 1, "a script that the server forgot is sent again"


def test_a_batch_is_counted_once_in_one_atomic_step(client: redis.Redis) -> None:
    store = JobStore(client)
    record, created = store.create(JobKind.INDEX, {"dataset": "shop"}, idempotency_key="once")
    assert created
    assert store.create(JobKind.INDEX, {"dataset": "shop"}, idempotency_key="once") == (record, False)
    store.update(record.id, lambda known: known.started(phase="embedding"))
    outcome = BatchOutcome(done=7, faults=(JobFault(product_id="3", kind="image_truncated", detail="cut off"),))
    for _ in range(2):
        store.finish_batch(record.id, 0, outcome)
    progress = store.get(record.id).progress
    assert (progress.done, progress.failed) == (7, 1)


def test_a_change_is_published_to_all_subscribers(backend: RedisBackend, client: redis.Redis) -> None:
    store = JobStore(client)
    record, _ = store.create(JobKind.INDEX, {"dataset": "shop"})
    with open_redis(backend.url) as listener, listener.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(f"vitrine:job:{record.id}:events")
        wait_until(lambda: client.pubsub_numsub(f"vitrine:job:{record.id}:events")[0][1] == 1, what="subscription")
        store.update(record.id, lambda known: known.started(phase="embedding"))
        message = wait_until(lambda: subscription.get_message(timeout=0.1), what="the message")
    assert int(message["data"]) >= 2


def test_acknowledged_writes_survive_kill_9(backend: RedisBackend, client: redis.Redis) -> None:
    if backend.process is None:
        pytest.skip("only a server that this test started may be killed")
    acknowledged: list[int] = []
    enough = threading.Event()

    def write() -> None:
        own = redis.Redis.from_url(backend.url)
        for number in range(1_000_000):
            try:
                own.rpush("queue", number)
            except redis.RedisError:
                break
            acknowledged.append(number)
            if len(acknowledged) == 200:
                enough.set()
        own.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(HUNG_AFTER_S)
    backend.process.kill()
    writer.join(HUNG_AFTER_S)
    backend.process.start()
    backend.process.wait_ready()
    kept = [int(item) for item in client.lrange("queue", 0, -1)]
    # The last write may be stored but not yet acknowledged.
    assert kept[: len(acknowledged)] == acknowledged
    assert len(kept) <= len(acknowledged) + 1
    before_s, its_own_s, after_s = time.time(), client.time()[0], time.time()
    assert before_s - 1 < its_own_s < after_s + 1, "leases end by the server's clock, which is this machine's"
