"""Print the OpenAPI document, or write it to the file named: `python -m search_api.openapi [FILE]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from search_api.app import create_app
from search_api.settings import Settings


def document_text() -> str:
    """The OpenAPI document as JSON text, the same whatever the environment holds."""
    settings = Settings(api_host="127.0.0.1", qdrant_url="http://127.0.0.1:6333", redis_url="redis://127.0.0.1:6379/0")
    return json.dumps(create_app(settings).openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    text = document_text()
    if not arguments:
        sys.stdout.write(text)
        return 0
    target = Path(arguments[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
