"""A consistent copy of a live file, by SQLite's backup API: one file without a log, which tells it from the original.

The process that opens it in the original's place begins a new epoch (epoch.py).
"""

from __future__ import annotations

import os
from pathlib import Path

from liteq.exceptions import StorageUnavailable
from liteq.storage.sqlite.disk.ownership import MODE
from liteq.storage.sqlite.session import Session

__all__ = ["backup", "publish", "write_part"]


def backup(session: Session, target: Path) -> None:
    """Copy the file of `session` to `target`, whole and checked, or leave nothing there.

    Raises StorageUnavailable where `target` exists or cannot be made, StorageCorrupt where the copy is damaged.
    """
    if os.path.lexists(target):
        raise StorageUnavailable(f"{target} exists: name a new file, a backup never overwrites one")
    part = write_part(session, target)
    try:
        publish(part, target)
    finally:
        part.unlink(missing_ok=True)


def write_part(session: Session, target: Path) -> Path:
    """Copy the file of `session` to a file beside `target`, to be published; its path. Raises as `backup`."""
    part = target.with_name(f"{target.name}.part{os.getpid()}")
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, MODE))
        try:
            session.copy_to(str(part))
            _sync(part)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            for leftover in ("-wal", "-shm", "-journal"):
                Path(f"{part}{leftover}").unlink(missing_ok=True)
    except OSError as error:
        raise StorageUnavailable(f"{part} cannot be written ({error.strerror})") from error
    return part


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
