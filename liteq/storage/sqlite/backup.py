"""A consistent copy of a live file, by SQLite's backup API.

The copy keeps the file's `epoch`: it goes up when a copy is taken back into use, so that leases given out before can
never be acknowledged. Whoever restores a copy by hand must raise it before the first worker starts:
`UPDATE liteq_meta SET value = value + 1 WHERE key = 'epoch'`.
"""

from __future__ import annotations

import os
from pathlib import Path

from liteq.exceptions import StorageUnavailable
from liteq.storage.sqlite.files import MODE
from liteq.storage.sqlite.session import Session

__all__ = ["backup"]


def backup(session: Session, target: Path) -> None:
    """Copy the file of `session` to `target`, whole and checked, or leave nothing there.

    Raises StorageUnavailable where `target` exists or cannot be made, StorageCorrupt where the copy is damaged.
    """
    part = target.with_name(f"{target.name}.part{os.getpid()}")
    if os.path.lexists(target):
        raise StorageUnavailable(f"{target} exists: name a new file, a backup never overwrites one")
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, MODE))
        try:
            session.copy_to(str(part))
            _sync(part)
            _publish(part, target)
        finally:
            for leftover in (part, Path(f"{part}-wal"), Path(f"{part}-shm")):
                leftover.unlink(missing_ok=True)
    except OSError as error:
        raise StorageUnavailable(f"the backup {target} cannot be written ({error.strerror})") from error


def _publish(part: Path, target: Path) -> None:
    """Give the finished copy its name, unless somebody has taken it meanwhile."""
    try:
        os.link(part, target)  # a rename would overwrite
    except FileExistsError:
        raise
    except OSError:  # no hard links on this file system
        if os.path.lexists(target):
            raise
        os.rename(part, target)
    if os.name == "posix":
        _sync(target.parent)


def _sync(path: Path) -> None:
    # Safe with Python's own I/O: this file's connection is closed, and no other process knows it yet.
    fd = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
