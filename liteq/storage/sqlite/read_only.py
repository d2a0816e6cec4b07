"""A file that is only looked at (`?mode=ro`): no statement changes it, and nothing is made beside it.

SQLite is told so as well. The user of this process then needs no right to write to the file or its folder, as long as
the log and its index (-wal, -shm) are there: a process that uses the queue makes them. A file without a log, such
as a copy, is read without making one (copies.py).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from threading import get_ident
from typing import Any, NoReturn

from liteq.exceptions import ReadOnly, StorageUnavailable
from liteq.storage.driver import Bell, Listener
from liteq.storage.sqlite import copies, migrate
from liteq.storage.sqlite.base import SQLiteDriver
from liteq.storage.sqlite.disk import files
from liteq.storage.sqlite.session import Session
from liteq.storage.sqlite.transaction import Checkout
from liteq.storage.sqlite.turns import fork
from liteq.storage.sqlite.versions import create
from liteq.storage.sqlite.waking.polling import PollingListener

__all__ = ["read_only"]


class ReadOnlyDriver(SQLiteDriver):
    """The part of a driver that reads alone; a library's driver stands behind it in `read_only`."""

    read_only = True

    def __init__(self, url: str, path: str, **options: Any) -> None:
        super().__init__(url, path, **options)
        self._alone = False  # no log stood beside the file when it was looked at last

    def _refuse(self) -> NoReturn:
        raise ReadOnly(self.path)

    def write(self, *_: object, **__: object) -> NoReturn:
        """As any driver's. Raises ReadOnly."""
        self._refuse()

    def change(self, *_: object, **__: object) -> NoReturn:
        """As any driver's. Raises ReadOnly."""
        self._refuse()

    def take(self, holder: Checkout, *, reader: bool) -> Session:
        """As any driver's, for readers. Raises ReadOnly."""
        if not reader:
            self._refuse()
        self._notice_log()
        with self._lock:
            nested = get_ident() in self._active[True].values()
        session = super().take(holder, reader=True)
        if session.hold is not None:
            session.hold.take(self.busy_timeout_s, nested=nested)
            stamp = copies.stamp(self.path)
            if stamp != session.stamp:  # what it has read before is not what is there now
                session.disconnect()
                session.stamp = stamp
                session.open()
        return session

    def checkin(self, holder: Checkout, session: Session) -> None:
        if session.hold is not None:
            session.hold.leave()
        super().checkin(holder, session)

    def new_session(self, *, reader: bool) -> Session:  # noqa: ARG002 - all of them read
        session = super().new_session(reader=True)  # type: ignore[safe-super]
        session.read_only = True
        if self._alone:
            session.hold = copies.Hold(self.path)
            session.stamp = copies.stamp(self.path)
        return session

    def _notice_log(self) -> None:
        """A copy may come into use, and a queue to rest, without a log: then all is opened anew, as it is now."""
        self._check_pid()
        alone = copies.stands_alone(self.path)
        if alone != self._alone:
            with self._lock:
                self._alone = alone
                self._close_idle()

    def version(self) -> int:
        """As any driver's; that of a file without a log is made of its time and size."""
        self._notice_log()
        return hash(copies.stamp(self.path)) if self._alone else super().version()

    def age_s(self) -> float | None:
        """As any driver's: None where the queue itself is read."""
        return copies.age_s(self.path) if copies.is_copy(self.path) else None

    def ring(self, bell: Bell) -> None:
        """Do nothing: there is no news of a process that only looks."""

    def listen(self, bell: Bell) -> Listener:  # noqa: ARG002 - a poll hears both
        """A listener that makes no bell: it looks at the file."""
        return PollingListener(self.version)

    def migrate(self) -> int:
        """Look at the schema's version alone. Raises StorageUnavailable where it is older, SchemaTooNew."""
        return migrate.look(self, self.path)

    def _look_at_file(self, session: Session) -> bool:  # noqa: ARG002 - the driver's shape
        fork.check(self.path)
        files.check(self.given_path, self.path, self._allow_network, writable=False)
        had_log = files.size(f"{self.path}-wal") > 0 or copies.is_followed(self.path)  # in use, or its follower's
        self._refuse_second_library()
        self._identity = files.identity(self.path)
        probe = self.new_session(reader=True)
        try:
            if probe.hold is not None:
                probe.hold.take(self.busy_timeout_s)
            probe.open()
            create.check_application(probe)
            self.note_marks(probe, had_log=had_log)
        except StorageUnavailable as exc:
            if files.size(f"{self.path}-shm") >= 0:
                raise
            raise StorageUnavailable(
                f"{self.path} cannot be looked at: {self.path}-wal and {self.path}-shm are not there, and this user "
                "may not make them; they are there as long as a worker or another program uses the queue"
            ) from exc
        finally:
            probe.close()
        return False

    # -- the upkeep, which is for those that write -------------------------------------------------------------------

    def sync(self) -> None: ...

    def reserve(self) -> bool:
        return True

    def relieve(self) -> bool:
        return False

    def restore(self, source: Path) -> Path | None:  # noqa: ARG002 - the driver's shape
        """As any driver's. Raises ReadOnly."""
        self._refuse()


@cache
def read_only(driver: type[SQLiteDriver]) -> type[SQLiteDriver]:
    """`driver`, of which nothing is written."""
    return type(f"ReadOnly{driver.__name__}", (ReadOnlyDriver, driver), {})
