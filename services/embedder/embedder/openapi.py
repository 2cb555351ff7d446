"""Print the OpenAPI document: `python -m embedder.openapi`."""

from __future__ import annotations

import json
import sys

from embedder.app import create_app
from embedder.settings import Settings


def document_text() -> str:
    """The OpenAPI document as JSON text, the same whatever the environment holds."""
    app = create_app(Settings(device="cpu", releases_url="memory://releases"))
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document_text())
