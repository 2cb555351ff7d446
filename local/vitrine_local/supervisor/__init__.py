"""Runs the services of the local system: starts them in order, restarts them, and stops them without leftovers.

plan      which services, with which commands and environment
spec      the description of one service, and port reservations
system    the whole system: lock, start order, signals, run.json
service   one service: start, readiness, restarts with backoff, stop
process   one process and its children
health    readiness and liveness checks
reaper    kills leftover processes after the supervisor itself was killed
logs      log files and the console
"""

from __future__ import annotations

from vitrine_local.supervisor.system import LocalSystem, SystemOptions

__all__ = ["LocalSystem", "SystemOptions"]
