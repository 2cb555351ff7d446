"""A container's health check: exits 0 where the service can work, 1 where it answers that it cannot or is not there
yet, and 2 where it gives no sign of life, with the reason on stderr. `healthcheck.sh` acts on the last.

healthcheck.py http PORT         the service's /readyz answers 200
healthcheck.py worker SERVICE    the worker of this container has told Redis of late that it lives
"""

from __future__ import annotations

import os
import socket
import sys
import urllib.error
import urllib.request
from typing import Final, NamedTuple

UNHEALTHY: Final = 1
NO_SIGN_OF_LIFE: Final = 2
_TIMEOUT_S: Final = 3.0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["http", port] if port.isdigit():
            fault = http_fault(int(port))
        case ["worker", service]:
            fault = worker_fault(service, redis_url=os.environ["VITRINE_REDIS_URL"], host=socket.gethostname())
        case _:
            fault = Fault("usage: healthcheck.py http PORT | healthcheck.py worker SERVICE")
    if fault is None:
        return 0
    sys.stderr.write(f"unhealthy: {fault.reason}\n")
    return NO_SIGN_OF_LIFE if fault.silent else UNHEALTHY


class Fault(NamedTuple):
    """Why a service is not healthy. `silent`: it gives no sign of life."""

    reason: str
    silent: bool = False


def http_fault(port: int) -> Fault | None:
    """Why the service on `port` of this machine is not ready, or None where it is."""
    # A proxy of the environment is for the outside world.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=_TIMEOUT_S) as answer:
            return None if answer.status == 200 else Fault(f"status {answer.status}")
    except urllib.error.HTTPError as refusal:
        return Fault(f"status {refusal.code}")
    except OSError as error:
        cause = getattr(error, "reason", error)
        # Nothing listens while it starts; a service that listens and does not answer hangs.
        return Fault(f"no answer ({type(cause).__name__})", silent=isinstance(cause, TimeoutError))


def worker_fault(service: str, *, redis_url: str, host: str) -> Fault | None:
    """Why the worker `service` of `host` does not count as alive, or None where it does."""
    # Here alone, since the embedder's check runs without it.
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # As vitrine.jobs.worker writes it, whose import would cost a second of a core at every check.
    pattern = f"vitrine:worker:{service}:{host}:*"
    try:
        with redis.Redis.from_url(
            redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        ) as client:
            found = next(client.scan_iter(match=pattern, count=1000), None)
    except redis.RedisError as error:
        return Fault(f"Redis cannot be asked ({type(error).__name__})")
    return None if found is not None else Fault("no sign of life in Redis", silent=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
