"""The addresses of Qdrant's nodes in `VITRINE_QDRANT_URL`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from vitrine.errors import SettingsInvalid

_PORTS: Final = {"http": 6333, "https": 6333}


@dataclass(frozen=True, slots=True)
class Node:
    """The address of one node: `http://host:6333`, optionally with a path that a proxy expects."""

    url: str

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        return self.parts.hostname or ""

    @property
    def port(self) -> int:
        """Qdrant's own port if the address has none."""
        return self.parts.port or _PORTS[self.parts.scheme]

    @property
    def is_https(self) -> bool:
        return self.parts.scheme == "https"


def parse_nodes(text: str) -> tuple[Node, ...]:
    """The nodes in `http://a:6333,http://b:6333`. Raises SettingsInvalid if one is not valid, or none is there."""
    nodes = tuple(_node(part.strip()) for part in text.split(",") if part.strip())
    if not nodes:
        raise SettingsInvalid("VITRINE_QDRANT_URL names no address: set it to one such as http://127.0.0.1:6333")
    if len({node.url for node in nodes}) < len(nodes):
        raise SettingsInvalid("VITRINE_QDRANT_URL names an address twice")
    return nodes


def _node(address: str) -> Node:
    parts = urlsplit(address)
    try:
        valid = parts.scheme in _PORTS and bool(parts.hostname) and not (parts.query or parts.fragment)
        valid = valid and parts.port != 0
    except ValueError:  # the port is no number, or too large
        valid = False
    if not valid:
        raise SettingsInvalid(
            "an address in VITRINE_QDRANT_URL is not valid: it is http://HOST:PORT or https://HOST:PORT, and several "
            "are separated by commas"
        )
    return Node(address.rstrip("/"))
