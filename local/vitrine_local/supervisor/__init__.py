"""Starts every service of the local system, keeps each alive and stops them all: nothing it started outlives it."""

from __future__ import annotations

from vitrine_local.supervisor.system import LocalSystem, SystemOptions

__all__ = ["LocalSystem", "SystemOptions"]
