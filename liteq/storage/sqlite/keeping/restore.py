"""A copy is put in the place of the database, which is kept beside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

from liteq.exceptions import SchemaTooNew, StorageBusy, StorageError, StorageInUse, StorageUnavailable
from liteq.storage.driver import Transaction
from liteq.storage.sqlite.disk import ownership, parts
from liteq.storage.sqlite.keeping import backup
from liteq.storage.sqlite.migrate import migrations, read_versions
from liteq.storage.sqlite.session import Session
from liteq.storage.sqlite.turns import holder
from liteq.storage.sqlite.versions.create import check_application

__all__ = ["restore"]

SIDECARS = ("", "-wal", "-shm")
STATE = ".{}-litestream"  # the folder in which Litestream notes how far it has come


class Opens(Protocol):
    """A driver, as this file needs it."""

    path: str

    def session_on(self, path: str) -> Session:
        """A session on any file, which is not open yet."""


def restore(driver: Opens, source: Path) -> Path | None:
    """Put a copy of `source` in the place of the driver's file, which nobody may have open; where the old one is now.

    The old one is kept, under a name with the time in it; None where there was none. `source` stays as it is. The first
    process that opens the file begins a new epoch (epoch.py).

    Raises StorageUnavailable where `source` is no queue, StorageCorrupt where it is damaged, SchemaTooNew where it is a
    newer liteq's, and StorageInUse where a process has the file open. Then nothing is changed.
    """
    target = Path(driver.path)
    if not source.is_file():
        raise StorageUnavailable(f"{source} is not there, or is no file: name a copy that `liteq backup` has written")
    if source.exists() and target.exists() and source.samefile(target):
        raise StorageUnavailable(f"{source} is the queue itself: name a copy that `liteq backup` has written")
    with parts.writing(target) as part:
        with _on(driver, source) as session:
            _check(session)
            backup.write(session, part)
        with _out_of_use(driver):
            _give_to_owner(part, target)
            kept = _keep(target)
            backup.publish(part, target, replace=kept is not None)
    return kept


@contextmanager
def _on(driver: Opens, path: Path) -> Iterator[Session]:
    session = driver.session_on(str(path))
    session.connect(1000)
    try:
        yield session
    finally:
        session.close()


def _check(session: Session) -> None:
    check_application(session)
    found, known = read_versions(cast("Transaction", session), session.path), max(migrations())
    if not found.version:
        raise StorageUnavailable(f"{session.path} has no queue in it: name a copy that `liteq backup` has written")
    if found.min_writer > known:
        raise SchemaTooNew(session.path, found.version, known)


@contextmanager
def _out_of_use(driver: Opens) -> Iterator[None]:
    """Make sure that no process has the database open, and keep writers out meanwhile. Raises StorageInUse."""
    session = driver.session_on(driver.path)
    if not session.gate.acquire(1.0):
        raise StorageInUse(driver.path, holder.writer(driver.path))
    try:
        users = ", ".join(holder.users(driver.path))
        if users or not _alone(session):
            raise StorageInUse(driver.path, users or "a process that cannot be told from here")
        yield
    finally:
        session.gate.release()
        session.close()


def _alone(session: Session) -> bool:
    """Whether SQLite lets this connection leave WAL mode, as it does the only one; folds the log into the file."""
    if not os.path.exists(session.path):
        return True
    try:
        session.connect(0)
        session.script("PRAGMA journal_mode=DELETE")
    except StorageBusy:
        return False
    except StorageError:  # damaged: the reason, perhaps, for which a copy is restored
        return True
    finally:
        with suppress(Exception):  # it was perhaps never connected
            session.disconnect()
    return True


def _give_to_owner(part: Path, target: Path) -> None:
    """Keep the owner and the mode of what is replaced; where there is nothing, root restores for the folder's owner.

    Raises StorageUnavailable.
    """
    gate = Path(f"{target}-gate")  # made just now, with no database that told whose it is to be
    try:
        if target.exists():
            like = target.stat()
            ownership.give_to_owner(str(part), like)
            os.chmod(part, stat.S_IMODE(like.st_mode))
            return
        like = target.parent.stat()
        ownership.give_to_owner(str(part), like)
        if gate.exists():
            ownership.give_to_owner(str(gate), like)
    except OSError as error:
        raise StorageUnavailable(f"{part} cannot be given the owner and mode of {target} ({error.strerror})") from error


def _keep(target: Path) -> Path | None:
    """Give the database, the rest of its log and Litestream's state another name; that of the database.

    The database has its old name as well, until the copy takes it: killed in between, there would be none, and the next
    process would begin an empty queue. Litestream would take up the new file where it had left the old one, and copy a
    mixture.
    """
    kept = target.with_name(f"{target.name}.{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    there = [suffix for suffix in SIDECARS if os.path.lexists(f"{target}{suffix}")]
    for suffix in there:  # the database first: without it, SQLite takes a log for a leftover and deletes it
        if suffix or not _linked(target, kept):
            os.rename(f"{target}{suffix}", f"{kept}{suffix}")
    state = target.with_name(STATE.format(target.name))
    if state.is_dir():
        os.rename(state, target.with_name(STATE.format(kept.name)))
    return kept if "" in there else None


def _linked(target: Path, kept: Path) -> bool:
    """Give the file one more name; False on a file system that has no hard links."""
    try:
        os.link(target, kept)
    except OSError:
        return False
    return True
