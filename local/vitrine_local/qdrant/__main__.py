"""Runs the local Qdrant: `python -m vitrine_local.qdrant --storage DIR --host 127.0.0.1 --port N`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

from vitrine.disk_space import MIB
from vitrine.settings import CommonSettings
from vitrine.telemetry import configure_logging
from vitrine.web import ConnectionLimits, build_limited_server, hosts_checked, is_loopback
from vitrine_local.errors import LocalError, UsageInvalid
from vitrine_local.qdrant.app import create_app
from vitrine_local.qdrant.disk import storage_lock
from vitrine_local.qdrant.store import Store

_KEY_VARIABLES: Final = ("VITRINE_QDRANT_API_KEY", "QDRANT_API_KEY")
_HOSTS_VARIABLE: Final = "VITRINE_ALLOWED_HOSTS"
_RESERVE_VARIABLE: Final = "VITRINE_DISK_RESERVE_MB"
_RESERVE_MB: Final = CommonSettings.model_fields["disk_reserve_mb"].default
# Longer than the client keeps an idle connection, so that the client never uses one that is being closed.
_KEEP_ALIVE_S: Final = 75
_DRAIN_S: Final = 5
# Every user of the machine can connect without a key. The timeouts are long because a start or a large write can block
# the event loop, and nothing is read meanwhile.
_LIMITS: Final = ConnectionLimits(header_timeout_s=30.0, write_timeout_s=60.0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="vitrine-local-qdrant", description="Qdrant's engine on one machine")
    parser.add_argument("--storage", type=Path, required=True, help="folder of the collections")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=6333, help="port to listen on (default: %(default)s)")
    parser.add_argument("--api-key", help=f"key that clients must send (default: ${_KEY_VARIABLES[0]})")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=_hosts_from_environment(),
        help=f"a name accepted in the Host header besides loopback; may be repeated (default: ${_HOSTS_VARIABLE})",
    )
    parser.add_argument(
        "--reserve-mb",
        type=int,
        default=os.environ.get(_RESERVE_VARIABLE, _RESERVE_MB),
        help=f"MiB of the disk that stay free (default: ${_RESERVE_VARIABLE}, otherwise {_RESERVE_MB})",
    )
    arguments = parser.parse_args()
    log = configure_logging("local-qdrant", level="info")
    # The running server handles the signals itself, with a graceful shutdown. Before and after that they exit with 0.
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    api_key = arguments.api_key or next((os.environ[name] for name in _KEY_VARIABLES if os.environ.get(name)), None)
    try:
        if api_key is None and not is_loopback(arguments.host):
            raise UsageInvalid(f"{arguments.host} is not a loopback address: give an API key to listen on it")
        with storage_lock(arguments.storage):
            store = Store(arguments.storage, reserve_bytes=arguments.reserve_mb * MIB)
            store.open()
            log.info("start", host=arguments.host, port=arguments.port, collections=len(store.collections()))
            hosts = hosts_checked(arguments.host, arguments.allowed_host)
            app = create_app(store, api_key=api_key, hosts=hosts)
            build_limited_server(
                app,
                host=arguments.host,
                port=arguments.port,
                limits=_LIMITS,
                keep_alive_s=_KEEP_ALIVE_S,
                shutdown_grace_s=_DRAIN_S,
            ).run()
    except LocalError as error:
        log.error("start_refusal", reason=error.code, detail=error.detail)
        sys.exit(error.exit_code)


def _exit(*_: object) -> NoReturn:
    sys.exit(0)


def _hosts_from_environment() -> list[str]:
    return [name.strip() for name in os.environ.get(_HOSTS_VARIABLE, "").split(",") if name.strip()]


if __name__ == "__main__":
    main()
