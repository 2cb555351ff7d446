"""Which search API a command speaks to: the address given, else that of the system which runs on the data folder, else
the default address of a local one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vitrine_local.data_folder import DataFolder
from vitrine_local.errors import ServerUnreachable

DEFAULT_DATA = Path(".vitrine")
DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Target:
    """A search API. `local` is its data folder where it is known to run on this machine from that folder."""

    url: str
    api_key: str | None = None
    local: DataFolder | None = None


def find_target(url: str | None, data: Path | None) -> Target:
    """The search API meant by `url` and `data`, as given on the command line or in the environment.

    Raises ServerUnreachable where a data folder is named and no system runs on it.
    """
    folder = DataFolder.at(data or DEFAULT_DATA)
    run = folder.read_run() if folder.is_locked() else None
    if url is None and data is not None and run is None:
        raise ServerUnreachable(f"no Vitrine runs on {folder.root}: start it with `vitrine up --data {data}`")
    wanted = (url or (run.url if run else DEFAULT_URL)).rstrip("/")
    is_here = run is not None and run.url == wanted
    return Target(wanted, os.environ.get("VITRINE_API_KEY") or None, folder if is_here else None)
