"""How many pictures a second does the embedder embed through HTTP, and how many would the machine embed without?

For each network, in one run: the offline loop (one process, no HTTP, all cores) and the bare forward, each at its best
batch, before and after; the embedder with single and batch calls from 1, 8 and 32 clients; and the same network behind
LitServe with its batching on. The clients run in a process of their own, whose CPU time is told. Weights are random
where none are given, and pictures are drawn.

    python -m benchmarks.embedder [--models mobilenetv2_100 resnet50] [--pictures DIR] [--seconds 10]
        [--weights mobilenetv2_100=FILE,pad_type=same,mean=0.5,std=0.5] [--litserve best|first|none] [--output FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

if not __package__:
    # Run by its path, its folder comes first, where this file would stand for the service of the same name.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.embedder_parts import prepared, report, rounds, servers
from vitrine.errors import VitrineError
from vitrine.telemetry import configure_logging
from vitrine.vision.network import choose_device

_BATCHES_ON_CPU = [2, 4, 8, 16, 32, 64]
_BATCHES_ON_GPU = [32, 64, 128, 256]


def main() -> int:
    arguments = parse_arguments()
    configure_logging(service="benchmark")
    try:
        choice = choose_device(arguments.device, arguments.precision)
        with tempfile.TemporaryDirectory(prefix="vitrine-benchmark-") as name:
            return run(arguments, Path(name), "cpu" if choice.device.type == "cpu" else "gpu")
    except VitrineError as error:
        raise SystemExit(f"{error.code}: {error.detail}") from error


def run(arguments: argparse.Namespace, aside: Path, kind: str) -> int:
    weights = prepared.weights_of(arguments.weights)
    pictures = prepared.choose_pictures(arguments.pictures, count=arguments.count, aside=aside)
    choice = choose_device(arguments.device, arguments.precision)
    plan = rounds.Plan(
        pictures=[str(path) for path in pictures],
        seconds=arguments.seconds,
        clients=arguments.clients,
        call_pictures=arguments.batch,
        batches=arguments.batches or (_BATCHES_ON_CPU if kind == "cpu" else _BATCHES_ON_GPU),
        device=str(choice.device),
        precision=arguments.precision,
        litserve=litserve_settings(arguments.litserve, kind),
    )
    lines: list[str] = []

    def tell(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for number, model in enumerate(arguments.models):
        of_model = weights.get(model, prepared.Weights())
        stored = prepared.make_stored(aside / "releases", model, of_model, pictures, choice)
        measured = rounds.measure(stored, plan)
        if number == 0:
            for line in report.machine(plan, measured, real_pictures=arguments.pictures is not None):
                tell(line)
        tell("")
        for line in report.tables(model, of_model, plan, measured):
            tell(line)
    if arguments.output is not None:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def litserve_settings(which: str, kind: str) -> list[servers.Setting]:
    """The settings LitServe is tried with."""
    if which == "none":
        return []
    if not servers.litserve_is_installed():
        print("LitServe is not installed and is left out: `make setup` installs it\n", file=sys.stderr)
        return []
    settings = servers.SETTINGS_ON_CPU if kind == "cpu" else servers.SETTINGS_ON_GPU
    return list(settings[:1] if which == "first" else settings)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--models", nargs="+", default=["mobilenetv2_100", "resnet50"])
    parser.add_argument(
        "--weights", action="append", default=[], metavar="MODEL=FILE,OPTION=VALUE,...",
        help="a safetensors file and the options it needs; random weights where a model has none; repeat for more",
    )  # fmt: skip
    parser.add_argument("--pictures", type=Path, help="a folder of pictures; drawn ones where it is not given")
    parser.add_argument("--count", type=int, default=512, help="pictures used, over and over")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds a cell, after its warm-up")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--batch", type=int, default=64, help="pictures in one batch call, as the indexer sends them")
    parser.add_argument("--batches", type=int, nargs="+", help="batches tried by the offline loop and the bare forward")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument(
        "--litserve", choices=["best", "first", "none"], default="best",
        help="look for its best setting, take the first one, or leave it out",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, help="a file for the tables as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
