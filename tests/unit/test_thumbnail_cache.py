"""The thumbnail cache on disk: complete files, bounded, least recently used removed first, and disk errors are not
raised.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from search_api.products.thumbnail_cache import ThumbnailCache

KB = 1_000


def digest(number: int) -> str:
    return f"{number:064x}"


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_cached_thumbnail_is_found_by_picture_and_width(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path / "cache", max_bytes=KB)
    assert cache.get(digest(1), 64) is None
    cache.put(digest(1), 64, b"small")
    cache.put(digest(1), 256, b"larger")
    again = ThumbnailCache(tmp_path / "cache", max_bytes=KB)
    assert (again.get(digest(1), 64), again.get(digest(1), 256)) == (b"small", b"larger")
    assert again.get(digest(2), 64) is None


def test_the_cache_is_bounded_and_the_least_recently_used_file_is_removed(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path, max_bytes=100 * KB)
    long_ago_s = time.time() - 1e6
    for number in range(100):
        cache.put(digest(number), 64, bytes(1000))
        os.utime(cache._path(digest(number), 64), (long_ago_s + number, long_ago_s + number))
    assert cache.get(digest(0), 64)  # now the most recently used
    for number in range(100, 120):
        cache.put(digest(number), 64, bytes(1000))
    total_bytes = sum(path.stat().st_size for path in kept(tmp_path))
    assert total_bytes <= 100 * KB * (1 + 1 / 16)
    assert cache.get(digest(0), 64)
    assert cache.get(digest(119), 64)
    assert [cache.get(digest(number), 64) for number in range(1, 10)] == [None] * 9


def test_several_writers_of_one_folder_leave_only_complete_files(tmp_path: Path) -> None:
    caches = [ThumbnailCache(tmp_path, max_bytes=50 * KB) for _ in range(4)]

    def work(cache: ThumbnailCache) -> None:
        for number in range(200):
            data = bytes([number % 251]) * 1000
            cache.put(digest(number % 60), 64, data)
            found = cache.get(digest(number % 60), 64)
            assert found is None or (len(found) == 1000 and len(set(found)) == 1)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, caches))
    assert all(path.suffix == ".webp" for path in kept(tmp_path))


@pytest.mark.parametrize("fault", ["a file in its place", "no room", "nothing is to be kept"])
def test_a_thumbnail_that_cannot_be_cached_is_not_an_error(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "cache"
    if fault == "a file in its place":
        folder.write_text("not a folder")
    reserve_bytes = 2**62 if fault == "no room" else 0
    cache = ThumbnailCache(folder, max_bytes=0 if fault == "nothing is to be kept" else KB, reserve_bytes=reserve_bytes)
    cache.put(digest(1), 64, b"small")
    assert cache.get(digest(1), 64) is None
