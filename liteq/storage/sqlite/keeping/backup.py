"""A consistent copy of a live file, by SQLite's backup API: one file without a log, which tells it from the original.

The process that opens it in the original's place begins a new epoch (epoch.py).
"""

from __future__ import annotations

import os
from pathlib import Path

from liteq.exceptions import StorageFull, StorageUnavailable
from liteq.storage.sqlite.disk import parts
from liteq.storage.sqlite.session import Session

__all__ = ["backup", "publish", "write"]


def backup(session: Session, target: Path) -> None:
    """Copy the file of `session` to `target`, whole and checked, or leave nothing there.

    Raises StorageUnavailable where `target` exists or cannot be made, StorageFull where its disk has no room for it,
    StorageCorrupt where the copy is damaged.
    """
    if os.path.lexists(target):
        raise StorageUnavailable(f"{target} exists: name a new file, a backup never overwrites one")
    with parts.writing(target) as part:
        write(session, part)
        publish(part, target)


def write(session: Session, part: Path) -> None:
    """Copy the file of `session` into `part`, which is to be published. Raises as `backup`."""
    try:
        try:
            session.copy_to(str(part))
            _sync(part)
        finally:
            parts.clear_beside(part)
    except StorageFull as error:  # the library's message names the source
        raise StorageFull(f"{part.parent}: the disk is full: free some space there, or name another place") from error
    except OSError as error:
        raise StorageUnavailable(f"{part} cannot be written ({error.strerror})") from error


def publish(part: Path, target: Path, *, replace: bool = False) -> None:
    """Give the finished copy its name; without `replace`, unless somebody has taken it. Raises StorageUnavailable."""
    try:
        if replace:
            os.replace(part, target)
        else:
            _take_name(part, target)
        if os.name == "posix":
            _sync(target.parent)
    except OSError as error:
        raise StorageUnavailable(f"the copy {target} cannot be written ({error.strerror})") from error


def _take_name(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # a rename would overwrite
    except FileExistsError:
        raise
    except OSError:  # no hard links on this file system
        if os.path.lexists(target):
            raise
        os.rename(part, target)


def _sync(path: Path) -> None:
    # Safe with Python's own I/O: this file's connection is closed, and no other process knows it yet.
    fd = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
