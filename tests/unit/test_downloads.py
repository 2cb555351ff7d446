"""Downloading pictures: from allowed hosts and public addresses only, within bounds, and resumed where it broke off."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpcore
import pytest
import redis

from harness.picture_host import PICTURE, PictureHost, serve_pictures
from indexer.fetching import DownloadFailed, Fetcher, FetchLimits, PublicOnly, Rate, resolve_host
from vitrine.catalogs.downloads import Downloads, Validators, is_link, link_host
from vitrine.errors import PictureNotFound

SHOP, VICTIM = "127.0.0.2", "127.0.0.1"
MAX_BYTES = 200_000


@pytest.fixture
def shop() -> Iterator[PictureHost]:
    yield from serve_pictures(PictureHost(SHOP))


@pytest.fixture
def victim() -> Iterator[PictureHost]:
    """A server inside the network, which must never be asked."""
    yield from serve_pictures(PictureHost(VICTIM))


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(tmp_path / "downloads")


Open = Callable[..., Fetcher]


@pytest.fixture
def fetcher(downloads: Downloads, shop: PictureHost, client: redis.Redis) -> Iterator[Open]:
    opened: list[Fetcher] = []
    limits = FetchLimits(
        hosts=(urlsplit(shop.url).netloc,),
        networks=(ipaddress.ip_network(f"{SHOP}/32"),),
        max_bytes=MAX_BYTES,
        rate_per_s=1_000.0,
        timeout_s=3.0,
        silence_s=0.5,
        total_s=20.0,
        attempts=2,
    )

    def open_(*, resolve: Any = resolve_host, rate_per_s: float | None = None, **changed: Any) -> Fetcher:
        used = replace(limits, **changed)
        rate = Rate(client, rate_per_s or used.rate_per_s)
        opened.append(Fetcher(downloads, used, rate, resolve=resolve))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def test_a_picture_is_downloaded_once_and_read_from_the_store(
    fetcher: Open, shop: PictureHost, downloads: Downloads
) -> None:
    links = [f"{shop.url}/good.jpg?v=1", f"{shop.url}/good.jpg?v=2", f"{shop.url}/good.jpg?v=1"]
    assert fetcher().fetch_all(links) == {}
    assert fetcher().fetch_all(links) == {}
    assert len(shop.asked) == 2
    assert downloads.read(links[0], max_bytes=MAX_BYTES) == PICTURE
    one, two = downloads.find(links[0]), downloads.find(links[1])
    assert one is not None
    assert two is not None
    assert one.sha256 == two.sha256


def test_a_picture_that_was_never_downloaded_cannot_be_read(downloads: Downloads) -> None:
    with pytest.raises(PictureNotFound, match="--download"):
        downloads.read("https://shop.example/a.jpg", max_bytes=MAX_BYTES)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("html.jpg", "not a usable picture"),
        ("endless.jpg", "more than"),
        ("large.jpg", "more than"),
        ("silent.jpg", "not answer in time"),
        ("missing.jpg", "answered 404"),
        ("broken.jpg", "answered 503"),
        ("circle.jpg", "redirects more than"),
        ("short.jpg", "broke off"),
    ],
)
def test_a_download_that_cannot_work_says_why_and_costs_only_itself(
    fetcher: Open, shop: PictureHost, downloads: Downloads, path: str, reason: str
) -> None:
    bad, good = f"{shop.url}/{path}", f"{shop.url}/good.jpg"
    failures = fetcher().fetch_all([bad, good])
    assert reason in failures.pop(bad)
    assert failures == {}
    assert downloads.find(bad) is None
    assert downloads.find(good) is not None


def test_a_redirect_to_an_allowed_host_is_followed(fetcher: Open, shop: PictureHost, downloads: Downloads) -> None:
    link = f"{shop.url}/moved.jpg"
    assert fetcher().fetch_all([link]) == {}
    assert downloads.read(link, max_bytes=MAX_BYTES) == PICTURE


def test_a_download_that_breaks_off_is_resumed(fetcher: Open, shop: PictureHost, downloads: Downloads) -> None:
    link = f"{shop.url}/dying.jpg"
    assert fetcher().fetch_all([link]) == {}
    assert [asked for _, asked in shop.asked] == [None, f"bytes={len(PICTURE) // 2}-"]
    assert downloads.read(link, max_bytes=MAX_BYTES) == PICTURE


def test_a_picture_that_changed_is_not_joined_with_the_part_of_the_old_one(
    fetcher: Open, shop: PictureHost, downloads: Downloads
) -> None:
    link = f"{shop.url}/good.jpg"
    downloads.store_part(link, b"the old beginning", replace(_validators(), etag='"v0"'))
    assert fetcher().fetch_all([link]) == {}
    assert downloads.read(link, max_bytes=MAX_BYTES) == PICTURE


def test_a_slow_download_goes_on_in_the_next_run(fetcher: Open, shop: PictureHost, downloads: Downloads) -> None:
    link = f"{shop.url}/slow.jpg"
    failures = fetcher(timeout_s=0.5).fetch_all([link])
    assert "index again" in failures[link]
    part = downloads.part(link)
    assert part is not None
    assert PICTURE.startswith(part.data)
    assert fetcher(timeout_s=60.0, total_s=60.0).fetch_all([link]) == {}
    assert shop.asked[-1][1] == f"bytes={len(part.data)}-"
    assert downloads.read(link, max_bytes=MAX_BYTES) == PICTURE
    assert downloads.part(link) is None


def test_an_old_download_is_checked_and_kept_if_the_server_fails(
    fetcher: Open, shop: PictureHost, downloads: Downloads
) -> None:
    link = f"{shop.url}/good.jpg"
    fetcher().fetch_all([link])
    before = downloads.find(link)
    assert fetcher(max_age_s=0.0).fetch_all([link]) == {}
    after = downloads.find(link)
    assert before is not None
    assert after is not None
    assert after.fetched_at_s > before.fetched_at_s
    assert after.sha256 == before.sha256
    refused = fetcher(max_age_s=0.0, hosts=())
    assert refused.fetch_all([link]) == {}
    assert downloads.read(link, max_bytes=MAX_BYTES) == PICTURE


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/good.jpg",
        "http://[::1]:{port}/good.jpg",
        "http://[::ffff:127.0.0.1]:{port}/good.jpg",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.7/good.jpg",
        "http://192.168.1.1/good.jpg",
        "http://0.0.0.0:{port}/good.jpg",
        "http://100.64.0.1/good.jpg",
        "http://localhost:{port}/good.jpg",
    ],
)
def test_nothing_private_is_asked_directly_or_by_a_redirect(
    fetcher: Open, shop: PictureHost, victim: PictureHost, target: str
) -> None:
    target = target.format(port=urlsplit(victim.url).port)
    named = urlsplit(target)
    host = (named.hostname or "") if named.port is None else f"{named.hostname}:{named.port}"
    # The host is allowed by its name, so only the check of its address is left.
    allowed = fetcher(hosts=(urlsplit(shop.url).netloc, host))
    redirected = f"{shop.url}/to.jpg?{target}"
    failures = allowed.fetch_all([target, redirected])
    assert failures.keys() == {target, redirected}
    assert all("not public" in reason for reason in failures.values())
    failures = fetcher().fetch_all([target, redirected])
    assert all("not allowed" in reason for reason in failures.values())
    assert victim.asked == []


def test_a_name_is_resolved_once_and_every_address_is_checked(
    fetcher: Open, shop: PictureHost, victim: PictureHost
) -> None:
    answers: list[list[str]] = [[SHOP], [VICTIM], [VICTIM]]
    asked: list[str] = []

    def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    port = urlsplit(shop.url).port
    link = f"http://pictures.example:{port}/good.jpg"
    rebinding = fetcher(resolve=resolve, hosts=(f"*.example:{port}",), attempts=1)
    assert rebinding.fetch_all([link]) == {}
    assert asked == ["pictures.example"]
    mixed = PublicOnly((ipaddress.ip_network(f"{SHOP}/32"),), _to(SHOP, VICTIM))
    with pytest.raises(DownloadFailed, match="not public"):
        mixed.connect_tcp("pictures.example", port or 80, timeout=1.0)
    assert victim.asked == []


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::808:808", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("192.0.2.1", False),
        ("::", False),
    ],
)
def test_only_public_addresses_are_connected_to(address: str, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[str] = []
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", lambda *given, **_: connected.append(given[1]))
    backend = PublicOnly((), _to(address))
    if allowed:
        backend.connect_tcp("host.example", 443)
        assert connected == [address]
    else:
        with pytest.raises(DownloadFailed, match="not public"):
            backend.connect_tcp("host.example", 443)
        assert connected == []


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("ftp://shop.example/a.jpg", "not an address of the web"),
        ("file:///etc/passwd", "not an address of the web"),
        ("http:///a.jpg", "not an address of the web"),
        ("http://user:secret@shop.example/a.jpg", "user name"),
        ("http://shop.example:99999/a.jpg", "malformed"),
        ("http://[::1/a.jpg", "malformed"),
        ("http://other.example/a.jpg", "VITRINE_DOWNLOAD_HOSTS"),
        ("http://shop.example:8080/a.jpg", "not allowed"),
        ("https://shop.example.evil.example/a.jpg", "not allowed"),
        ("https://evilcdn.example/a.jpg", "not allowed"),
        ("https://shop.example/" + "a" * 3_000, "more than 2048"),
    ],
)
def test_a_link_that_is_not_allowed_is_named_with_the_reason(fetcher: Open, link: str, reason: str) -> None:
    failures = fetcher(hosts=("shop.example", "*.cdn.example")).fetch_all([link])
    assert reason in failures[link]
    assert "secret" not in failures[link]


def test_a_host_is_asked_at_most_so_often_a_second_by_all_processes(
    fetcher: Open, shop: PictureHost, client: redis.Redis
) -> None:
    links = [f"{shop.url}/good.jpg?n={number}" for number in range(9)]
    started_s = time.monotonic()
    assert fetcher(rate_per_s=4.0).fetch_all(links) == {}
    # Nine requests fill two whole seconds and touch a third; the first may begin late in its second.
    assert time.monotonic() - started_s >= 1.0
    rate = Rate(client, 2.0)
    until_s = time.monotonic() + 0.001
    assert [rate.wait("busy.example", until_s=until_s) for _ in range(20)].count(True) <= 4


def test_links_are_told_from_paths() -> None:
    assert is_link("https://shop.example/a.jpg")
    assert is_link("HTTP://shop.example/a.jpg")
    assert not is_link("images/a.jpg")
    assert not is_link("httpd/a.jpg")
    assert link_host("https://Shop.Example:8443/a.jpg") == "shop.example"
    assert link_host("https://[::1/a") == ""


def _validators() -> Validators:
    return Validators()


def _to(*addresses: str) -> Callable[[str, int], Sequence[str]]:
    def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return resolve
