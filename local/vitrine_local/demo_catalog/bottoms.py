"""Garments for the lower body: trousers and skirts with a waistband."""

from __future__ import annotations

from vitrine_local.demo_catalog.canvas import Canvas, Path, Point, box, ellipse, mirror
from vitrine_local.demo_catalog.style import Colour, Style, darker, lighter

_WAIST_Y = 14.0


def _legs(*, ankle: float, hem_y: float, hip: float, waist: float) -> Path:
    """Both legs as one outline; `ankle` is the width of a leg at its hem."""
    crotch = 52.0
    inner = 2.2 + max(0.0, (hip - ankle) * 0.12)
    path = Path(0, _WAIST_Y).to((waist, _WAIST_Y - 0.8)).bend((hip, 30), (hip + 0.4, 44))
    outer = inner + ankle
    path.bend((outer + 2.0, 0.55 * hem_y + 25), (outer, hem_y)).to((inner, hem_y + 1.2))
    path.bend((inner - 0.6, 0.5 * hem_y + 30), (0, crotch))
    return path.mirrored()


def _waistband(canvas: Canvas, style: Style, waist: float, colour: Colour | None = None) -> None:
    band = Path(0, _WAIST_Y - 1).to((waist + 0.3, _WAIST_Y - 2.2), (waist + 0.9, _WAIST_Y + 4.4), (0, _WAIST_Y + 5.4))
    canvas.fill(band.mirrored(), colour or style.cloth, roundness=0.15, edge=0.5)


def _measures(style: Style) -> tuple[float, float]:
    """Half widths at the waist and the hip."""
    if style.is_feminine:
        return style.between("waist", 14, 16), style.between("hip", 20.5, 22.5)
    return style.between("waist", 17.5, 19), style.between("hip", 21, 22.5)


def draw_jeans(canvas: Canvas, style: Style) -> None:
    waist, hip = _measures(style)
    ankle = style.between("ankle", 8, 11.5) if style.is_feminine else style.between("ankle", 12.5, 16)
    hem_y = 112.0 if style.is_child else 124.0
    canvas.fill(_legs(ankle=ankle, hem_y=hem_y, hip=hip, waist=waist), style.cloth, roundness=0.42)
    thread = (214, 158, 84)
    _waistband(canvas, style, waist)
    canvas.fill(ellipse(0, _WAIST_Y + 2, 1.3, 1.3), thread, roundness=0)
    canvas.stroke([(0, _WAIST_Y + 4), (0, 40)], style.trim, 0.7)
    canvas.dashes([(3.4, _WAIST_Y + 5), (3.2, 34), (0.6, 39)], thread, 0.5)
    for side in (1, -1):
        pocket = Path(side * (waist * 0.42), _WAIST_Y + 5).bend((side * waist * 0.5, 29), (side * (hip - 0.8), 30))
        canvas.stroke(pocket.points, style.trim, 0.8)
        canvas.dashes([pocket.points[0], pocket.points[5], pocket.points[-1]], thread, 0.5)
        canvas.stroke([(side * waist * 0.62, _WAIST_Y - 1), (side * waist * 0.62, _WAIST_Y + 5)], style.trim, 1.4)
        canvas.dashes([(side * 3.5, hem_y - 3), (side * (ankle + 3), hem_y - 4)], thread, 0.5)
    _leg_folds(canvas, hip, ankle, hem_y)


def _leg_folds(canvas: Canvas, hip: float, ankle: float, hem_y: float) -> None:
    creases: list[list[Point]] = [
        [(1.5, 50.0), (hip * 0.55, 44.0)],
        [(2.0, 55.0), (hip * 0.5, 60.0)],
        [(ankle * 0.4 + 3, 84.0), (ankle + 3, 80.0)],
        [(ankle * 0.3 + 3, hem_y - 9), (ankle + 2, hem_y - 12)],
    ]
    canvas.folds([*creases, *(mirror(crease) for crease in creases), [(0, 51.0), (0, hem_y)]], width=1.6, depth=0.3)


