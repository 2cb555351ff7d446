"""Qdrant: names, schema, filters, aliases, clients, and its errors as Vitrine's."""

from vitrine.qdrant.client import VersionLog, open_async_qdrant, open_qdrant, version_notice
from vitrine.qdrant.errors import qdrant_errors, unless_exists

__all__ = ["VersionLog", "open_async_qdrant", "open_qdrant", "qdrant_errors", "unless_exists", "version_notice"]
