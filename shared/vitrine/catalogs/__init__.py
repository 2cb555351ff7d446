"""Read a catalogue folder: products with pictures and attributes, and a list of issues. See `read_catalog`."""

from vitrine.catalogs.model import ISSUE_KINDS, Catalog, Issue
from vitrine.catalogs.registry import READERS, read_catalog, reader_for
from vitrine.catalogs.roots import allowed_roots, read_picture, resolve_catalog_root, resolve_picture

__all__ = [
    "ISSUE_KINDS",
    "READERS",
    "Catalog",
    "Issue",
    "allowed_roots",
    "read_catalog",
    "read_picture",
    "reader_for",
    "resolve_catalog_root",
    "resolve_picture",
]
