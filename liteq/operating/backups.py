"""A folder of backups of one queue: each under a name with its time, and the old ones go.

Nothing but such names is ever deleted, and nothing before a new copy has been written whole and checked: a queue that
is damaged, or a disk that is full, costs no backup of before.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from liteq.clock import from_ms
from liteq.exceptions import StorageError, StorageUnavailable
from liteq.storage.storage import Storage
from liteq.utils.records import NamedTuple

if sys.platform != "win32":
    import fcntl

__all__ = ["BackupRefused", "BackupRunning", "Backups", "Taken"]

STAMP = "%Y%m%dT%H%M%SZ"


class BackupRefused(StorageUnavailable):
    """Raised where a folder is not there, or has the backups of another queue."""


class BackupRunning(StorageError):
    """Raised where another process writes a backup into the folder at this moment."""


class Taken(NamedTuple):
    """A backup that was written: its size in bytes, how long it took, and the old ones that were removed."""

    path: Path
    size: int
    seconds: float
    removed: list[Path]


class Backups:
    """The backups of the queue `source` in `folder`: `words.db` is kept as `words-20261128T225300Z.db`.

    A hidden file notes whose they are: a queue of the same name elsewhere would delete this one's. Raises
    BackupRefused.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self._source = source
        self._note = folder / f".{source.name}.backups"
        stem, suffix = re.escape(source.stem), re.escape(source.suffix)
        self._ours = re.compile(rf"{stem}-\d{{8}}T\d{{6}}Z{suffix}")
        self._part = re.compile(rf"{stem}-\d{{8}}T\d{{6}}Z{suffix}\.part\d+(-wal|-shm|-journal)?")
        if not folder.is_dir():
            raise BackupRefused(f"{folder} is no folder: create it first")
        self._check_owner()

    def _check_owner(self) -> None:
        try:
            with self._note.open("x", encoding="utf-8") as note:
                note.write(f"{self._source}\n")
        except FileExistsError:
            owner = self._note.read_text(encoding="utf-8").strip()
            if not owner:  # of a process that was killed before it wrote: nobody's yet
                self._note.write_text(f"{self._source}\n", encoding="utf-8")
            elif owner != str(self._source):
                raise BackupRefused(
                    f"{self.folder} has the backups of {owner}, under the same names: name another folder; if that "
                    f"queue is now {self._source}, delete {self._note} first"
                ) from None
        except OSError as error:
            raise BackupRefused(f"{self._note} cannot be written ({error.strerror}): name another folder") from error

    def take(self, storage: Storage, *, keep: int | None = None) -> Taken:
        """Write one more backup, and with `keep` remove all but so many of the newest.

        The copy has passed SQLite's integrity check, and is on the disk, before it gets its name. Raises StorageError's
        subclasses; then nothing was removed, unless the error says that the backup was written.
        """
        began = time.monotonic()
        with self._alone():
            self._clear_parts()  # of a process that was killed: nobody else is at work here
            target = self._next(storage.clock.now_ms())
            storage.backup(target)
            size = target.stat().st_size
            removed = [] if keep is None else self._prune(target, keep)
        return Taken(target, size, round(time.monotonic() - began, 3), removed)

    def all(self) -> list[Path]:
        """The backups that there are, the oldest first."""
        return sorted(path for path in self.folder.iterdir() if self._ours.fullmatch(path.name) and _is_file(path))

    def _next(self, now_ms: int) -> Path:
        """A name of that time that is free, in the next seconds where two are made in one."""
        at = from_ms(now_ms)
        while os.path.lexists(path := self.folder / f"{self._source.stem}-{at:{STAMP}}{self._source.suffix}"):
            at += timedelta(seconds=1)
        return path

    def _prune(self, newest: Path, keep: int) -> list[Path]:
        others = [path for path in self.all() if path != newest]  # the clock may have been set back since
        old = others[: max(0, len(others) - keep + 1)]
        for path in old:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageUnavailable(
                    f"the backup {newest} was written, but {path}, an old one, cannot be removed ({error.strerror})"
                ) from error
        return old

    def _clear_parts(self) -> None:
        for path in self.folder.iterdir():
            if self._part.fullmatch(path.name) and _is_file(path):
                path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only one that works in this folder. Raises BackupRunning."""
        if sys.platform == "win32":  # a folder cannot be locked
            yield
            return
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupRunning(f"another process writes a backup into {self.folder} at this moment") from None
            except OSError:  # a file system without locks
                pass
            yield
        finally:
            os.close(fd)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
