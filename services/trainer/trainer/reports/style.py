"""How every drawing of a report looks: its colours, its type, and words that are sure to fit and to be drawn.

Figures are made without pyplot, whose state belongs to the whole process.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

DPI: Final = 150
POINTS_PER_INCH: Final = 72

PAPER: Final = "#ffffff"
INK: Final = "#1f2328"
FAINT_INK: Final = "#6b7280"
RULE: Final = "#d4d7dc"
BLANK: Final = "#e4e6ea"
GOOD: Final = "#2e7d4f"
BAD: Final = "#c0392b"
SERIES: Final = ("#1f5f99", "#d9822b", "#3a8a6e", "#8b5fa8")

TITLE_PT: Final = 12.0
LABEL_PT: Final = 9.0
SMALL_PT: Final = 7.5

_FONT: Final = "DejaVu Sans"  # comes with matplotlib, so that a drawing is the same everywhere
_MISSING: Final = "\N{REPLACEMENT CHARACTER}"
_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty white figure."""
    return Figure(figsize=(width_in, height_in), dpi=DPI, facecolor=PAPER)


def font(size_pt: float, *, bold: bool = False) -> FontProperties:
    return FontProperties(family=_FONT, size=size_pt, weight="bold" if bold else "normal")


def quieten(axes: Axes) -> None:
    """Leave the axes the two lines that carry their numbers."""
    axes.set_facecolor(PAPER)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(colors=FAINT_INK, length=3, width=0.8)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(font(LABEL_PT))


def drawable(text: str) -> str:
    """`text` on one line, with a sign in place of what the font has no glyph for, which matplotlib warns of."""
    glyphs = _glyphs()
    return "".join(char if ord(char) in glyphs else _MISSING for char in " ".join(text.split()))


def width_in(text: str, size_pt: float, *, bold: bool = False) -> float:
    """How wide the text is drawn, in inches."""
    points: float = text_to_path.get_text_width_height_descent(text, font(size_pt, bold=bold), ismath=False)[0]
    return points / POINTS_PER_INCH


def fitted(text: str, size_pt: float, max_width_in: float) -> str:
    """`text`, drawable, and shortened where it is wider than it may be."""
    text = drawable(text)
    if width_in(text, size_pt) <= max_width_in:
        return text
    kept = text
    while kept and width_in(kept + _ELLIPSIS, size_pt) > max_width_in:
        kept = kept[:-1].rstrip()
    return kept + _ELLIPSIS


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(font(LABEL_PT))).get_charmap())
