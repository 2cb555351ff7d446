"""Draws one part of a catalogue in its own process. Started by `vitrine_local.demo_catalog.generate`."""

from __future__ import annotations

import sys
from pathlib import Path

from vitrine_local.demo_catalog.generate import draw_part


def main(arguments: list[str]) -> None:
    folder, *numbers = arguments
    count, seed, width, height, part, parts = map(int, numbers)
    draw_part(Path(folder), count=count, seed=seed, size=(width, height), part=part, parts=parts)


if __name__ == "__main__":
    main(sys.argv[1:])
