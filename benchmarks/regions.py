"""The time to find the garments of a photograph, stage by stage, in one process.

Each picture is brought to the given size and written as a JPEG. Then it is decoded, goes through the parser, and its
garments are found, as `/v1/regions` does it. One is cut out and faces are blurred, as the embedder's other calls do.
One core is used if the process has one:

    OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.regions --store file:RELEASES --pictures DIR
        [--parser RELEASE] [--size 1080x1440] [--count 40]
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from PIL import Image, ImageOps

from benchmarks.pictures import pictures_below, sample
from benchmarks.tables import head, quantiles, row
from vitrine.errors import VitrineError
from vitrine.images.cutout import cut_out_garment
from vitrine.images.decode import decode_image
from vitrine.images.faces import blur_faces
from vitrine.images.garment_masks import enlarged, find_garments
from vitrine.releases import PARSER_MODEL, ReleaseStore
from vitrine.telemetry import configure_logging
from vitrine.vision.cpu_graph import CORES
from vitrine.vision.network import choose_device
from vitrine.vision.parser import STRIDE, Parser, load_parser

T = TypeVar("T")
_WARM_UP: Final = 3
_QUALITY: Final = 90
_REGIONS: Final = ("decode", "fit", "network", "masks")
_GARMENTS_SHORT_SIDE_PX: Final = 768


class Stages:
    """The milliseconds of each stage: by the clock, and of the processor, which a busy machine changes less."""

    def __init__(self) -> None:
        self.clock_ms: defaultdict[str, list[float]] = defaultdict(list)
        self.cpu_ms: defaultdict[str, list[float]] = defaultdict(list)

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        clock_s, cpu_s = time.perf_counter(), time.process_time()
        done = work()
        self.clock_ms[stage].append(1e3 * (time.perf_counter() - clock_s))
        self.cpu_ms[stage].append(1e3 * (time.process_time() - cpu_s))
        return done


def main() -> int:
    arguments = parse_arguments()
    configure_logging(service="benchmark")
    try:
        store = ReleaseStore(arguments.store, cache_dir=Path("/tmp/vitrine-benchmark"))
        parser_id = arguments.parser or store.newest(PARSER_MODEL)
        if parser_id is None:
            raise SystemExit(f"{arguments.store} has no release of {PARSER_MODEL}: name a parser with --parser")
        parser = load_parser(store, parser_id, choice=choose_device("cpu"))
    except VitrineError as error:
        raise SystemExit(f"{error.code}: {error.detail}") from error
    stages = Stages()
    paths = sample(pictures_below(arguments.pictures), arguments.count)
    found = 0
    for number, path in enumerate([*paths[:_WARM_UP], *paths]):
        with Image.open(path) as opened:
            data = as_photograph(opened.convert("RGB"), arguments.size)
        garments = measure(data, parser, stages if number >= min(_WARM_UP, len(paths)) else Stages())
        found += garments if number >= min(_WARM_UP, len(paths)) else 0
    size_px = "x".join(map(str, arguments.size))
    print(f"{parser_id}, {len(paths)} pictures of {size_px}, {found / len(paths):.1f} garments each, {CORES} core(s)\n")
    print_table(stages)
    return 0


def as_photograph(image: Image.Image, size: tuple[int, int]) -> bytes:
    """A JPEG file of this size that the picture fills."""
    with io.BytesIO() as file:
        ImageOps.fit(image, size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=_QUALITY)
        return file.getvalue()


def measure(data: bytes, parser: Parser, stages: Stages) -> int:
    """Measure one picture. Returns the number of its garments."""
    image = stages.timed("decode", lambda: decode_image(data, target_px=parser.decode_px))
    pixels, box = stages.timed("fit", lambda: parser.fit(image))
    maps = stages.timed("network", lambda: parser.probabilities(pixels[None])[0])
    garments = stages.timed("masks", lambda: find_garments(enlarged(box.part(maps), STRIDE)))
    large = stages.timed("decode to cut out", lambda: decode_image(data, target_px=_GARMENTS_SHORT_SIDE_PX))
    if garments:
        stages.timed("cut out one", lambda: cut_out_garment(large, garments[0]))
    stages.timed("blur faces", lambda: blur_faces(large, enlarged(box.part(maps), STRIDE)))
    return len(garments)


def print_table(stages: Stages) -> None:
    print(head("stage", "ms, median", "p95", "CPU ms, median"))
    both = (stages.clock_ms, stages.cpu_ms)
    totals = [list(map(sum, zip(*(of_stage[name] for name in _REGIONS), strict=True))) for of_stage in both]
    for name in _REGIONS:
        print(row(name, *quantiles(stages.clock_ms[name], 0.5, 0.95), *quantiles(stages.cpu_ms[name], 0.5)))
    print(row("**regions**", *quantiles(totals[0], 0.5, 0.95), *quantiles(totals[1], 0.5)))
    for name in stages.clock_ms:
        if name not in _REGIONS:
            print(row(name, *quantiles(stages.clock_ms[name], 0.5, 0.95), *quantiles(stages.cpu_ms[name], 0.5)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="URL of the release store, such as file:/srv/releases")
    parser.add_argument("--parser", help="the release that finds garments; by default the newest vitrine-parser")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--count", type=int, default=40, help="photographs to measure")
    parser.add_argument("--size", type=size, default=(1080, 1440), help="WIDTHxHEIGHT in pixels")
    return parser.parse_args()


def size(text: str) -> tuple[int, int]:
    """(width, height) of `1080x1440`. Raises ValueError."""
    width, height = text.split("x")
    return int(width), int(height)


if __name__ == "__main__":
    sys.exit(main())
