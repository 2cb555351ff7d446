"""Drawn people with every garment outlined, in the layout of outlined street photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vitrine.catalogs.street_photographs import StreetPhotographs, read_street_photographs

LABELS = ("null", "skin", "hair", "t-shirt", "coat", "dress", "jeans", "skirt", "shoes", "bag", "hat", "sunglasses")
SIZE = (64, 96)


def drawn_people(folder: Path, *, count: int = 30, seed: int = 0) -> StreetPhotographs:
    """Write `count` people of 64x96 pixels; every other one wears trousers, every sixth a dress, every fifth a hat."""
    random = np.random.default_rng(seed)
    for name in ("photos", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{index},{label}\n" for index, label in enumerate(LABELS))
    (folder / "labels.csv").write_text(f"index,label\n{lines}")
    for number in range(count):
        photograph, mask = draw_person(number, random)
        photograph.save(folder / "photos" / f"{number + 1:04d}.jpg", quality=92)
        mask.save(folder / "masks" / f"{number + 1:04d}.png")
    return read_street_photographs(folder)


def draw_person(number: int, random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """One person: the photograph and its mask of indices into `LABELS`."""
    photograph = Image.new("RGB", SIZE, tuple(int(value) for value in random.integers(150, 230, 3)))
    mask = Image.new("L", SIZE, 0)
    pens = ImageDraw.Draw(photograph), ImageDraw.Draw(mask)
    middle = SIZE[0] // 2 + int(random.integers(-6, 7))

    def draw(label: str, color: tuple[int, int, int], *box: int, round_: bool = False) -> None:
        fills: tuple[tuple[int, int, int] | int, ...] = (color, LABELS.index(label))
        for pen, fill in zip(pens, fills, strict=True):
            (pen.ellipse if round_ else pen.rectangle)(box, fill=fill)

    def at(left: int, top: int, right: int, bottom: int) -> tuple[int, int, int, int]:
        return middle + left, top, middle + right, bottom

    draw("hair", (60, 40, 20), *at(-7, 8, 7, 24), round_=True)
    draw("skin", (225, 180, 150), *at(-5, 11, 5, 26), round_=True)
    if number % 6 == 5:
        draw("dress", (200, 40, 120), *at(-11, 27, 11, 70))
        draw("skin", (225, 180, 150), *at(-8, 71, 8, 84))
    else:
        upper = "coat" if number % 3 == 0 else "t-shirt"
        draw(upper, (40, 60, 70) if upper == "coat" else (230, 220, 60), *at(-11, 27, 11, 52))
        if number % 2 == 0:
            draw("jeans", (40, 70, 160), *at(-8, 53, 8, 84))
        else:
            draw("skirt", (30, 150, 70), *at(-10, 53, 10, 68))
            draw("skin", (225, 180, 150), *at(-6, 69, 6, 84))
    draw("shoes", (20, 20, 20), *at(-9, 85, -2, 91))
    draw("shoes", (20, 20, 20), *at(2, 85, 9, 91))
    if number % 3 == 1:
        draw("bag", (150, 90, 40), *at(13, 48, 22, 60))
    if number % 5 == 0:
        draw("hat", (120, 20, 20), *at(-9, 5, 9, 11))
    return photograph, mask
