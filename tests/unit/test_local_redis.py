"""The local Redis as the supervisor runs it: access control, memory limit, and recovery from damaged data."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from rich.console import Console

from harness.waiting import wait_until
from vitrine.errors import BrokerUnavailable
from vitrine.jobs import JobKind, JobStore, StepStore, open_redis
from vitrine.jobs.celery import Message, Queue, Task
from vitrine.jobs.publisher import JobPublisher
from vitrine.settings import CommonSettings
from vitrine_local.data_folder import DataFolder
from vitrine_local.redis_server import MAX_MEMORY_BYTES
from vitrine_local.supervisor import LocalSystem, SystemOptions
from vitrine_local.supervisor.plan import REDIS, Plan, make_plan


def redis_alone(data: DataFolder, *, port: int, environment: Mapping[str, str]) -> Plan:
    plan = make_plan(data, port=port, environment=environment)
    for spec in plan.services:
        if spec.name != REDIS and spec.reservation is not None:
            spec.reservation.close()
    return replace(plan, services=tuple(spec for spec in plan.services if spec.name == REDIS))


def with_redis(data: DataFolder, use: Callable[[str], None]) -> str:
    """Run the local Redis on a data folder while `use` works with its URL. Returns the console output."""
    screen = io.StringIO()

    async def on_ready(_url: str) -> None:
        secrets, run = data.read_secrets(), data.read_run()
        assert secrets is not None
        assert run is not None
        address = f"redis://:{secrets.redis_password.get_secret_value()}@127.0.0.1:{run.ports[REDIS]}/0"
        await asyncio.to_thread(use, address)

    options = SystemOptions(data, port=0, log_level="error")
    asyncio.run(LocalSystem(options, console=Console(file=screen, width=500), planner=redis_alone).run(on_ready))
    return screen.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder.at(tmp_path / "data")


FORBIDDEN = (
    "CONFIG GET dir", "CONFIG SET dir /tmp", "DEBUG SLEEP 0", "MODULE LIST", "SAVE", "BGSAVE", "BGREWRITEAOF",
    "SHUTDOWN", "FLUSHALL", "FLUSHDB", "REPLICAOF NO ONE", "SLAVEOF NO ONE", "ACL LIST", "SCRIPT FLUSH", "SCRIPT KILL",
    "MONITOR", "CLIENT LIST", "CLIENT KILL ID 1", "MIGRATE h 1 k 0 1", "RESTORE k 0 v", "KEYS *", "SWAPDB 0 1",
)  # fmt: skip


def test_clients_without_the_password_are_refused_and_services_may_run_only_data_commands(data: DataFolder) -> None:
    def use(address: str) -> None:
        port = int(address.rpartition(":")[2].removesuffix("/0"))
        for url in (f"redis://127.0.0.1:{port}/0", f"redis://:guess@127.0.0.1:{port}/0"):
            with redis.Redis.from_url(url) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
            with open_redis(url) as stranger, pytest.raises(BrokerUnavailable):
                JobStore(stranger).list()
        with open_redis(address) as client:
            for command in FORBIDDEN:
                with pytest.raises(redis.ResponseError, match=r"no permissions|not allowed"):
                    client.execute_command(*command.split())
            jobs, steps = JobStore(client), StepStore(client)
            job, _ = jobs.create(JobKind.INDEX, {"dataset": "shop"})
            jobs.update(job.id, lambda record: record.started(phase="reading"))
            assert steps.acquire(job.id, "start") is not None
            assert [record.id for record in jobs.list()] == [job.id]
            assert client.info("memory")["maxmemory"] == MAX_MEMORY_BYTES
            assert client.info("memory")["maxmemory_policy"] == "noeviction"
        publisher = JobPublisher(CommonSettings(redis_url=address))
        message = Message(Task.INDEX_START, job.id)
        publisher.send(message)
        assert publisher.waiting(Queue.INDEX) == {message}
        publisher.close()

    with_redis(data, use)


def test_no_secret_is_in_a_command_line_the_record_or_a_log(data: DataFolder) -> None:
    def use(_address: str) -> None:
        secrets, run = data.read_secrets(), data.read_run()
        assert secrets is not None
        assert run is not None
        hidden = [getattr(secrets, name).get_secret_value() for name in type(secrets).model_fields]
        command = Path(f"/proc/{run.pids[REDIS]}/cmdline")
        shown = [path.read_text() for path in data.logs.iterdir()] + [data.run_file.read_text()]
        shown += [command.read_text()] if command.exists() else []
        plan = make_plan(data, port=0, environment={})
        plan.release_ports()
        shown += [" ".join(spec.command) for spec in plan.services if spec.command]
        assert not [secret for secret in hidden for text in shown if secret in text]

    with_redis(data, use)


def zeros(content: bytes) -> bytes:
    """Replace a block in the middle by zeros."""
    middle = content.index(b"middle")
    return content[:middle] + bytes(64) + content[middle + 64 :]


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "zeros in the middle": (zeros, True),
    "zeros at the end": (lambda content: content + bytes(4096), True),
    "random bytes": (lambda content: os.urandom(len(content)), False),
    "an unknown command": (lambda content: content.replace(b"SET", b"SXT"), False),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_append_only_file_is_set_aside_and_reported_and_redis_starts(data: DataFolder, kind: str) -> None:
    damage, keeps_the_first = DAMAGE[kind]

    def fill(address: str) -> None:
        with open_redis(address) as client:
            for key in ("first", "middle", "last"):
                client.set(key, "x" * 100)

    with_redis(data, fill)
    (file,) = (path for path in data.redis.rglob("appendonly.aof*") if b"middle" in path.read_bytes())
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)

    def look(address: str) -> None:
        with open_redis(address) as client:
            assert client.exists("first") == keeps_the_first
            assert client.set("after", "y")

    screen = with_redis(data, look)
    (aside,) = data.redis.glob("appendonly*.damaged-*")
    assert damaged in [path.read_bytes() for path in (aside, *aside.rglob("*")) if path.is_file()]
    assert str(aside) in screen
    assert "vitrine index" in screen

    def look_again(address: str) -> None:
        with open_redis(address) as client:
            assert client.get("after") == b"y"

    assert "damaged" not in with_redis(data, look_again)


def test_an_incomplete_last_command_is_dropped_silently(data: DataFolder) -> None:
    def fill(address: str) -> None:
        with open_redis(address) as client:
            client.set("first", "x")
            client.set("last", "x" * 100)

    with_redis(data, fill)
    (file,) = (path for path in data.redis.rglob("appendonly.aof*") if b"last" in path.read_bytes())
    file.write_bytes(file.read_bytes()[:-50])

    def look(address: str) -> None:
        with open_redis(address) as client:
            assert (client.exists("first"), client.exists("last")) == (1, 0)

    assert "damaged" not in with_redis(data, look)
    assert not list(data.redis.glob("*.damaged-*"))


def test_a_redis_that_ends_for_another_reason_keeps_its_file(data: DataFolder) -> None:
    from vitrine_local.redis_repair import repair_append_only_file
    from vitrine_local.redis_server import find_redis_server

    data.create()
    file = data.redis / "appendonly.aof"
    file.write_bytes(b"*1\r\n$4\r\nPING\r\n")
    said = ["# Can't open the append-only file: Permission denied", "# Could not create server TCP listening socket"]
    assert repair_append_only_file(find_redis_server(), data.redis, said) is None
    assert [path.name for path in data.redis.iterdir()] == [file.name]


def test_on_a_full_disk_redis_is_restarted_until_there_is_space_and_loses_nothing(small_disk: Path) -> None:
    data = DataFolder.at(small_disk / "data")
    filling = small_disk / "filling"

    def use(address: str) -> None:
        with open_redis(address) as client:
            client.set("before", "x")
            filling.write_bytes(bytes(shutil.disk_usage(small_disk).free))
            with pytest.raises(redis.RedisError):  # it exits instead of acknowledging a write that it could not store
                client.set("lost", "x" * 100_000)
            wait_until(lambda: refused(client), what="the end of the server, twice")
            filling.unlink()
            wait_until(lambda: client.set("after", "y"), what="a write with room")
            assert client.get("before") == b"x"

    def refused(client: redis.Redis) -> bool:
        try:
            client.set("again", "x" * 5000)
        except redis.RedisError:
            return (data.logs / "vitrine.log").read_text().count("redis: died") > 1
        return False

    assert "died" in with_redis(data, use)
