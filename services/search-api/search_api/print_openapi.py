"""Print the OpenAPI document: `python -m search_api.print_openapi`."""

from __future__ import annotations

import json
import sys

from search_api.app import create_app
from search_api.settings import Settings


def document_text() -> str:
    """The OpenAPI document as JSON text, independent of the environment."""
    settings = Settings(api_host="127.0.0.1", qdrant_url="http://127.0.0.1:6333", redis_url="redis://127.0.0.1:6379/0")
    return json.dumps(create_app(settings).openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document_text())
