"""Raw clients against the server: floods, slow clients, too many connections, and refusals, over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from harness.edge_server import EdgeServer, flood, read_answer, read_to_end, running_edge
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.web.connections import ConnectionLimits, Connections, Place

GET = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def edge() -> Iterator[EdgeServer]:
    with running_edge() as server:
        yield server


def code(answer: bytes) -> tuple[int, str]:
    """(status, code) of a problem document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer[:500]
    return int(head.split(b" ")[1]), json.loads(body)["code"]


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(b"GET /echo HTTP/1.1\r\n", b"X-Header: value\r\n" * 1000, id="many headers"),
        pytest.param(b"GET /echo HTTP/1.1\r\nX: ", b"v" * 16_000, id="one endless header"),
        pytest.param(b"GET /echo HTTP/1.1\r\n", b"n" * 16_000, id="one endless name"),
        pytest.param(b"GET /", b"p" * 16_000, id="an endless path"),
        pytest.param(b"", b"\r\n" * 8_000, id="empty lines"),
        pytest.param(CHUNKED + b"0\r\n", b"X-Trailer: value\r\n" * 1000, id="trailers"),
        pytest.param(CHUNKED + b"0\r\nX: ", b"v" * 16_000, id="one endless trailer"),
        pytest.param(CHUNKED + b"1;", b"e" * 16_000, id="an endless chunk extension"),
    ],
)
def test_an_endless_request_head_is_refused(edge: EdgeServer, start: bytes, piece: bytes) -> None:
    with edge.connection() as connection:
        connection.sendall(start)
        assert flood(connection, piece) < 20_000_000
    assert edge.get("/echo").endswith(b"0")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET /echo HTTP/1.1\r\nX: " + b"v" * 33_000 + b"\r\n\r\n", (431, "headers_too_large")),
        (b"GET /echo HTTP/1.1\r\nX: " + b"v" * 33_000, (431, "headers_too_large")),
        (b"GET /echo HTTP/1.1\r\n" + b"X: v\r\n" * 200 + b"\r\n", (431, "headers_too_large")),
        (b"GET /" + b"p" * 33_000 + b" HTTP/1.1\r\n\r\n", (431, "headers_too_large")),
        (b"NONSENSE\r\n\r\n", (400, "parameter_invalid")),
        (b"GET /\xff\xfe HTTP/1.1\r\n\r\n", (400, "parameter_invalid")),
        (b"GET echo HTTP/1.1\r\n\r\n", (400, "parameter_invalid")),
        (CHUNKED + b"zz\r\n", (400, "parameter_invalid")),
        (b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", (400, "parameter_invalid")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "parameter_invalid")),
    ],
)
def test_an_invalid_request_head_is_refused_and_the_connection_closes(
    edge: EdgeServer, request_: bytes, expected: tuple[int, str]
) -> None:
    assert code(edge.ask(request_)) == expected


def test_a_request_head_just_below_the_limit_is_accepted(edge: EdgeServer) -> None:
    head = b"GET /echo HTTP/1.1\r\nConnection: close\r\n" + b"X: " + b"v" * 32_000 + b"\r\n\r\n"
    assert edge.ask(head).startswith(b"HTTP/1.1 200")


def test_a_body_in_many_small_chunks_is_accepted(edge: EdgeServer) -> None:
    body = b"".join(b"1\r\nx\r\n" for _ in range(50_000)) + b"0\r\n\r\n"
    assert edge.ask(CHUNKED.replace(b"Host: x", b"Connection: close") + body).endswith(b"50000")


def test_requests_on_one_connection_are_answered_in_their_order(edge: EdgeServer) -> None:
    requests = [POST % size + bytes(size) for size in (10, 70_000, 3)]
    answers = edge.ask(b"".join(requests) + GET.replace(b"Host: x", b"Connection: close"))
    assert [answer.split(b"\r\n\r\n")[1] for answer in answers.split(b"HTTP/1.1 200 OK")[1:]] == [
        b"10", b"70000", b"3", b"0",
    ]  # fmt: skip


def test_an_upgrade_is_answered_as_an_ordinary_request_and_the_connection_closes(edge: EdgeServer) -> None:
    for upgrade in (b"websocket", b"h2c"):
        asked = b"GET /echo HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n"
        assert edge.ask(asked).startswith(b"HTTP/1.1 200")


