"""Whether a server's version goes with the client's: Qdrant supports one minor version of difference."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from vitrine.telemetry import get_logger

_CLIENT: Final = version("qdrant-client")


class VersionLog:
    """Logs the notice about a server's version once, and again only for another version."""

    def __init__(self) -> None:
        self._logged: str | None = None

    def note(self, server: str) -> str | None:
        """The notice about a server of this version, or None."""
        notice = version_notice(server)
        if notice is not None and server != self._logged:
            self._logged = server
            get_logger("qdrant").warning("qdrant_version", detail=notice)
        return notice


def version_notice(server: str, *, client: str = _CLIENT) -> str | None:
    """What to say about a server of this version, or None where its minor version is the client's."""
    ours, theirs = _minor(client), _minor(server)
    if theirs is None or ours is None:
        return f"Qdrant says that its version is {server[:40]!r}, which is no version; the client is {client}"
    if ours == theirs:
        return None
    apart = abs(ours[1] - theirs[1])
    if ours[0] == theirs[0] and apart == 1:
        return f"Qdrant is {server} and its client is {client}: one minor version apart, which is supported"
    return (
        f"Qdrant is {server} and its client is {client}: more than one minor version apart, which is not supported; "
        f"run Qdrant {ours[0]}.{ours[1]}"
    )


def _minor(text: str) -> tuple[int, int] | None:
    """(major, minor)."""
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isascii() and part.isdigit() for part in parts[:2]):
        return None
    return int(parts[0]), int(parts[1])
