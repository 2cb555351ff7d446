"""Errors of the local system and the command line. The command prints `detail` and exits with `exit_code`.

VitrineError
    LocalError
        DataFolderInUse
        DataFolderUnusable
        StorageUnusable
        PortTaken
        RedisMissing
        ServiceFailed
        CommandFailed
        UsageInvalid
        ServerUnreachable
"""

from __future__ import annotations

from typing import ClassVar

from vitrine.errors import VitrineError

EXIT_FAILED = 1
EXIT_USAGE = 2


class LocalError(VitrineError):
    """Base class. `exit_code` is the exit code of the command."""

    code = "local_error"
    exit_code: ClassVar[int] = EXIT_FAILED


class DataFolderInUse(LocalError):
    """Another local system uses the same data folder."""

    code = "data_folder_in_use"


class DataFolderUnusable(LocalError):
    """The data folder cannot be created or written."""

    code = "data_folder_unusable"


class StorageUnusable(LocalError):
    """The local Qdrant cannot open its collections for a reason other than damaged files: no memory, no disk space."""

    code = "storage_unusable"


class PortTaken(LocalError):
    """The requested port is in use."""

    code = "port_taken"


class RedisMissing(LocalError):
    """No usable Redis server was found on this machine."""

    code = "redis_missing"


class ServiceFailed(LocalError):
    """A service could not start."""

    code = "service_failed"


class CommandFailed(LocalError):
    """The command did not succeed."""

    code = "command_failed"


class UsageInvalid(LocalError):
    """An argument of the command line is invalid."""

    code = "usage_invalid"
    exit_code = EXIT_USAGE


class ServerUnreachable(LocalError):
    """No search API answers at the URL."""

    code = "server_unreachable"
