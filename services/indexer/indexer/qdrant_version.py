"""Logs a warning, once per worker, if the version of the Qdrant server does not match the client's."""

from __future__ import annotations

import threading
from typing import Final

from indexer.vectors import Vectors
from vitrine.errors import VectorStoreRefused, VectorStoreUnavailable
from vitrine.qdrant.client import VersionLog

_RETRY_S: Final = 15.0
_STOP_S: Final = 1.0
_INTERVAL_S: Final = 600.0  # the server may be upgraded while the worker runs


class QdrantVersionCheck:
    """A thread in the worker's parent process."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._log = VersionLog()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="qdrant-version", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(_STOP_S)  # it may wait for a hanging Qdrant

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopping.wait(wait_s):
            try:
                self._log.note(self._vectors.server_version())
                wait_s = _INTERVAL_S
            except (VectorStoreRefused, VectorStoreUnavailable):
                wait_s = _RETRY_S
