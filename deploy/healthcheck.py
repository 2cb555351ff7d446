"""A container's health check: exits 0 where the service can work, 1 where it cannot, with the reason on stderr.

healthcheck.py http PORT         the service's /readyz answers 200
healthcheck.py worker SERVICE    the worker of this container has told Redis of late that it lives
"""

from __future__ import annotations

import os
import socket
import sys
import urllib.error
import urllib.request
from typing import Final

_TIMEOUT_S: Final = 4.0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["http", port] if port.isdigit():
            reason = http_fault(int(port))
        case ["worker", service]:
            reason = worker_fault(service, redis_url=os.environ["VITRINE_REDIS_URL"], host=socket.gethostname())
        case _:
            reason = "usage: healthcheck.py http PORT | healthcheck.py worker SERVICE"
    if reason is None:
        return 0
    sys.stderr.write(f"unhealthy: {reason}\n")
    return 1


def http_fault(port: int) -> str | None:
    """Why the service on `port` of this machine is not ready, or None where it is."""
    # A proxy of the environment is for the outside world.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=_TIMEOUT_S) as answer:
            return None if answer.status == 200 else f"status {answer.status}"
    except urllib.error.HTTPError as refusal:
        return f"status {refusal.code}"
    except OSError as error:
        return f"no answer ({type(error).__name__})"


def worker_fault(service: str, *, redis_url: str, host: str) -> str | None:
    """Why the worker `service` of `host` does not count as alive, or None where it does."""
    import redis  # here alone, since the embedder's check runs without it

    # As vitrine.worker.announce writes it, whose import would cost a second of a core at every check.
    pattern = f"vitrine:worker:{service}:{host}:*"
    try:
        with redis.Redis.from_url(redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S) as client:
            found = next(client.scan_iter(match=pattern, count=1000), None)
    except redis.RedisError as error:
        return f"Redis cannot be asked ({type(error).__name__})"
    return None if found is not None else "no sign of life in Redis"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
