"""Accessories: bags, watches, caps, sunglasses and ties."""

from __future__ import annotations

import math

from vitrine_local.demo_catalog.canvas import Canvas, Path, box, ellipse
from vitrine_local.demo_catalog.style import Style, darker, lighter

_GOLD = (206, 170, 88)
_STEEL = (186, 190, 196)


def draw_handbag(canvas: Canvas, style: Style) -> None:
    """A bag with a flap or a zip and one or two handles."""
    wide, high = style.between("wide", 29, 37), style.between("high", 38, 52)
    top = 100.0 - high
    lean = style.between("lean", -4, 4)
    metal = _GOLD if style.chance("gold", 0.6) else _STEEL
    rise = style.between("rise", 26, 44)
    handle = Path(-wide * 0.52, top + 3).bend((-wide * 0.5, top - rise), (0, top - rise))
    handle.bend((wide * 0.5, top - rise), (wide * 0.52, top + 3))
    canvas.stroke([(x * 0.9, y - 4) for x, y in handle.points], darker(style.colour, 0.35), 2.4, on_garment=False)
    body = Path(0, top).to((wide + lean - 4, top)).bend((wide + lean, top), (wide + lean, top + 5))
    body.to((wide - lean, 96)).bend((wide - lean, 101), (wide - lean - 6, 101)).to((0, 101)).mirrored()
    canvas.fill(body, style.cloth, roundness=0.36)
    canvas.stroke(handle.points, style.trim, 3.4, on_garment=False)
    canvas.stroke([(x, y - 0.7) for x, y in handle.points], lighter(style.colour, 0.2), 0.7)
    if style.chance("flap", 0.55):
        flap = (
            Path(0, top - 1)
            .to((wide + lean - 2, top - 1))
            .bend((wide + lean, top + high * 0.4), (wide * 0.45, top + high * 0.5))
        )
        canvas.fill(
            flap.bend((wide * 0.2, top + high * 0.55), (0, top + high * 0.56)).mirrored(), style.cloth, edge=0.6
        )
        canvas.fill(box(-3.6, top + high * 0.48, 7.2, 7, 1.4), metal, roundness=0.25)
    else:
        canvas.stroke([(-wide + 3, top + 5), (wide - 3, top + 5)], style.trim, 1.2)
        canvas.dashes([(-wide + 3, top + 5), (wide - 3, top + 5)], metal, 0.7, every=1.8)
        canvas.fill(box(wide * 0.5, top + 4, 2.4, 8, 0.8), metal, roundness=0.2)
        pocket = box(-wide * 0.62, top + high * 0.42, wide * 1.24, high * 0.46, 3)
        canvas.stroke([*pocket.points, pocket.points[0]], style.trim, 0.8)
    for side in (1, -1):
        canvas.fill(ellipse(side * wide * 0.52, top + 4, 2.3, 2.3), metal, roundness=0.3)
    canvas.dashes([(-wide + lean + 3, 97.5), (wide - lean - 3, 97.5)], lighter(style.trim, 0.25), 0.5)


def draw_backpack(canvas: Canvas, style: Style) -> None:
    for side in (1, -1):
        strap = Path(side * 16, 34).bend((side * 40, 44), (side * 33, 102))
        canvas.stroke(strap.points, darker(style.trim, 0.2), 5.5, on_garment=False)
    loop = Path(-6, 24).bend((-7, 12), (0, 12)).bend((7, 12), (6, 24))
    canvas.stroke(loop.points, style.trim, 2.6, on_garment=False)
    round_top = style.between("round", 14, 24)
    body = Path(0, 21).bend((27 - round_top * 0.2, 20), (29, 22 + round_top)).to((30.5, 104))
    body.bend((30.5, 113), (22, 113)).to((0, 114)).mirrored()
    canvas.fill(body, style.cloth, roundness=0.42)
    zip_line = Path(-26, 66).bend((-25, 29), (0, 28)).bend((25, 29), (26, 66))
    canvas.stroke(zip_line.points, style.trim, 1.3)
    canvas.fill(box(-23, 72, 46, 35, 6), style.cloth, roundness=0.3, edge=0.6)
    canvas.stroke([(-20, 79), (20, 79)], darker(style.trim, 0.2), 1.2)
    canvas.fill(box(13, 78, 2.2, 8, 0.8), _STEEL, roundness=0.2)
    canvas.fill(box(-8, 47, 16, 9, 1.5), style.second, roundness=0.1)
    for side in (1, -1):
        canvas.stroke([(side * 24, 68), (side * 30, 66)], style.trim, 2.2)


