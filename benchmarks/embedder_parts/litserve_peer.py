"""The same release behind LitServe with batching, in the fastest configuration known: raw bytes in and out, a batch
decoded with one thread per core, and the same optimized graph.
"""

# No `from __future__ import annotations`: LitServe reads the annotations of `decode_request` and `encode_response`.
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, Request, Response

from benchmarks.embedder_parts.prepared import StoredRelease
from benchmarks.embedder_parts.servers import LITSERVE_ORDER, LITSERVE_PATH, LITSERVE_PORT, Setting
from vitrine.embedding.wire import VECTOR_MEDIA_TYPE
from vitrine.types import Pixels, Vectors
from vitrine.vision.network import choose_device

try:
    import litserve
except ImportError:
    raise SystemExit("LitServe is not installed: run `make setup`, or leave it out with --litserve none") from None


async def read_body(request: Request) -> bytes:
    return await request.body()


class Embedding(litserve.LitAPI):  # type: ignore[misc]
    """Decode, resize, forward and project, with Vitrine's own functions."""

    def __init__(self, stored: StoredRelease, precision: str, setting: Setting) -> None:
        super().__init__(
            max_batch_size=setting.max_batch, batch_timeout=setting.timeout_ms / 1000, api_path=LITSERVE_PATH
        )
        self._stored = stored
        self._precision = precision

    def setup(self, device: str) -> None:
        self._network, self._preprocessor = self._stored.load(choose_device(device, self._precision))  # type: ignore[arg-type]
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1)

    def decode_request(self, request: Annotated[bytes, Depends(read_body)]) -> bytes:
        return request

    def batch(self, inputs: list[bytes]) -> Pixels:
        return np.stack(list(self._pool.map(self._preprocessor, inputs)))

    def predict(self, x: Pixels) -> Vectors:
        return self._network.vectors(x)

    def unbatch(self, output: Vectors) -> list[Any]:
        return list(output)

    def encode_response(self, output: Any) -> Response:
        return Response(output.astype("<f4").tobytes(), media_type=VECTOR_MEDIA_TYPE)


def main() -> int:
    order = json.loads(os.environ[LITSERVE_ORDER])
    setting = Setting(**order["setting"])
    server = litserve.LitServer(
        Embedding(StoredRelease(**order["stored"]), order["precision"], setting),
        accelerator=order["accelerator"],
        devices=1,
        workers_per_device=setting.workers,
        fast_queue=setting.fast_queue,
    )
    server.run(host="127.0.0.1", port=int(os.environ[LITSERVE_PORT]), generate_client_file=False, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
