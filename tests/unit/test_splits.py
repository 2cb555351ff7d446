"""The parts of a dataset."""

from __future__ import annotations

from collections import Counter

from vitrine.splits import part_of


def test_parts_have_their_shares() -> None:
    counts = Counter(part_of("shop", str(number), seed=0) for number in range(20_000))
    assert abs(counts["train"] / 20_000 - 0.6) < 0.02
    assert abs(counts["validation"] / 20_000 - 0.2) < 0.02
    assert abs(counts["test"] / 20_000 - 0.2) < 0.02


def test_a_product_keeps_its_part_whatever_else_is_there() -> None:
    assert [part_of("shop", "1", seed=0) for _ in range(3)] == [part_of("shop", "1", seed=0)] * 3


def test_another_seed_splits_otherwise() -> None:
    moved = sum(part_of("shop", str(n), seed=0) != part_of("shop", str(n), seed=1) for n in range(1000))
    assert moved > 300