def draw_trousers(canvas: Canvas, style: Style) -> None:
    """Pressed trousers: a sharp crease down each leg, belt loops, slanted pockets."""
    waist, hip = _measures(style)
    ankle = style.between("ankle", 11, 18) if style.is_feminine else style.between("ankle", 13, 15.5)
    hem_y = 112.0 if style.is_child else 124.0
    canvas.fill(_legs(ankle=ankle, hem_y=hem_y, hip=hip, waist=waist), style.cloth, roundness=0.32)
    _waistband(canvas, style, waist, darker(style.colour, 0.12))
    for side in (1, -1):
        canvas.stroke([(side * waist * 0.55, _WAIST_Y + 5), (side * (ankle * 0.5 + 3.4), hem_y)],
                      lighter(style.trim, 0.05), 0.6)  # fmt: skip
        canvas.stroke([(side * (waist - 3), _WAIST_Y + 6), (side * (hip - 0.6), 34)], style.trim, 0.8)
        for share in (0.35, 0.8):
            x = side * waist * share
            canvas.stroke([(x, _WAIST_Y - 1), (x, _WAIST_Y + 5)], style.trim, 1.2)
    canvas.stroke([(0.4, _WAIST_Y + 5), (0.4, 46)], style.trim, 0.6)
    canvas.folds([[(0, 50.0), (0, hem_y)]], width=1.2, depth=0.4)


def draw_shorts(canvas: Canvas, style: Style) -> None:
    waist, hip = _measures(style)
    waist, hip = waist * 1.22, hip * 1.22
    hem_y = style.between("length", 58, 66) if style.is_feminine else style.between("length", 78, 90)
    flare = hip * 0.98
    path = Path(0, _WAIST_Y + 14).to((waist, _WAIST_Y + 13)).bend((hip, 45), (flare + 1.5, hem_y + 8))
    path.to((2.6, hem_y + 10.5), (0, 60)).mirrored()
    canvas.fill(path, style.cloth, roundness=0.32)
    band = Path(0, _WAIST_Y + 12).to((waist, _WAIST_Y + 11), (waist + 0.8, _WAIST_Y + 18), (0, _WAIST_Y + 19))
    canvas.fill(band.mirrored(), style.cloth, roundness=0.15, edge=0.55)
    if style.chance("cord", 0.5):
        for side in (1, -1):
            canvas.stroke([(side * 0.8, 31), (side * 2.6, 45)], lighter(style.second, 0.4), 0.9)
    else:
        canvas.stroke([(0, 33), (0, 56)], style.trim, 0.7)
        canvas.fill(ellipse(0, 29.5, 1.2, 1.2), lighter(style.trim, 0.5), roundness=0)
    for side in (1, -1):
        canvas.stroke([(side * (waist - 5), 33), (side * (hip - 1), 50)], style.trim, 0.8)
        canvas.stroke([(side * 3, hem_y + 7), (side * (flare + 1), hem_y + 4.8)], style.trim, 0.5)
    canvas.folds([[(0, 58.0), (0, hem_y + 10)], [(4, 58.0), (14, 53.0)], [(-4, 58.0), (-14, 53.0)]], depth=0.3)


def draw_skirt(canvas: Canvas, style: Style) -> None:
    """A pencil, flared or pleated skirt."""
    waist = style.between("waist", 14, 16.5)
    flare, hem_y = style.between("flare", 19, 38), style.between("length", 76, 112)
    top = 26.0
    path = Path(0, top).to((waist, top - 1)).bend((waist + 5, top + 14), (flare, hem_y))
    path.bend((flare * 0.5, hem_y + 5), (0, hem_y + 5)).mirrored()
    canvas.fill(path, style.cloth, roundness=0.34)
    if flare > 23:
        count = 9 if style.chance("pleated", 0.5) else 5
        folds: list[list[Point]] = []
        for index in range(count):
            share = (index + 0.5) / count * 2 - 1
            folds.append([(share * waist * 0.9, top + 6), (share * flare * 0.92, hem_y + 4.5 - abs(share) * 3)])
        canvas.folds(folds, width=1.5, depth=0.42)
    else:
        canvas.folds([[(4, top + 8), (8, hem_y)]], depth=0.2)
        canvas.stroke([(3, hem_y - 14), (3, hem_y + 5)], style.trim, 0.9)
    canvas.fill(box(-waist - 0.4, top - 4, 2 * waist + 0.8, 6, 1), style.trim, roundness=0.2)
    canvas.stroke([(-flare + 0.5, hem_y - 2.6), (0, hem_y + 2.4), (flare - 0.5, hem_y - 2.6)], style.trim, 0.5)
    if style.chance("buttons", 0.25):
        for row in range(5):
            canvas.fill(ellipse(0, top + 9 + row * 9, 1.1, 1.1), lighter(style.trim, 0.5), roundness=0, edge=0.4)
