"""A local system of toy services, to test the supervisor without the real ones: `python -m harness.toy_system DIR`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.waiting import HUNG_AFTER_S
from vitrine_local.data_folder import DataFolder
from vitrine_local.errors import LocalError
from vitrine_local.supervisor import LocalSystem, SystemOptions
from vitrine_local.supervisor.health import HttpProbe
from vitrine_local.supervisor.logs import SteadyConsole
from vitrine_local.supervisor.plan import Plan
from vitrine_local.supervisor.spec import PortReservation, ServiceSpec

_TOY = Path(__file__).with_name("toy_service.py")
_FOREVER_S = 3600.0
_NICENESS = 7
_HUNG_AFTER_S = 8.0


def toy(name: str, folder: Path, *words: str, after: tuple[str, ...] = (), stop_grace_s: float = 5.0) -> ServiceSpec:
    """The description of a toy service."""
    reservation = PortReservation()
    probe = HttpProbe(f"http://127.0.0.1:{reservation.port}/")
    command = (sys.executable, "-I", "-S", str(_TOY), name, str(reservation.port), str(folder), *words)
    return ServiceSpec(
        name=name,
        command=command,
        environment=dict(os.environ),
        probe=probe,
        liveness=probe,
        after=after,
        reservation=reservation,
        start_timeout_s=HUNG_AFTER_S,
        stop_grace_s=stop_grace_s,
    )


def toy_plan(data: DataFolder, *, port: int, environment: Mapping[str, str]) -> Plan:
    """Two toy services, the second after the first. `VITRINE_TEST_TOY` has the options of the second."""
    words = environment.get("VITRINE_TEST_TOY", "").split()
    first = toy("first", data.root, "slow")
    second = replace(
        toy("second", data.root, *words, after=("first",), stop_grace_s=_FOREVER_S if "deaf" in words else 5.0),
        niceness=_NICENESS,
        hung_after_s=_FOREVER_S if "patient" in words else _HUNG_AFTER_S,
    )
    return Plan(url=f"http://127.0.0.1:{second.port}", services=(first, second))


def supervise(folder: Path) -> int:
    """Run the two toy services until a signal, like `vitrine up`."""

    console = SteadyConsole()

    async def stay(url: str) -> None:
        console.print(f"ready: {url}", soft_wrap=True)
        await asyncio.Event().wait()

    options = SystemOptions(data=DataFolder.at(folder), port=0)
    try:
        asyncio.run(LocalSystem(options, console=console, planner=toy_plan).run(stay))
    except LocalError as error:
        console.print(f"error: {error.detail}", soft_wrap=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(supervise(Path(sys.argv[1])))
