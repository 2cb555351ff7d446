"""Garments for the upper body, and dresses: a bodice with a neckline, sleeves and details."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vitrine_local.demo_catalog.canvas import Canvas, Path, Point, box, ellipse, mirror
from vitrine_local.demo_catalog.style import Style, darker, lighter

_NECK_Y = 22.0


@dataclass(frozen=True, slots=True)
class _Cut:
    """The half widths of a bodice in garment units."""

    neck: float
    neck_depth: float
    shoulder: float
    chest: float
    waist: float
    hem: float
    hem_y: float
    sleeve: str  # "none", "cap", "short", "long"
    v_neck: bool = False
    shirt_tail: float = 0.0

    @property
    def shoulder_y(self) -> float:
        return _NECK_Y + 4.5

    @property
    def armpit(self) -> Point:
        return self.chest, 48.0


def _cut(style: Style, *, sleeve: str, length: float = 108.0) -> _Cut:
    """The bodice for a wearer: waisted for women, straight and broad for men, short for children."""
    if style.is_child:
        length -= 8.0
    if style.is_feminine:
        waist, shoulder = style.between("waist", 17.5, 21), style.between("shoulder", 22, 25)
        cut = _Cut(10.5, style.between("depth", 12, 19), shoulder, 22.5, waist, 24, length - 3, sleeve)
    else:
        body = style.between("body", 25.5, 28)
        cut = _Cut(8.5, style.between("depth", 6.5, 9), body + 3, body, body - 0.6, body, length, sleeve)
    return cut


def _bodice(cut: _Cut) -> Path:
    """The outline without sleeves, with the front neckline cut out."""
    path = Path(0, _NECK_Y + cut.neck_depth)
    if cut.v_neck:
        path.to((cut.neck, _NECK_Y))
    else:
        path.bend((cut.neck * 0.95, _NECK_Y + cut.neck_depth), (cut.neck, _NECK_Y))
    path.to((cut.shoulder, cut.shoulder_y)).bend((cut.chest - 1.5, 38), cut.armpit)
    middle = 0.5 * (48.0 + cut.hem_y) + 2
    path.bend((cut.waist + 0.6, 58), (cut.waist, middle)).bend((cut.waist + 1, middle + 14), (cut.hem, cut.hem_y))
    path.bend((cut.hem * 0.5, cut.hem_y + 1.8 + cut.shirt_tail), (0, cut.hem_y + 1.6 + cut.shirt_tail))
    return path.mirrored()


def _sleeve(cut: _Cut, style: Style) -> Path:
    """The right sleeve; the left one is its mirror image."""
    x, y = cut.shoulder, cut.shoulder_y
    if cut.sleeve == "long":
        reach = style.between("reach", 38, 43)
        path = Path(x - 4, y - 0.4).bend((x + 4, y), (x + 6, y + 10)).bend((reach - 2, 66), (reach + 1, 97))
        return path.to((reach - 7, 99)).bend((cut.chest + 3.5, 70), cut.armpit).to((x - 6, 42))
    if cut.sleeve == "cap":
        return Path(x - 5, y - 0.8).bend((x + 5, y), (x + 7.5, y + 11)).to((cut.chest - 1, 45), (x - 6, 42))
    reach = style.between("reach", 10, 14)
    path = Path(x - 4, y - 0.4).bend((x + 4, y), (x + reach, y + 19.5)).to((x + reach - 9, y + 24.5))
    return path.to(cut.armpit, (x - 6, 40))


def _reflected(path: Path) -> Path:
    return Path(*mirror(path.points)[0]).to(*mirror(path.points)[1:])


def _sewn(canvas: Canvas, style: Style, cut: _Cut, *, roundness: float = 0.3) -> None:
    """Back of the neck, sleeves and bodice, with creases at the armpits."""
    inside = Path(0, _NECK_Y + 2).bend((cut.neck * 0.7, _NECK_Y + 2), (cut.neck, _NECK_Y - 0.5))
    inside.to((cut.neck, _NECK_Y + 1)).bend((cut.neck, _NECK_Y + cut.neck_depth), (0, _NECK_Y + cut.neck_depth + 1))
    canvas.fill(inside.mirrored(), darker(style.colour, 0.45), roundness=0.15)
    if cut.sleeve != "none":
        sleeve = _sleeve(cut, style)
        canvas.fill(sleeve, style.cloth, roundness=roundness)
        canvas.fill(_reflected(sleeve), style.cloth, roundness=roundness)
    canvas.fill(_bodice(cut), style.cloth, roundness=roundness)
    if cut.sleeve in {"short", "long"}:
        seam = [(cut.shoulder - 0.5, cut.shoulder_y), (cut.chest - 1.2, 38.0), cut.armpit]
        canvas.folds([seam, mirror(seam)], width=1.0, depth=0.5)
    drape = [(cut.chest - 2, 50.0), (cut.waist - 5, 66.0)]
    side = [(cut.waist - 1.0, cut.hem_y - 24), (cut.waist - 9, cut.hem_y - 8)]
    canvas.folds([drape, mirror(drape), side, mirror([(x - 3, y) for x, y in side])], depth=0.22)


def _neckline(cut: _Cut) -> list[Point]:
    if cut.v_neck:
        return [(-cut.neck, _NECK_Y), (0, _NECK_Y + cut.neck_depth), (cut.neck, _NECK_Y)]
    right = Path(0, _NECK_Y + cut.neck_depth).bend((cut.neck * 0.95, _NECK_Y + cut.neck_depth), (cut.neck, _NECK_Y))
    return [*reversed(mirror(right.points)), *right.points[1:]]


def _hem(canvas: Canvas, style: Style, cut: _Cut, above: float = 2.4) -> None:
    y = cut.hem_y - above
    canvas.stroke([(-cut.hem, y), (-cut.hem * 0.5, y + 1.5), (0, y + 1.7), (cut.hem * 0.5, y + 1.5), (cut.hem, y)],
                  style.trim, 0.45)  # fmt: skip


def draw_tshirt(canvas: Canvas, style: Style) -> None:
    cut = _cut(style, sleeve="cap" if style.is_feminine and style.chance("cap", 0.5) else "short")
    cut = replace(cut, v_neck=style.chance("v", 0.3))
    _sewn(canvas, style, cut)
    canvas.stroke(_neckline(cut), style.trim, 1.8)
    _hem(canvas, style, cut)
    if style.pattern == "plain" and (style.is_child or style.chance("print", 0.4)):
        _print_on(canvas, style, 62 if style.is_child else 58)


def _print_on(canvas: Canvas, style: Style, y: float) -> None:
    """A printed motif on the chest: a disc, a star, bars or a heart."""
    kind, size = style.pick("motif", 4), style.between("motif size", 7, 10)
    if kind == 0:
        canvas.fill(ellipse(0, y, size, size), style.second, roundness=0, edge=0)
        canvas.fill(ellipse(0, y, size * 0.62, size * 0.62), style.colour, roundness=0, edge=0)
    elif kind == 1:
        star = [(0, -1), (0.24, -0.32), (0.95, -0.31), (0.38, 0.12), (0.59, 0.81)]
        star += [(0, 0.4), *((-x, dy) for x, dy in reversed(star[1:]))]
        points = [(x * size, y + dy * size) for x, dy in star]
        canvas.fill(Path(*points[0]).to(*points[1:]), style.second, roundness=0, edge=0)
    elif kind == 2:
        for row in range(3):
            width = size * (1.9, 1.4, 1.7)[row]
            canvas.fill(box(-width / 2, y - 6 + row * 4.6, width, 2.8), style.second, roundness=0, edge=0)
    else:
        heart = Path(0, y + size).bend((size * 1.5, y - size * 0.1), (size * 0.6, y - size * 0.8))
        heart.bend((size * 0.1, y - size * 0.9), (0, y - size * 0.3))
        canvas.fill(heart.mirrored(), style.second, roundness=0, edge=0)


def draw_shirt(canvas: Canvas, style: Style) -> None:
    cut = replace(_cut(style, sleeve="short" if style.chance("short", 0.25) else "long"), shirt_tail=3.0)
    cut = replace(cut, neck=8.0, neck_depth=10.0, v_neck=True)
    _sewn(canvas, style, cut)
    canvas.stroke([(-1.7, 32), (-1.7, cut.hem_y + 3)], style.trim, 0.4)
    canvas.stroke([(1.7, 32), (1.7, cut.hem_y + 3)], style.trim, 0.4)
    for row in range(6):
        canvas.fill(ellipse(0, 38 + row * 11.5, 0.95, 0.95), lighter(style.trim, 0.55), roundness=0, edge=0.3)
    collar = Path(0, 32.5).to((7.4, 38.5), (11.6, 27)).bend((10, 21), (7.5, 18.5)).to((6.8, 21.5))
    canvas.fill(_reflected(collar), style.cloth, roundness=0.12, edge=0.55)
    canvas.fill(collar, style.cloth, roundness=0.12, edge=0.55)
    band = Path(0, 26).to((6, 26)).bend((7.4, 22), (7.6, 18.2)).to((7, 16.8)).bend((4, 18.6), (0, 18.6)).mirrored()
    canvas.fill(band, darker(style.colour, 0.3), roundness=0.1)
    if cut.sleeve == "long":
        for side in (1, -1):
            reach = style.between("reach", 38, 43)
            canvas.stroke([(side * (reach + 1), 91), (side * (reach - 7.5), 93)], style.trim, 0.6)
    if not style.is_feminine:
        pocket = box(7.5, 48, 11, 12, 1)
        canvas.stroke([*pocket.points, pocket.points[0]], style.trim, 0.5)


def draw_top(canvas: Canvas, style: Style) -> None:
    """A sleeveless top with straps and a flared hem."""
    hem_y, flare = style.between("length", 84, 98), style.between("flare", 22, 30)
    strap = style.between("strap", 1.6, 4.5)
    outer = 11.5 + strap
    back = Path(0, 33).bend((9, 32), (12, 20)).to((12 + strap * 0.6, 20)).bend((15, 36), (19, 46)).to((0, 46))
    canvas.fill(back.mirrored(), darker(style.colour, 0.4), roundness=0.1)
    front = Path(0, 40).bend((9.5, 39), (11.5, 20)).to((outer, 20)).bend((outer + 1, 38), (21, 47))
    front.bend((17.5, 58), (17.5, 66)).bend((20, 78), (flare, hem_y)).bend((flare * 0.5, hem_y + 4), (0, hem_y + 3))
    canvas.fill(front.mirrored(), style.cloth)
    canvas.stroke([(-17.5, 64), (-8, 66), (8, 66), (17.5, 64)], style.trim, 0.8)
    folds = [[(x * 0.55, 67.0), (x, hem_y)] for x in (-flare * 0.75, -flare * 0.3, flare * 0.25, flare * 0.7)]
    canvas.folds(folds, width=1.8, depth=0.3)
    if style.chance("bow", 0.4):
        for side in (1, -1):
            bow = Path(0, 64.5).bend((side * 5, 58), (side * 7, 62)).to((side * 6.5, 68)).bend((side * 4, 69), (0, 66))
            canvas.fill(bow, style.trim, roundness=0.2)


def draw_sweater(canvas: Canvas, style: Style) -> None:
    cut = replace(_cut(style, sleeve="long", length=102), neck_depth=style.between("crew", 5, 8))
    cut = replace(cut, v_neck=style.chance("v", 0.35), neck_depth=15 if style.chance("v", 0.35) else cut.neck_depth)
    _sewn(canvas, style, cut, roundness=0.42)
    ribs = lighter(style.trim, 0.12)
    hem = Path(0, cut.hem_y - 6).to((cut.hem - 0.5, cut.hem_y - 8), (cut.hem - 2, cut.hem_y + 2), (0, cut.hem_y + 3.5))
    canvas.fill(hem.mirrored(), ribs, roundness=0.2)
    reach = style.between("reach", 38, 43)
    for side in (1, -1):
        cuff = [(reach + 0.8, 90.0), (reach + 0.6, 99.0), (reach - 6.8, 100.5), (reach - 7.6, 91.5)]
        canvas.fill(Path(side * cuff[0][0], cuff[0][1]).to(*((side * x, y) for x, y in cuff[1:])), ribs, roundness=0.2)
    step = 2.4
    for index in range(int(2 * cut.hem / step)):
        x = -cut.hem + 1.5 + index * step
        canvas.stroke([(x, cut.hem_y - 6.4), (x, cut.hem_y + 2.4)], style.trim, 0.5)
    canvas.stroke(_neckline(cut), ribs, 3.4)
    if style.chance("turtle", 0.3) and not style.chance("v", 0.35):
        canvas.fill(box(-cut.neck - 0.5, 13, 2 * cut.neck + 1, 13, 2.5), style.cloth, roundness=0.4)
        canvas.stroke([(-cut.neck, 19), (cut.neck, 19)], style.trim, 0.5)


def draw_sweatshirt(canvas: Canvas, style: Style) -> None:
    """A hooded sweatshirt with a front pocket."""
    cut = replace(_cut(style, sleeve="long", length=102), neck=10.5, neck_depth=7.5)
    hood = Path(0, 8).bend((15, 7), (16, 20)).bend((16, 28), (10, 34)).bend((5, 37), (0, 37)).mirrored()
    canvas.fill(hood, style.cloth, roundness=0.5)
    opening = Path(0, 12).bend((10, 12), (10.5, 22)).bend((9, 31), (0, 33)).mirrored()
    _sewn(canvas, style, cut, roundness=0.4)
    canvas.fill(opening, darker(style.colour, 0.5), roundness=0.3)
    collar = Path(0, 33).bend((9, 31), (10.5, 20)).to((15, 24)).bend((13, 36), (0, 38)).mirrored()
    canvas.fill(collar, style.cloth, roundness=0.4, edge=0.45)
    pocket = Path(0, 70).to((10, 70)).bend((13, 78), (17, 82)).to((17, 94), (0, 95)).mirrored()
    canvas.fill(pocket, style.cloth, roundness=0.15, edge=0.6)
    for side in (1, -1):
        canvas.stroke([(side * 4, 36.5), (side * 4.6, 52)], lighter(style.second, 0.2), 0.9)
    canvas.stroke([(-cut.hem, cut.hem_y - 5), (0, cut.hem_y - 3.2), (cut.hem, cut.hem_y - 5)], style.trim, 0.6)
    reach = style.between("reach", 38, 43)
    for side in (1, -1):
        canvas.stroke([(side * (reach + 0.6), 91), (side * (reach - 7.6), 93)], style.trim, 0.8)


def draw_jacket(canvas: Canvas, style: Style) -> None:
    """A jacket closed with a zip: quilted, or plain with a stand-up collar and slanted pockets."""
    cut = replace(_cut(style, sleeve="long", length=104), neck=9.5, neck_depth=5.0)
    _sewn(canvas, style, cut, roundness=0.45)
    quilted = style.chance("quilted", 0.45)
    if quilted:
        rows = [[(-cut.chest - 1, y), (0, y + 1.6), (cut.chest + 1, y)] for y in range(38, int(cut.hem_y), 9)]
        canvas.folds(rows, width=1.5, depth=0.75)
        reach = style.between("reach", 38, 43)
        for side in (1, -1):
            arms = [[(side * (cut.chest + 0.5 + (y - 48) * 0.16), y + 1.0), (side * (reach + 2), y - 1.5)]
                    for y in range(48, 96, 9)]  # fmt: skip
            canvas.folds(arms, width=1.5, depth=0.75)
    collar = Path(0, 29).to((9.5, 24)).bend((11.5, 18), (9, 13.5)).bend((5, 16), (0, 16)).mirrored()
    canvas.fill(collar, style.cloth, roundness=0.3, edge=0.5)
    canvas.stroke([(0, 16), (0, cut.hem_y + 1)], darker(style.trim, 0.3), 1.7)
    canvas.dashes([(0, 17), (0, cut.hem_y)], (205, 205, 208), 0.8, every=1.6)
    for side in (1, -1):
        canvas.stroke([(side * 10, 78), (side * 16, 90)], darker(style.trim, 0.25), 1.3)
        if not quilted:
            canvas.stroke([(side * 2.5, 41), (side * (cut.chest - 2), 39)], style.trim, 0.6)
    if not quilted:
        canvas.stroke([(-cut.hem, cut.hem_y - 6), (0, cut.hem_y - 4.5), (cut.hem, cut.hem_y - 6)], style.trim, 0.7)


def draw_dress(canvas: Canvas, style: Style) -> None:
    """A fitted bodice and a skirt to the knee or below, with straps or short sleeves."""
    length, flare = style.between("length", 104, 126), style.between("flare", 19, 35)
    top, waist_y = (14.0, 54.0) if not style.is_child else (18.0, 50.0)
    waist = style.between("waist", 12.5, 14.5) + (2.5 if style.is_child else 0)
    sleeves = style.chance("sleeves", 0.45)
    depth = style.between("depth", 8, 15)
    if sleeves:
        for side in (1, -1):
            arm = Path(side * 12, top + 3).bend((side * 22, top + 3), (side * 26, top + 18))
            canvas.fill(arm.to((side * 17, top + 22), (side * 12, top + 20)), style.cloth)
    shoulder = 17.0 if sleeves else 12.0
    back = Path(0, top + depth * 0.35).to((9, top)).to((shoulder, top + 2), (15, top + 18), (0, top + 18))
    canvas.fill(back.mirrored(), darker(style.colour, 0.42), roundness=0.1)
    body = Path(0, top + depth).bend((8, top + depth), (9.2, top)).to((shoulder, top + (2.5 if sleeves else 0)))
    body.bend((14, top + 14), (17, top + 22)).bend((waist + 1.5, waist_y - 10), (waist, waist_y))
    body.bend((waist + 4, waist_y + 10), (flare, length)).bend((flare * 0.5, length + 4.5), (0, length + 4))
    canvas.fill(body.mirrored(), style.cloth, roundness=0.34)
    if flare > 24:
        spread = [(-0.8, -0.5), (-0.45, -0.2), (-0.12, 0.0), (0.2, 0.15), (0.5, 0.3), (0.82, 0.55)]
        canvas.folds([[(top_x * waist, waist_y + 4), (x * flare, length + 1)] for x, top_x in spread], depth=0.3)
    if style.chance("belt", 0.6):
        belt = Path(0, waist_y - 2).to((waist + 0.6, waist_y - 2.6), (waist + 0.6, waist_y + 1.6), (0, waist_y + 2.2))
        canvas.fill(belt.mirrored(), style.trim, roundness=0.2)
    canvas.stroke([(-flare, length - 2.5), (0, length + 1.8), (flare, length - 2.5)], style.trim, 0.5)
