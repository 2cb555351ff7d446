"""An embedder process with a store that has one tiny release."""

from __future__ import annotations

from pathlib import Path

from harness.processes import Service, free_port
from harness.releases import build_tiny_release


class Embedder(Service):
    """An embedder with a store that has one tiny release."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.releases = folder / "releases"
        self.release = build_tiny_release(self.releases)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(
            "embedder",
            folder=folder,
            env={
                "VITRINE_EMBEDDER_PORT": str(port),
                "VITRINE_RELEASES_URL": f"file:{self.releases}",
                "VITRINE_DEVICE": "cpu",
                **env,
            },
            ready_url=f"{self.url}/readyz",
        )
