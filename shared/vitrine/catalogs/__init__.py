"""Catalogues: a folder on disk becomes products, with every fault listed. See `registry.read_catalog`.

`vitrine.catalogs.inspection` looks into the pictures of a catalogue.
"""

from vitrine.catalogs.model import FAULT_KINDS, Catalog, Fault
from vitrine.catalogs.registry import READERS, read_catalog, reader_for
from vitrine.catalogs.roots import allowed_roots, read_picture, resolve_catalog_root, resolve_picture

__all__ = [
    "FAULT_KINDS",
    "READERS",
    "Catalog",
    "Fault",
    "allowed_roots",
    "read_catalog",
    "read_picture",
    "reader_for",
    "resolve_catalog_root",
    "resolve_picture",
]
