"""How Vitrine speaks to Qdrant: clients, Qdrant's errors as errors of the tree, and the check of a server's version."""

from vitrine.qdrant.client import open_async_qdrant, open_qdrant
from vitrine.qdrant.errors import qdrant_errors, unless_there
from vitrine.qdrant.version import VersionLog, version_notice

__all__ = ["VersionLog", "open_async_qdrant", "open_qdrant", "qdrant_errors", "unless_there", "version_notice"]
