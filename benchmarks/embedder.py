"""Throughput of the embedder: pictures per second over HTTP, beside the same network without HTTP and behind LitServe.

For each network, in one run: the offline loop (one process, no HTTP, all cores) and the bare forward, each with its
best batch size, before and after; the embedder with single and batch calls from 1, 8 and 32 clients; and the same
network behind LitServe with batching. The clients run in their own process, and their CPU time is reported. By default
weights are random and pictures are drawn.

    python -m benchmarks.embedder [--models mobilenetv2_100 resnet50] [--pictures DIR] [--seconds 10]
        [--weights mobilenetv2_100=FILE,pad_type=same,mean=0.5,std=0.5] [--litserve best|first|none] [--output FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

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

    def write(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for number, model in enumerate(arguments.models):
        of_model = weights.get(model, prepared.Weights())
        stored = prepared.make_stored(aside / "releases", model, of_model, pictures, choice)
        measured = rounds.measure(stored, plan)
        if number == 0:
            for line in report.machine(plan, measured, real_pictures=arguments.pictures is not None):
                write(line)
        write("")
        for line in report.tables(model, of_model, plan, measured):
            write(line)
    if arguments.output is not None:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def litserve_settings(which: str, kind: str) -> list[servers.Setting]:
    """The LitServe configurations to try."""
    if which == "none":
        return []
    if not servers.litserve_is_installed():
        print("LitServe is not installed and left out; `make setup` installs it\n", file=sys.stderr)
        return []
    settings = servers.SETTINGS_ON_CPU if kind == "cpu" else servers.SETTINGS_ON_GPU
    return list(settings[:1] if which == "first" else settings)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--models", nargs="+", default=["mobilenetv2_100", "resnet50"])
    parser.add_argument(
        "--weights", action="append", default=[], metavar="MODEL=FILE,OPTION=VALUE,...",
        help="a safetensors file and the options it needs, for one model; can be repeated (default: random weights)",
    )  # fmt: skip
    parser.add_argument("--pictures", type=Path, help="a folder of pictures (default: drawn ones)")
    parser.add_argument("--count", type=int, default=512, help="number of pictures, used in turn")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each measurement, after its warm-up")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--batch", type=int, default=64, help="pictures per batch call")
    parser.add_argument("--batches", type=int, nargs="+", help="batch sizes to try without HTTP")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument(
        "--litserve", choices=["best", "first", "none"], default="best",
        help="try all configurations, only the first one, or none",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
