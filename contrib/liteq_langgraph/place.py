"""The file that a saver, store or cache writes to: an app's queue, or one of its own; and the lease of a run in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from liteq.storage.storage import Storage, open_storage
from liteq.workflow.history.frames import here

if TYPE_CHECKING:
    from liteq.context import App
    from liteq.message import Hold

__all__ = ["Home", "hold_in"]

FOLD = 32  # writes, after which the file's log is folded: a program without a worker has nobody else who does it


class Home:
    """The storage of an app, asked for each time: a test puts another one there. Or that of a URL, opened once."""

    def __init__(self, where: App | str) -> None:
        self._written = 0
        if isinstance(where, str):
            self._opened: Storage | None = open_storage(where)
            self._opened.migrate()
        elif not hasattr(where, "storage"):
            raise TypeError(f"an app or a URL is wanted, not {where!r}: LiteQSaver(app), LiteQSaver('sqlite:///a.db')")
        else:
            self._opened, self._app = None, where

    @property
    def storage(self) -> Storage:
        """The storage, which is up to date."""
        return self._opened if self._opened is not None else self._app.storage

    def wrote(self) -> None:
        """Count a write. Two threads that count at once may fold the log once more or less."""
        self._written += 1
        if self._written >= FOLD:
            self._written = 0
            self.storage.driver.fold_log()

    def close(self) -> None:
        """Close what was opened here; an app's queue stays open."""
        if self._opened is not None:
            self._opened.driver.fold_log()
            self._opened.close()


def hold_in(storage: Storage) -> Hold | None:
    """The lease of the run whose code this is, where the run is in `storage`; None outside of runs."""
    machine = getattr(here(), "machine", None)
    if machine is None:
        return None
    other = machine.app.storage
    if other is storage or other.driver.where() == storage.driver.where():
        return cast("Hold", machine.hold)
    return None
