"""Catalogues: a folder on disk becomes products, with every fault listed. See `registry.read_catalog`.

Drawing a catalogue is in `vitrine.catalogs.synthetic` and looking into the pictures of one in
`vitrine.catalogs.inspection`; neither is needed to read.
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