def draw_watch(canvas: Canvas, style: Style) -> None:
    """A wristwatch from above with an open strap."""
    radius = style.between("dial", 15, 18) if style.is_feminine else style.between("dial", 20, 24)
    strap = radius * (0.48 if style.is_feminine else 0.62)
    metal = _GOLD if style.chance("gold", 0.4) else _STEEL
    middle = 66.5
    band = Path(0, 5).bend((strap * 0.7, 5), (strap * 0.78, 11)).to((strap, middle - radius * 0.7))
    band.to((strap, middle + radius * 0.7), (strap * 0.78, 122)).bend((strap * 0.6, 128), (0, 128)).mirrored()
    canvas.fill(band, style.cloth, roundness=0.4)
    if style.chance("links", 0.4):
        rows = [[(-strap, float(y)), (strap, float(y))] for y in range(10, 126, 5) if abs(y - middle) > radius]
        canvas.folds(rows, width=0.9, depth=0.8)
    else:
        for side in (1, -1):
            canvas.dashes([(side * strap * 0.68, 14), (side * strap * 0.8, middle - radius)], style.trim, 0.5)
            canvas.dashes([(side * strap * 0.8, middle + radius), (side * strap * 0.68, 120)], style.trim, 0.5)
        for row in range(5):
            canvas.fill(ellipse(0, 98 + row * 5, 0.9, 1.1), darker(style.colour, 0.6), roundness=0, edge=0)
    canvas.fill(box(radius - 0.5, middle - 2.4, 4.2, 4.8, 1), metal, roundness=0.3)
    face = (246, 244, 238) if style.chance("light face", 0.6) else darker(style.colour, 0.6)
    hands = (40, 40, 46) if face[0] > 150 else (236, 236, 236)
    inner = radius * 0.82
    square = style.chance("square", 0.25)
    for half, paint in ((radius, metal), (inner, face)):
        rim = box(-half, middle - half, 2 * half, 2 * half, half * 0.35) if square else ellipse(0, middle, half, half)
        canvas.fill(rim, paint, roundness=0.2, edge=0.4)
    for hour in range(12):
        sin, cos = math.sin(hour * math.pi / 6), math.cos(hour * math.pi / 6)
        mark = [(sin * inner * share, middle - cos * inner * share) for share in (0.78, 0.92)]
        canvas.stroke(mark, hands, 1.3 if hour % 3 == 0 else 0.7)
    canvas.stroke([(0, middle), (-inner * 0.4, middle - inner * 0.32)], hands, 1.7)
    canvas.stroke([(0, middle), (inner * 0.48, middle - inner * 0.46)], hands, 1.1)
    canvas.fill(ellipse(0, middle, 1.4, 1.4), metal, roundness=0)


