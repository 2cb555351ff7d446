"""The cache of loaded releases. A release is loaded at its first use, and the least recently used ones are unloaded,
but never one that is in use. A release never changes, so a loaded one stays valid.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from embedder.metrics import Metrics
from vitrine.errors import EmbedderOverloaded, ReleaseCorrupt, ReleaseError, ReleaseOfOtherKind, VitrineError
from vitrine.evaluation.calibration import Boundary
from vitrine.garments import KIND_NAMES
from vitrine.images.checks import DEFAULT_LIMITS, ImageLimits
from vitrine.releases import Manifest, ParserManifest, ReleaseStore
from vitrine.telemetry import get_logger
from vitrine.types import Pixels
from vitrine.vision.classifier import LabelClassifier
from vitrine.vision.network import DeviceChoice, ReleaseNetwork, load_release
from vitrine.vision.parser import Parser, load_parser
from vitrine.vision.preprocess import Preprocessor

_RETRY_AFTER_S = 2.0
_SMOOTHING = 0.1


@dataclass(slots=True, eq=False, kw_only=True)
class _Usage:
    """`in_use` counts the calls that use it. `picture_s` is the measured device time of one picture, in seconds."""

    used_at_s: float = 0.0
    in_use: int = 0
    picture_s: float = 0.01

    def note_pass(self, pictures: int, took_s: float) -> None:
        """Update the running mean of the time of a picture."""
        self.picture_s += _SMOOTHING * (took_s / pictures - self.picture_s)


@dataclass(slots=True, eq=False)
class LoadedRelease(_Usage):
    """A release that embeds pictures. `boundary` and `classifier` are None if it has none."""

    release_id: str
    manifest: Manifest
    network: ReleaseNetwork
    preprocessor: Preprocessor
    boundary: Boundary | None = None
    classifier: LabelClassifier | None = None

    @property
    def size_bytes(self) -> int:
        return self.network.size_bytes

    @property
    def stage(self) -> str:
        """What its passes are called in metrics and timings."""
        return "device"

    def submit(self, pixels: Pixels, *, alone: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Start a batch: (N, H, W, 3) uint8 in, (features (N, raw_dim), vectors (N, dim)) out."""
        return self.network.submit(pixels, alone=alone)


@dataclass(slots=True, eq=False)
class LoadedParser(_Usage):
    """A release that finds garments. Its results are class probabilities, (classes, h, w) for each picture."""

    release_id: str
    parser: Parser

    @property
    def size_bytes(self) -> int:
        return self.parser.size_bytes

    @property
    def stage(self) -> str:
        """What its passes are called in metrics and timings."""
        return "parse"

    @property
    def boundary(self) -> None:
        """A parser knows no domain."""
        return None

    def submit(self, pixels: Pixels, *, alone: bool) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ARG002 - one core is enough
        """Start a batch: (N, H, W, 3) uint8 in, the probabilities (N, classes, h, w) out, twice."""
        probabilities = self.parser.submit(pixels)
        return probabilities, probabilities


Loaded = LoadedRelease | LoadedParser


