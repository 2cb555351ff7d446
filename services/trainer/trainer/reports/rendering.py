"""How every report looks: colors, fonts and figure sizes; text that fits; PNG files and HTML pages.

Figures are made without pyplot, whose state is global to the process.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from PIL import Image, ImageFont

from vitrine.atomic_write import atomic_path

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
_MEASURED_PT: Final = 100.0  # so large that hinting does not change widths

FONT: Final = "DejaVu Sans"  # part of matplotlib, so figures are the same on every machine
_MISSING: Final = "\N{REPLACEMENT CHARACTER}"
_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty white figure."""
    return Figure(figsize=(width_in, height_in), dpi=DPI, facecolor=PAPER)


def font(size_pt: float, *, bold: bool = False) -> FontProperties:
    return FontProperties(family=FONT, size=size_pt, weight="bold" if bold else "normal")


@cache
def image_font(size_pt: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The same font for a drawing with Pillow at DPI."""
    path = findfont(font(size_pt, bold=bold))
    # The basic layout is part of every build of Pillow, so drawings are the same on every machine.
    return ImageFont.truetype(path, size_pt * DPI / POINTS_PER_INCH, layout_engine=ImageFont.Layout.BASIC)


def style_axes(axes: Axes) -> None:
    """Keep only the left and the bottom line of the axes, in light gray."""
    axes.set_facecolor(PAPER)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(colors=FAINT_INK, length=3, width=0.8, labelsize=LABEL_PT, labelfontfamily=FONT)


def drawable(text: str) -> str:
    """`text` on one line, with a replacement for each character that the font lacks: matplotlib would warn."""
    glyphs = _glyphs()
    return "".join(char if ord(char) in glyphs else _MISSING for char in " ".join(text.split()))


def width_in(text: str, size_pt: float, *, bold: bool = False) -> float:
    """The width of the drawn text in inches."""
    # Pillow measures many times as fast as matplotlib, and a caption is measured once for every character it loses.
    return image_font(_MEASURED_PT, bold=bold).getlength(text) / DPI * size_pt / _MEASURED_PT


def fitted(text: str, size_pt: float, max_width_in: float) -> str:
    """`text`, drawable, and shortened with an ellipsis if it is too wide."""
    text = drawable(text)
    if width_in(text, size_pt) <= max_width_in:
        return text
    kept = text
    while kept and width_in(kept + _ELLIPSIS, size_pt) > max_width_in:
        kept = kept[:-1].rstrip()
    return kept + _ELLIPSIS


def write_png(path: Path, figure: Figure) -> None:
    """Write the figure. The same figure gives the same bytes: the file names neither the program nor the time."""
    # Figure.savefig would apply the process's rcParams.
    canvas = FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        canvas.print_png(temporary, metadata={"Software": None})  # type: ignore[no-untyped-call]


def write_image(path: Path, image: Image.Image) -> None:
    """Write a drawing of DPI as PNG. The same drawing gives the same bytes."""
    with atomic_path(path) as temporary:
        image.save(temporary, "PNG", dpi=(DPI, DPI))


def render_page(template: str, **context: Any) -> str:
    """The HTML page of a template in `templates/`."""
    return _templates().get_template(template).render(**context)


@cache
def _templates() -> Environment:
    return Environment(loader=PackageLoader("trainer.reports"), autoescape=True, undefined=StrictUndefined)


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(font(LABEL_PT))).get_charmap())
