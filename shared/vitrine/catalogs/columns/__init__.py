"""The columns of a table as attributes: their names, their kinds, and the values of their texts. See `typer`."""

from vitrine.catalogs.columns.keywords import known
from vitrine.catalogs.columns.names import attribute_names, renaming
from vitrine.catalogs.columns.numbers import read_year
from vitrine.catalogs.columns.single import read_as, read_single
from vitrine.catalogs.columns.typer import ColumnTyper, TypedColumn, kinds_of, typed_columns

__all__ = [
    "ColumnTyper",
    "TypedColumn",
    "attribute_names",
    "kinds_of",
    "known",
    "read_as",
    "read_single",
    "read_year",
    "renaming",
    "typed_columns",
]
