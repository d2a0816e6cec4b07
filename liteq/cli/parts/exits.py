"""The exit codes, in one table: the help, the reference and the errors' codes are made from it.

Above 2 they are those of sysexits.h, which Celery uses too.
"""

from __future__ import annotations

from enum import IntEnum

from liteq import exceptions as err

__all__ = ["Exit", "code_of", "described"]


class Exit(IntEnum):
    """The code that a command ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DATA = 65
    UNAVAILABLE = 69
    CANNOT_CREATE = 73
    TRY_AGAIN = 75
    CONFIG = 78
    INTERRUPTED = 130


MEANING = {
    Exit.OK: "done",
    Exit.FAILED: "the task failed, the check found something, or the id is unknown",
    Exit.USAGE: "an unknown option, argument, name of a task or of a command",
    Exit.DATA: "refused: not serialisable, too large; or the file is no database, or damaged",
    Exit.UNAVAILABLE: "no worker answers, or the file cannot be opened",
    Exit.CANNOT_CREATE: "a file or folder that cannot be made, or is there already: a pidfile, a backup's target",
    Exit.TRY_AGAIN: "not yet: unfinished, locked, in use, disk full",
    Exit.CONFIG: "a setting, the broker's URL, the app; or the file is of a newer liteq",
    Exit.INTERRUPTED: "interrupted",
}

# The first class that fits counts.
_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (err.NotRegistered, Exit.USAGE),
    (err.BadMessage, Exit.DATA),
    (err.StorageCorrupt, Exit.DATA),
    (err.SchemaTooNew, Exit.CONFIG),
    (err.CodecError, Exit.CONFIG),
    (err.ImproperlyConfigured, Exit.CONFIG),
    (err.StorageBusy, Exit.TRY_AGAIN),
    (err.StorageConflict, Exit.TRY_AGAIN),
    (err.StorageFull, Exit.TRY_AGAIN),
    (err.StorageInUse, Exit.TRY_AGAIN),
    (err.NotYetThere, Exit.TRY_AGAIN),
    (err.TimeoutError, Exit.TRY_AGAIN),
    (err.StorageError, Exit.UNAVAILABLE),
)


def code_of(exc: Exception) -> Exit:
    """The exit code of a command that `exc` ended."""
    return next((code for kind, code in _CODES if isinstance(exc, kind)), Exit.FAILED)


def described() -> str:
    """The table as text for `liteq --help`; click's mark keeps its lines."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {MEANING[code]}" for code in Exit)
