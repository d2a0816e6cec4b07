"""The wake-up: a file beside the database whose time stamp is touched after a commit.

The kernel tells every process that watches it. Not the -wal itself: with synchronous=FULL its pages are written well
before the commit can be seen. Touched by its name and not by a descriptor, 1 microsecond more, so that a deleted bell
heals.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from liteq.exceptions import StorageUnavailable
from liteq.storage.driver import Listener
from liteq.storage.sqlite.disk.ownership import open_sidecar
from liteq.storage.sqlite.waking.polling import PollingListener

__all__ = ["Doorbell"]


class Doorbell:
    """One bell of one database; `version` is what a listener polls where the system has no notification."""

    __slots__ = ("_path", "_version")

    def __init__(self, path: str, version: Callable[[], int]) -> None:
        self._path = path
        self._version = version

    def ring(self) -> None:
        """Wake the listeners. Never raises: a lost ring costs latency only."""
        try:
            os.utime(self._path, follow_symlinks=False)
        except FileNotFoundError:
            self._renew()
        except OSError:
            pass

    def listen(self) -> Listener:
        """A listener by the best means of this system; polling where that cannot be had (no inotify instance left)."""
        try:
            return _notified(self._path)
        except (OSError, ImportError, AttributeError, StorageUnavailable):
            return PollingListener(self._version)

    def _renew(self) -> None:
        try:
            os.close(open_sidecar(self._path))
            os.utime(self._path, follow_symlinks=False)
        except (OSError, StorageUnavailable):
            pass


# ctypes is only for processes that listen, so these modules are imported late.
if sys.platform == "linux":

    def _notified(path: str) -> Listener:
        from liteq.storage.sqlite.waking.inotify import InotifyListener

        return InotifyListener(path)

elif sys.platform == "darwin":

    def _notified(path: str) -> Listener:
        from liteq.storage.sqlite.waking.kqueue import KqueueListener

        return KqueueListener(path)

else:

    def _notified(path: str) -> Listener:
        raise ImportError(f"this system has no notification for {path}")
