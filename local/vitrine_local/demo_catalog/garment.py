"""One picture of one garment, from its attributes and two numbers: which design it is, and which piece of it."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

from vitrine.errors import ParameterInvalid
from vitrine_local.demo_catalog.canvas import Canvas, Pose
from vitrine_local.demo_catalog.colours import COLOURS, Colour, contrasting, mixed
from vitrine_local.demo_catalog.fabric import PATTERNS, fabric, repeat_for, trim_of
from vitrine_local.demo_catalog.kinds import KINDS
from vitrine_local.demo_catalog.style import GENDERS, Style, number

DEFAULT_SIZE: Final = (120, 160)
_BACKGROUNDS: Final[tuple[Colour, ...]] = (
    (255, 255, 255), (255, 255, 255), (250, 250, 250), (244, 244, 246), (247, 244, 239), (239, 243, 247),
)  # fmt: skip
_MAX_SIDE_PX: Final = 2048


def draw_garment(
    article_type: str,
    colour: str,
    pattern: str = "plain",
    gender: str = "Women",
    seed: int = 0,
    size: tuple[int, int] = DEFAULT_SIZE,
    *,
    design: int = 0,
) -> Image.Image:
    """Draw a garment as an RGB picture of `size` (width, height) pixels.

    The same arguments give the same pixels. `design` decides the cut (neckline, length, details); `seed` only how the
    piece lies and is lit, so that several seeds of one design look like photographs of the same product. Raises
    ParameterInvalid for an article type, colour, pattern, gender or size that there is not.
    """
    for value, known, what in (
        (article_type, KINDS, "article type"),
        (colour, COLOURS, "colour"),
        (pattern, PATTERNS, "pattern"),
        (gender, GENDERS, "gender"),
    ):
        if value not in known:
            raise ParameterInvalid(f"no {what} {value!r} can be drawn; there are {', '.join(known)}")
    if not all(8 <= side <= _MAX_SIDE_PX for side in size):
        raise ParameterInvalid(f"a garment can be drawn on 8 to {_MAX_SIDE_PX} pixels a side, not {size}")
    kind = KINDS[article_type]
    look = f"{article_type}/{design}"
    piece = f"{look}/{colour}/{pattern}/{gender}/{seed}"
    canvas = Canvas(size, _pose(piece, is_child=gender in {"Boys", "Girls"}))
    # The colours are chosen from the dye, not from how it looks in this light, so that all pieces agree.
    tint, dye = _tint(piece), COLOURS[colour]
    ground, second, trim = (mixed(shade, tint, 0.06) for shade in (dye, _second_colour(look, dye), trim_of(dye)))
    cloth = fabric(
        canvas.garment_units(),
        pattern=pattern,
        size=repeat_for(number(look, "repeat")),
        ground=ground,
        second=second,
        texture=kind.texture,
    )
    style = Style(gender, cloth, pattern, ground, second, trim, look, piece)
    kind.draw(canvas, style)
    background = _BACKGROUNDS[int(number(piece, "background") * len(_BACKGROUNDS))]
    noise = np.random.default_rng(int(number(piece, "grain") * 2**32))
    grain = noise.normal(0.0, 1.6, (size[1], size[0])).astype(np.float32)
    return canvas.finished(background, shadow=0.35 + 0.4 * number(piece, "shadow"), grain=grain)


def _pose(piece: str, *, is_child: bool) -> Pose:
    def around(name: str, middle: float, spread: float) -> float:
        return middle + spread * (2 * number(piece, name) - 1)

    return Pose(
        turn=around("turn", 0.0, 0.07),
        scale=around("scale", 0.82 if is_child else 0.93, 0.05),
        stretch=around("stretch", 1.05 if is_child else 1.0, 0.035),
        move_x=around("move x", 0.0, 2.2),
        move_y=around("move y", 0.0, 2.5),
    )


def _tint(piece: str) -> Colour:
    """The light of the photograph: a touch warmer or cooler, brighter or darker."""
    warm, bright = number(piece, "warm"), number(piece, "bright")
    level = round(90 + 110 * bright)
    return min(level + round(40 * warm), 255), level, min(level + round(40 * (1 - warm)), 255)


def _second_colour(look: str, dye: Colour) -> Colour:
    """The pattern's second colour: mostly a plain contrast, sometimes a colour of its own."""
    if number(look, "second") < 0.65:
        return contrasting(dye)
    others = [colour for colour in COLOURS.values() if sum(abs(a - b) for a, b in zip(colour, dye, strict=True)) > 220]
    return others[int(number(look, "second colour") * len(others))]