class ModelCache:
    """Loaded releases within `max_bytes` of memory. Used from the event loop only; a thread does the loading."""

    def __init__(
        self,
        store: ReleaseStore,
        choice: DeviceChoice,
        *,
        max_bytes: int,
        largest_batch: int,
        metrics: Metrics,
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> None:
        self.choice = choice
        self._store = store
        self._max_bytes = max_bytes
        self._largest_batch = largest_batch
        self._metrics = metrics
        self._limits = limits
        self._loaded: dict[str, Loaded] = {}
        self._loading: dict[str, asyncio.Task[Loaded]] = {}
        # Two large releases that load at the same time could each fit, but not together.
        self._load_lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._log = get_logger("model_cache")

    def loaded(self) -> list[Loaded]:
        """The releases in memory, the most recently used first."""
        return sorted(self._loaded.values(), key=lambda release: -release.used_at_s)

    async def acquire(self, release_id: str) -> LoadedRelease:
        """Load a release that embeds pictures, if needed, and keep it in memory until `release` is called.

        Raises ReleaseNotFound, ReleaseCorrupt, ReleaseOfOtherKind, ReleaseError if it can never fit, EmbedderOverloaded
        if it does not fit beside those in use.
        """
        loaded = await self.acquire_any(release_id)
        if isinstance(loaded, LoadedRelease):
            return loaded
        self.release(loaded)
        raise ReleaseOfOtherKind(
            f"release {release_id!r} is a parser and has no vectors: name one that embeds pictures"
        )

    async def acquire_parser(self, release_id: str) -> LoadedParser:
        """The same for a release that finds garments."""
        loaded = await self.acquire_any(release_id)
        if isinstance(loaded, LoadedParser):
            return loaded
        self.release(loaded)
        raise ReleaseOfOtherKind(f"release {release_id!r} embeds pictures and finds no garments: name a parser")

    async def acquire_any(self, release_id: str) -> Loaded:
        """The same for a release of either kind."""
        while (loaded := self._loaded.get(release_id)) is None:
            task = self._loading.get(release_id)
            if task is None:
                task = asyncio.create_task(self._load(release_id))
                self._loading[release_id] = task
                task.add_done_callback(lambda _done: self._loading.pop(release_id, None))
            # Shielded, because a caller that leaves must not stop the loading for the others.
            await asyncio.shield(task)
        loaded.in_use += 1
        loaded.used_at_s = time.monotonic()
        return loaded

    def release(self, loaded: Loaded) -> None:
        loaded.in_use -= 1

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _load(self, release_id: str) -> Loaded:
        loop = asyncio.get_running_loop()
        async with self._load_lock:
            manifest = await loop.run_in_executor(self._thread, self._store.any_manifest, release_id)
            self._make_room(manifest)
            started_s = time.monotonic()
            loaded = await loop.run_in_executor(self._thread, self._read, manifest)
            self._loaded[release_id] = loaded
            self._metrics.loads.inc()
            self._metrics.loaded_bytes.set(self._used_bytes())
            took_s = round(time.monotonic() - started_s, 2)
            self._log.info("release_load", release=release_id, bytes=loaded.size_bytes, took_s=took_s)
            return loaded

    def _read(self, manifest: Manifest | ParserManifest) -> Loaded:
        try:
            return self._read_parser(manifest) if isinstance(manifest, ParserManifest) else self._read_release(manifest)
        except VitrineError:
            raise
        except Exception as error:
            # Not retryable, because it will not load the next time either.
            self._log.error("release_defect", release=manifest.release_id, exc_info=error)
            raise ReleaseCorrupt(
                f"release {manifest.release_id!r} cannot be loaded: its network fails with {type(error).__name__}; "
                "create the release again"
            ) from error

    def _read_release(self, manifest: Manifest) -> LoadedRelease:
        folder = self._store.local_folder(manifest.release_id)
        network = load_release(folder, manifest, self.choice)
        network.warm_up(self._largest_batch)
        classifier = LabelClassifier.load(folder, manifest)
        boundary = None if manifest.calibration is None else manifest.calibration.boundary
        preprocessor = Preprocessor(manifest.preprocessing, limits=self._limits)
        return LoadedRelease(manifest.release_id, manifest, network, preprocessor, boundary, classifier)

    def _read_parser(self, manifest: ParserManifest) -> LoadedParser:
        if manifest.classes != KIND_NAMES:
            raise ReleaseCorrupt(
                f"release {manifest.release_id!r} finds other kinds of garments than this Vitrine knows: train it again"
            )
        parser = load_parser(self._store, manifest.release_id, choice=self.choice)
        parser.warm_up()
        return LoadedParser(manifest.release_id, parser)

    def _make_room(self, manifest: Manifest | ParserManifest) -> None:
        needed = manifest.weights.size_bytes
        if needed > self._max_bytes:
            raise ReleaseError(
                f"release {manifest.release_id!r} needs {needed} bytes and VITRINE_RELEASES_MAX_BYTES allows "
                f"{self._max_bytes}: raise it"
            )
        idle = sorted((one for one in self._loaded.values() if not one.in_use), key=lambda one: one.used_at_s)
        while self._used_bytes() + needed > self._max_bytes:
            if not idle:
                raise EmbedderOverloaded(
                    "every loaded release is in use and there is no room for another: try again in a moment",
                    retry_after_s=_RETRY_AFTER_S,
                )
            gone = idle.pop(0)
            del self._loaded[gone.release_id]
            self._log.info("release_unload", release=gone.release_id)

    def _used_bytes(self) -> int:
        return sum(loaded.size_bytes for loaded in self._loaded.values())
