"""Shoes from the side, toe to the left, and sandals from above."""

from __future__ import annotations

from vitrine_local.demo_catalog.canvas import Canvas, Path, Point, ellipse
from vitrine_local.demo_catalog.style import Style, darker, lighter

_GROUND_Y = 88.0


def draw_sneaker(canvas: Canvas, style: Style) -> None:
    """A laced casual shoe with a light sole, high or low."""
    high = style.chance("high", 0.3)
    top = 44.0 if high else 54.0
    sole_y = _GROUND_Y - style.between("sole", 6, 9)
    upper = Path(-42, sole_y + 1).bend((-44, 72), (-33, 69)).bend((-20, 66), (-8, top + 3)).to((-3, top - 2))
    upper.bend((8, top + 5), (24, top - 3)).bend((33, top - 4), (36, top + 6)).bend((40, 72), (40, sole_y + 1))
    canvas.fill(upper, style.cloth, roundness=0.36)
    inside = Path(-3, top - 2).bend((10, top + 6), (26, top - 3)).bend((10, top - 1), (-3, top - 2))
    canvas.fill(inside, darker(style.colour, 0.55), roundness=0)
    tongue = Path(-12, top + 7).bend((-11, top - 5), (-5, top - 6)).bend((1, top - 6), (2, top + 3))
    canvas.fill(tongue, lighter(style.colour, 0.25), roundness=0.2)
    sole = Path(-44, sole_y).bend((-47, _GROUND_Y), (-38, _GROUND_Y)).to((36, _GROUND_Y))
    sole.bend((44, _GROUND_Y), (42, sole_y - 2)).bend((0, sole_y + 1.5), (-44, sole_y))
    canvas.fill(sole, (240, 240, 236), roundness=0.15, edge=0.35)
    canvas.stroke([(-43, sole_y + 3.5), (0, sole_y + 4), (41, sole_y + 2.5)], style.second, 0.9)
    cap = Path(-42, sole_y).bend((-44, 72), (-33, 69)).bend((-27, 74), (-27, sole_y))
    canvas.fill(cap, lighter(style.colour, 0.72) if style.chance("cap", 0.5) else style.trim, roundness=0.3)
    heel = Path(33, top - 3).bend((36, top), (36, top + 6)).bend((40, 72), (40, sole_y)).to((30, sole_y))
    canvas.fill(heel.bend((32, 70), (28, top + 2)), style.trim, roundness=0.25)
    for row in range(4 if high else 3):
        share = row / 3
        x, y = -24 + 18 * share, 68.5 - (68.5 - top - 4) * share
        canvas.stroke([(x - 3, y - 1), (x + 6, y + 5)], (236, 236, 232), 1.7)
    if style.chance("stripe", 0.7):
        swoosh = Path(-14, 79).bend((8, 80), (30, 62)).bend((10, 86), (-8, 83))
        canvas.fill(swoosh, style.second, roundness=0, edge=0.2)


def draw_heel(canvas: Canvas, style: Style) -> None:
    """A pump on a stiletto or a block heel."""
    height = style.between("height", 22, 36)
    heel_top = _GROUND_Y - height
    block = style.chance("block", 0.35)
    stem: list[Point]
    if block:
        stem = [(22, heel_top + 4), (38, heel_top + 2), (37, _GROUND_Y), (25, _GROUND_Y)]
    else:
        stem = [(26, heel_top + 4), (38, heel_top + 2), (36.2, _GROUND_Y), (33.8, _GROUND_Y)]
    canvas.fill(Path(*stem[0]).to(*stem[1:]), darker(style.colour, 0.25), roundness=0.35)
    sole = Path(-42, _GROUND_Y - 1).to((-12, _GROUND_Y)).bend((4, _GROUND_Y - 2), (22, heel_top + 12))
    sole.bend((30, heel_top + 7), (38, heel_top + 6)).to((38, heel_top)).to((-20, _GROUND_Y - 10))
    canvas.fill(sole, darker(style.trim, 0.3), roundness=0.1)
    upper = Path(-43, _GROUND_Y - 1.5).bend((-45, _GROUND_Y - 9), (-32, _GROUND_Y - 12))
    upper.bend((-22, _GROUND_Y - 14), (-14, _GROUND_Y - 17)).bend((4, _GROUND_Y - 6), (24, heel_top - 9))
    upper.bend((34, heel_top - 18), (38, heel_top - 17)).bend((42, heel_top - 6), (38.5, heel_top + 5))
    upper.bend((26, heel_top + 5), (16, heel_top + 13)).bend((4, _GROUND_Y - 3), (-14, _GROUND_Y - 1.5))
    canvas.fill(upper, style.cloth, roundness=0.42)
    if style.chance("strap", 0.5):
        strap = Path(26, heel_top - 12).bend((16, heel_top - 22), (8, heel_top - 17))
        canvas.stroke(strap.points, style.trim, 2.2, on_garment=False)
        canvas.stroke([(8, heel_top - 17), (6, _GROUND_Y - 13)], style.trim, 2.2, on_garment=False)
    if style.chance("bow", 0.4):
        canvas.fill(ellipse(-24, _GROUND_Y - 13.5, 4.5, 2.6), style.second, roundness=0.3)


def draw_flip_flops(canvas: Canvas, style: Style) -> None:
    """A pair from above with V-shaped straps."""
    for side in (1, -1):
        x = side * 21.0
        bulge = side * 1.5
        sole = Path(x, 14).bend((x + 15 + bulge, 14), (x + 15.5 + bulge, 40)).bend((x + 13, 62), (x + 12.5, 84))
        sole.bend((x + 13, 112), (x, 112)).bend((x - 13, 112), (x - 12.5, 84)).bend(
            (x - 13, 62), (x - 15.5 + bulge, 40)
        )
        sole.bend((x - 15 + bulge, 14), (x, 14))
        canvas.fill(sole, style.cloth, roundness=0.2, edge=0.6)
        middle = [(x + (px - x) * 0.86, 63 + (py - 63) * 0.9) for px, py in sole.points]
        canvas.stroke(middle, style.trim, 0.7)
        toe = x - side * 1.5
        for end in (x - 13.5, x + 13.5):
            strap = Path(toe, 34).bend((x + (end - x) * 0.5, 44), (end, 66))
            canvas.stroke(strap.points, darker(style.second, 0.05), 4.6, on_garment=False)
            canvas.stroke(strap.points, lighter(style.second, 0.3), 0.9)
        canvas.fill(ellipse(toe, 33, 2.6, 2.6), darker(style.second, 0.2), roundness=0.3)
