"""A mapping of columns as a person writes it: one `NAME=COLUMN` for each role or attribute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vitrine.errors import ParameterInvalid

# Instead of a mapping: use the usual names, not those that were kept with the dataset.
USUAL_NAMES: Final = "none"


def parse_mapping(texts: Iterable[str]) -> dict[str, str]:
    """The mapping of `NAME=COLUMN` texts; blank ones are left out.

    Several columns of one name are joined by commas. `none` alone is an empty mapping. Raises ParameterInvalid.
    """
    written = [text.strip() for text in texts if text.strip()]
    if [text.lower() for text in written] == [USUAL_NAMES]:
        return {}
    mapping: dict[str, str] = {}
    for text in written:
        name, _, column = (part.strip() for part in text.partition("="))
        if not name or not column:
            raise ParameterInvalid(
                f"the mapping {text[:80]!r} is not NAME=COLUMN, such as id=Handle; {USUAL_NAMES!r} alone resets it"
            )
        mapping[name] = f"{mapping[name]},{column}" if name in mapping else column
    return mapping
