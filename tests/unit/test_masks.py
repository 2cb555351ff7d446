"""Cut-outs kept beside the decoded pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from trainer.data.mask_cache import cached_masks, compute_masks
from trainer.data.pixel_cache import PixelCache, trim_cache


def drawn(folder: Path, count: int, key: str = "shop") -> PixelCache:
    """Coloured boxes on white, each of another size."""
    pixels = np.full((count, 32, 24, 3), 255, dtype=np.uint8)
    for number, picture in enumerate(pixels):
        picture[8 : 12 + number % 12, 6:18] = (20, 30 + number % 100, 160)
    return PixelCache(key, folder, pixels, np.arange(count), ())


def test_the_cut_outs_of_the_rows_asked_for_are_found_once(tmp_path: Path) -> None:
    cache, rows = drawn(tmp_path, 200), np.arange(0, 200, 2)
    told: list[tuple[int, int]] = []
    first = cached_masks(cache, rows, 2, step=lambda *done: told.append(done))
    assert np.array_equal(first.of(rows), compute_masks(cache.pixels[rows], 2).found)
    assert first.of(rows).any(axis=(1, 2, 3)).all()
    assert np.array_equal(first.of(rows[[7, 3]]), first.of(rows)[[7, 3]])
    assert (first.places[1::2] == -1).all()
    assert told[-1] == (100, 100)
    told.clear()
    again = cached_masks(cache, rows[::-1], 2, step=lambda *done: told.append(done))
    assert not told, "nothing was found anew"
    assert np.array_equal(first.of(rows), again.of(rows))


def test_other_pictures_other_rows_and_another_count_have_cut_outs_of_their_own(tmp_path: Path) -> None:
    for cache, rows, count in (
        (drawn(tmp_path, 8), np.arange(8), 1),
        (drawn(tmp_path, 8), np.arange(8), 2),
        (drawn(tmp_path, 8), np.arange(4), 1),
        (drawn(tmp_path, 8, key="other"), np.arange(8), 1),
    ):
        found = cached_masks(cache, rows, count, step=lambda *_: None)
        assert np.array_equal(found.of(rows), compute_masks(cache.pixels[rows], count).found)
    assert len(list(tmp_path.glob("*.masks"))) == 4


def test_finding_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        cached_masks(drawn(tmp_path, 8), np.arange(8), 1, step=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        cached_masks(drawn(small_disk, 2000), np.arange(2000), 1, step=lambda *_: None)
    assert list(small_disk.iterdir()) == []


def test_old_cut_outs_make_room_as_old_pixels_do(tmp_path: Path) -> None:
    cached_masks(drawn(tmp_path, 8), np.arange(8), 1, step=lambda *_: None)
    (masks,) = tmp_path.iterdir()
    os.utime(masks, (0, 0))
    (tmp_path / "newer.pixels").write_bytes(bytes(10))
    trim_cache(tmp_path, keep_bytes=10)
    assert [path.name for path in tmp_path.iterdir()] == ["newer.pixels"]
