"""The health check of a container. `healthcheck.sh` calls it, and acts on status 2. The reason is on standard error.

    healthcheck.py http PORT         checks that the service's /readyz answers 200
    healthcheck.py worker SERVICE    checks that this container's worker has a heartbeat key in Redis

Exit status: 0 healthy; 1 not ready, or not started yet; 2 no sign of life.
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
            problem = check_http(int(port))
        case ["worker", service]:
            problem = check_worker(service, redis_url=os.environ["VITRINE_REDIS_URL"], host=socket.gethostname())
        case _:
            problem = Problem("usage: healthcheck.py http PORT | healthcheck.py worker SERVICE")
    if problem is None:
        return 0
    sys.stderr.write(f"unhealthy: {problem.reason}\n")
    return NO_SIGN_OF_LIFE if problem.silent else UNHEALTHY


class Problem(NamedTuple):
    """Why a service is not healthy. `silent`: no sign of life."""

    reason: str
    silent: bool = False


def check_http(port: int) -> Problem | None:
    """Why the service on `port` of this machine is not ready; None if it is ready."""
    # No proxy for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=_TIMEOUT_S) as answer:
            return None if answer.status == 200 else Problem(f"status {answer.status}")
    except urllib.error.HTTPError as refusal:
        return Problem(f"status {refusal.code}")
    except OSError as error:
        cause = getattr(error, "reason", error)
        # During a start nothing listens. A service that listens but does not answer has hung.
        return Problem(f"no answer ({type(cause).__name__})", silent=isinstance(cause, TimeoutError))


def check_worker(service: str, *, redis_url: str, host: str) -> Problem | None:
    """Why the worker `service` on `host` is not alive; None if it is alive."""
    # Imported here because the embedder's image does not have it.
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # The key that the worker's heartbeat writes. Importing that module would cost a CPU second at every check.
    pattern = f"vitrine:worker:{service}:{host}:*"
    try:
        with redis.Redis.from_url(
            redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        ) as client:
            found = next(client.scan_iter(match=pattern, count=1000), None)
    except redis.RedisError as error:
        return Problem(f"Redis cannot be asked ({type(error).__name__})")
    return None if found is not None else Problem("no sign of life in Redis", silent=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