def test_headers_that_arrive_too_slowly_are_refused_and_a_silent_connection_is_closed() -> None:
    with running_edge(header_timeout_s=2.0) as edge:
        assert code(edge.ask(b"GET /echo HTTP/1.1\r\nX-Slow: ")) == (408, "request_too_slow")
        assert edge.ask(b"") == b""
        with edge.connection() as connection:  # single bytes do not extend the deadline
            connection.sendall(GET)
            assert read_answer(connection).endswith(b"0")
            dripping = threading.Event()
            connection.sendall(b"GET /")

            def drip() -> None:
                with contextlib.suppress(OSError):
                    while not dripping.wait(0.05):
                        connection.sendall(b"x")

            thread = threading.Thread(target=drip)
            thread.start()
            try:
                assert code(read_to_end(connection)) == (408, "request_too_slow")
            finally:
                dripping.set()
                thread.join()


def test_an_idle_connection_is_closed() -> None:
    with running_edge(keep_alive_s=1) as edge, edge.connection() as connection:
        connection.sendall(GET)
        read_answer(connection)
        assert connection.recv(1) == b""


def test_slow_posts_occupy_no_worker_and_end_with_408() -> None:
    with running_edge(max_concurrent=1, body_grace_s=6.0) as edge, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(edge.connection()) for _ in range(20)]
        for connection in slow:
            connection.sendall(POST % 1000 + b"x")
        wait_until(lambda: edge.bodies.held_bytes == 20, what="the slow bodies")
        assert edge.ask(POST % 4 + b"body" + GET.replace(b"Host: x", b"Connection: close")).count(b"200 OK") == 2
        for connection in slow:
            assert code(read_to_end(connection)) == (408, "request_too_slow")
        assert edge.bodies.held_bytes == 0


def test_a_body_that_arrives_at_the_minimum_rate_is_accepted() -> None:
    with running_edge(body_grace_s=0.2, body_min_bytes_per_s=1000) as edge, edge.connection() as connection:
        connection.sendall(POST % 20_000 + bytes(10_000))
        connection.settimeout(1.0)
        with pytest.raises(TimeoutError):  # longer than the grace period
            connection.recv(1)
        connection.settimeout(HUNG_AFTER_S)
        connection.sendall(bytes(10_000))
        assert read_answer(connection).endswith(b"20000")


def test_a_client_that_disconnects_during_its_body_leaves_nothing() -> None:
    with running_edge() as edge:
        with edge.connection() as connection:
            connection.sendall(POST % 1000 + b"x")
            wait_until(lambda: edge.bodies.held_bytes == 1, what="the body")
        wait_until(lambda: edge.bodies.held_bytes == 0, what="its end")


def test_all_bodies_together_are_bounded_and_the_largest_is_dropped() -> None:
    with running_edge(max_held_body_bytes=1_000_000) as edge, contextlib.ExitStack() as stack:
        large, middle = (stack.enter_context(edge.connection()) for _ in range(2))
        large.sendall(POST % 900_000 + bytes(600_000))
        wait_until(lambda: edge.bodies.held_bytes == 600_000, what="the large body")
        middle.sendall(POST % 500_000 + bytes(300_000))
        wait_until(lambda: edge.bodies.held_bytes == 900_000, what="the second body")
        assert edge.ask(POST.replace(b"Host: x", b"Connection: close") % 200_000 + bytes(200_000)).endswith(b"200000")
        refused = read_to_end(large)
        assert code(refused) == (503, "unavailable")
        assert b"retry-after: " in refused
        middle.sendall(bytes(200_000))
        assert read_answer(middle).endswith(b"500000")
        assert edge.bodies.held_bytes == 0


def test_above_the_connection_limit_only_health_checks_are_answered() -> None:
    with (
        running_edge(max_connections=5, reserved_connections=3, header_timeout_s=HUNG_AFTER_S) as edge,
        contextlib.ExitStack() as stack,
    ):
        served = [stack.enter_context(edge.connection()) for _ in range(5)]
        for connection in served:
            connection.sendall(GET)
            read_answer(connection)
        refused = edge.get("/echo")
        assert code(refused) == (503, "unavailable")
        assert b"retry-after: 1\r\n" in refused
        assert b"connection: close\r\n" in refused
        # Silent connections take the reserved places from each other, not from a health check.
        silent = [stack.enter_context(edge.connection()) for _ in range(20)]
        for _ in range(5):
            assert edge.get("/livez").startswith(b"HTTP/1.1 200")
        served[0].sendall(GET)
        assert read_answer(served[0]).endswith(b"0")
        for connection in [*silent, *served]:
            connection.close()
        wait_until(lambda: edge.get("/echo").startswith(b"HTTP/1.1 200"), what="room again")


