"""httpcore imports `sniffio` for each lock it makes, ten times a search. Python remembers no import that failed, so
where the package is not installed each of them searches the whole path again: some milliseconds a search in all.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Final

OPTIONAL: Final = "sniffio"


def remember_absent(name: str = OPTIONAL) -> bool:
    """Mark a module that is not installed as such, which is what None in `sys.modules` means to Python.

    Returns whether it is absent. Importing it goes on raising ImportError, only at once.
    """
    if name in sys.modules:
        return sys.modules[name] is None
    absent = importlib.util.find_spec(name) is None
    if absent:
        sys.modules[name] = None  # type: ignore[assignment]
    return absent
