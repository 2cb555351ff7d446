"""What can go wrong on the user's own machine, told with what to do about it. All are VitrineErrors, so one handler in
the command turns any of them into a line on standard error and an exit code.
"""

from __future__ import annotations

from typing import ClassVar

from vitrine.errors import VitrineError

EXIT_FAILED = 1
EXIT_USAGE = 2


class LocalError(VitrineError):
    """Something on this machine stands in the way. `exit_code` is what the command ends with."""

    code = "local_error"
    exit_code: ClassVar[int] = EXIT_FAILED


class DataFolderInUse(LocalError):
    """Another local system runs on the same data folder."""

    code = "data_folder_in_use"


class DataFolderUnusable(LocalError):
    """The data folder cannot be made or written."""

    code = "data_folder_unusable"


class StorageUnusable(LocalError):
    """The collections' files cannot be opened, for a reason that is not in the files: no memory, no room."""

    code = "storage_unusable"


class PortTaken(LocalError):
    """The port that was asked for is in use."""

    code = "port_taken"


class RedisMissing(LocalError):
    """No Redis server binary is to be found on this machine."""

    code = "redis_missing"


class ServiceFailed(LocalError):
    """A service did not come up, or kept dying."""

    code = "service_failed"


class CommandFailed(LocalError):
    """What the command was asked for did not happen."""

    code = "command_failed"


class UsageInvalid(LocalError):
    """The command line says something that cannot be."""

    code = "usage_invalid"
    exit_code = EXIT_USAGE


class ServerUnreachable(LocalError):
    """No search API answers at the address."""

    code = "server_unreachable"