def test_one_address_has_a_share_of_the_connections_unless_it_is_a_proxy() -> None:
    class Opened:
        def __init__(self, address: str) -> None:
            self.address = address

        def make_room(self) -> None: ...

        def check(self, now_s: float) -> None: ...

    connections = Connections(
        ConnectionLimits(max_connections=100, max_connections_per_address=2),
        proxies=("198.51.100.0/24", "2001:db8:1::/48"),
    )

    def add(address: str) -> tuple[Opened, Place]:
        connection = Opened(address)
        return connection, connections.add(connection)

    first = add("203.0.113.7")
    assert [first[1], add("203.0.113.7")[1], add("203.0.113.7")[1]] == [Place.FULL, Place.FULL, Place.REFUSED]
    assert add("203.0.113.8")[1] is Place.FULL
    # With IPv6 one caller has a whole network.
    assert [add(f"2001:db8::{number}")[1] for number in range(3)] == [Place.FULL, Place.FULL, Place.REFUSED]
    connections.remove(*first)
    assert add("203.0.113.7")[1] is Place.FULL
    for address in ("127.0.0.1", "::1", "", "198.51.100.9", "2001:db8:1::9"):
        assert [add(address)[1] for _ in range(4)] == [Place.FULL] * 4


@contextlib.contextmanager
def full(edge: EdgeServer) -> Iterator[None]:
    """The only worker is busy."""
    with edge.connection() as working:
        working.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: edge.toy.waiting == 1, what="the request at work")
        yield
        edge.toy.go.set()
        assert read_answer(working).endswith(b"0")
        edge.toy.go.clear()


@pytest.fixture(scope="module")
def single() -> Iterator[EdgeServer]:
    with running_edge(max_concurrent=1) as server:
        yield server


@pytest.mark.parametrize("size", [300_000, 5_000_000])
def test_a_refused_large_body_is_answered_before_it_is_sent_and_without_a_reset(single: EdgeServer, size: int) -> None:
    with full(single), single.connection() as connection:
        connection.sendall(POST % size)
        connection.sendall(bytes(size))  # like a client that reads no answer before it has sent everything
        answer = read_to_end(connection)
        assert code(answer) == (503, "unavailable")
        assert b"retry-after: 1\r\n" in answer
        assert b"connection: close\r\n" in answer


def test_a_body_of_unknown_length_that_is_refused_ends_its_connection(single: EdgeServer) -> None:
    with full(single), single.connection() as connection:
        connection.sendall(CHUNKED + b"5\r\nhello\r\n" * 1000)
        answer = read_to_end(connection)
        assert code(answer) == (503, "unavailable")


def test_a_small_body_that_is_refused_keeps_its_connection(single: EdgeServer) -> None:
    with full(single), single.connection() as connection:
        connection.sendall(POST % 1000 + bytes(1000))
        assert code(read_answer(connection)) == (503, "unavailable")
        single.toy.go.set()
        wait_until(lambda: single.toy.waiting == 0, what="room")
        connection.sendall(POST % 7 + bytes(7))
        assert read_answer(connection).endswith(b"7")


def test_a_client_that_waits_for_100_continue_is_refused_without_one(single: EdgeServer) -> None:
    with full(single), single.connection() as connection:
        connection.sendall((POST % 1000).replace(b"Host: x", b"Expect: 100-continue"))
        answer = read_to_end(connection)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"connection: close\r\n" in answer
    with single.connection() as connection:
        connection.sendall((POST % 4).replace(b"Host: x", b"Expect: 100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        assert read_answer(connection).endswith(b"4")


def test_a_client_that_retries_at_once_after_a_refusal_is_not_read_for_a_while() -> None:
    with running_edge(max_concurrent=1, refusal_pause_s=0.5) as edge, full(edge), edge.connection() as connection:
        connection.sendall(GET)
        assert code(read_answer(connection))[0] == 503
        began_s = time.monotonic()
        connection.sendall(GET)
        assert code(read_answer(connection))[0] == 503
        assert time.monotonic() - began_s > 0.4


def test_a_declared_length_beyond_the_limit_is_refused_and_the_answer_arrives() -> None:
    with running_edge(max_body_bytes=1000) as edge, edge.connection() as connection:
        connection.sendall(POST % 2_000_000 + bytes(2_000_000))
        assert code(read_to_end(connection)) == (413, "body_too_large")


def test_a_client_that_does_not_read_its_answer_is_disconnected() -> None:
    with running_edge(write_timeout_s=0.5) as edge, edge.connection() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        def dropped() -> bool:
            try:
                connection.send(b"\r\n")
            except OSError:
                return True
            return False

        wait_until(dropped, what="the end of the connection")