def draw_cap(canvas: Canvas, style: Style) -> None:
    """A baseball cap, half from the side, with its peak to the left."""
    crown = Path(-25, 80).bend((-27, 38), (6, 36)).bend((37, 37), (38, 82)).bend((8, 74), (-25, 80))
    canvas.fill(crown, style.cloth, roundness=0.42)
    for control, end in (((-9, 42), (-9, 77)), ((20, 40), (22, 77))):
        canvas.stroke(Path(6, 36.5).bend(control, end).points, style.trim, 0.7)
    canvas.fill(ellipse(6, 36.5, 3, 1.8), style.trim, roundness=0.2)
    for x, y in ((-14, 56), (10, 52), (29, 58)):
        canvas.fill(ellipse(x, y, 1, 1.2), darker(style.colour, 0.5), roundness=0, edge=0)
    peak = Path(-26, 79).bend((-44, 80), (-47, 92)).bend((-40, 96), (-28, 92)).bend((-8, 86), (12, 84))
    peak.bend((10, 78), (8, 76.5)).bend((-10, 75), (-26, 79))
    contrast = style.chance("contrast", 0.4)
    canvas.fill(peak, style.second if contrast else style.trim, roundness=0.3)
    rows = [[(-44 + i * 2, 90 - i * 2.6), (-26 + i * 4, 88 - i * 2.6), (9, 82.5 - i * 1.6)] for i in range(2)]
    for row in rows:
        canvas.stroke(row, lighter(style.trim, 0.2), 0.4)
    if style.chance("badge", 0.6):
        canvas.fill(ellipse(-8, 62, 6, 6.5), style.second, roundness=0.1)
        canvas.fill(ellipse(-8, 62, 3.2, 3.6), style.colour, roundness=0, edge=0)


def draw_sunglasses(canvas: Canvas, style: Style) -> None:
    wide, high = style.between("wide", 15, 17.5), style.between("high", 11, 16)
    round_lens = style.chance("round", 0.4)
    middle, apart = 64.0, wide + 3.4
    frame = style.cloth
    for side in (1, -1):
        temple = Path(side * (apart + wide), middle - high * 0.5).bend(
            (side * 47, middle - 24), (side * 30, middle - 30)
        )
        canvas.stroke(temple.points, style.trim, 2.2, on_garment=False)
    bridge = Path(-5, middle - high * 0.35).bend((0, middle - high * 0.75), (5, middle - high * 0.35))
    canvas.stroke(bridge.points, style.trim, 2.8, on_garment=False)
    for side in (1, -1):
        x = side * apart
        if round_lens:
            rim, lens = ellipse(x, middle, wide, high + 1.5), ellipse(x, middle, wide - 2.4, high - 0.9)
        else:
            rim = Path(x - wide, middle - high).to((x + wide, middle - high))
            rim.bend((x + wide, middle + high), (x, middle + high)).bend(
                (x - wide, middle + high), (x - wide, middle - high)
            )
            lens = Path(x - wide + 2.4, middle - high + 2.6).to((x + wide - 2.4, middle - high + 2.6))
            lens.bend((x + wide - 2.6, middle + high - 2.4), (x, middle + high - 2.4))
            lens.bend((x - wide + 2.6, middle + high - 2.4), (x - wide + 2.4, middle - high + 2.6))
        canvas.fill(rim, frame, roundness=0.25, edge=0.4)
        canvas.fill(lens, (52, 56, 66) if style.chance("dark", 0.6) else (120, 84, 52), roundness=0.3)
        canvas.stroke([(x - wide * 0.5, middle + 2), (x - wide * 0.1, middle - high * 0.5)], (150, 158, 170), 1.3)


def draw_tie(canvas: Canvas, style: Style) -> None:
    wide = style.between("wide", 9, 12.5)
    loop = Path(-7, 20).bend((-12, 6), (0, 5)).bend((12, 6), (7, 20)).to((0, 22))
    canvas.fill(loop, style.cloth, roundness=0.4, holes=[Path(-5, 18).bend((-8, 8.5), (0, 8)).bend((8, 8.5), (5, 18))])
    tail = Path(2, 26).to((5, 26), (wide * 0.8, 98), (wide * 0.3, 106), (1, 100))
    canvas.fill(tail, darker(style.colour, 0.3), roundness=0.2)
    blade = Path(0, 24).to((3.6, 24), (wide, 112), (0, 126)).mirrored()
    canvas.fill(blade, style.cloth, roundness=0.34)
    knot = Path(0, 17).to((6.6, 17.5), (3.8, 28), (0, 28.8)).mirrored()
    canvas.fill(knot, style.cloth, roundness=0.4, edge=0.6)
    canvas.folds([[(-1.2, 30), (0.5, 62)]], width=1.4, depth=0.35)
