"""Markdown tables and the figures in them."""

from __future__ import annotations

from collections.abc import Sequence


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def head(*names: str, text_columns: int = 1) -> str:
    """The two lines of a head. The first `text_columns` are aligned left, the others, with figures, right."""
    alignment = ["---"] * text_columns + ["---:"] * (len(names) - text_columns)
    return f"{row(*names)}\n|{'|'.join(alignment)}|"


def quantile(values: Sequence[float], fraction: float) -> float:
    """The value at position `int(fraction * n)` of the n sorted values; NaN if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else float("nan")


def quantiles(values: Sequence[float], *fractions: float, digits: int = 1) -> list[str]:
    """Quantiles as text; "-" if there are no values."""
    return [f"{quantile(values, one):.{digits}f}" if values else "-" for one in fractions]
