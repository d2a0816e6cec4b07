"""Beat over many files: that of each file sleeps until something is due in it, or somebody has written to it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf

from liteq.app.files.patterns import Patterns, stamp_of
from liteq.beat.beat import JUMP_S, Beat, run_turns
from liteq.context import App
from liteq.exceptions import StorageError

__all__ = ["FilesBeat"]

logger = logging.getLogger("liteq.beat")

SCAN_S = 5.0  # between two looks which files there are, and which of them were written to
SLICE_S = 0.02  # of one turn: a worker's loop has more to do
PATIENCE_S = 0.25  # that it waits for the write lock of one file: others are due meanwhile
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # until a file that was set aside is tried again
CLOSED_S = 2.0  # a file in which nothing is due for so long is closed


class _Entry:
    """The beat of one file."""

    __slots__ = ("beat", "due_at", "pause_s", "reason", "stamp")

    def __init__(self, beat: Beat) -> None:
        self.beat = beat
        self.due_at = 0.0
        self.stamp: tuple[int, ...] = ()
        self.reason = ""
        self.pause_s = FIRST_PAUSE_S


class FilesBeat:
    """Sends what is due of each file of `db`, paths and globs. As `Beat`, alone or as a chore of a worker's loop.

    New files are found; one that cannot be used is set aside, and the others go on.
    """

    def __init__(self, app: App, db: Sequence[str], *, max_interval_s: float | None = None) -> None:
        self.app = app
        self.due_at = 0.0
        self._patterns = Patterns(db)
        self._max_interval_s = max_interval_s
        self._files: dict[str, _Entry] = {}
        self._scan_at = 0.0
        self._wall_offset_s: float | None = None

    def check(self) -> None:
        """Raise ImproperlyConfigured for an entry of the configuration that makes no sense."""
        self.app.schedules.configured()

    def run(
        self, stop: threading.Event | None = None, on_turn: Callable[[], None] = lambda: None, longest_s: float = inf
    ) -> None:
        """Send what comes due until `stop` is set, for ever where there is none; for `on_turn` see `run_turns`."""
        run_turns(self, stop, on_turn, longest_s)

    def turn(self) -> None:
        """Send what is due, for a short while, and set `due_at` to when there is more to do."""
        now = time.monotonic()
        if now >= self._scan_at:
            self._scan(now)
        end = now + SLICE_S
        for path in sorted((path for path, one in self._files.items() if one.due_at <= now), key=self._due_at):
            self._tick(path, self._files[path])
            if time.monotonic() >= end:
                break
        self.due_at = min([self._scan_at, *(one.due_at for one in self._files.values())])

    def _due_at(self, path: str) -> float:
        return self._files[path].due_at

    def _scan(self, now: float) -> None:
        """Look which files there are; those that somebody has written to, or all once the clock was set, are due."""
        self._scan_at = now + SCAN_S
        offset_s = self.app.clock.now_ms() / 1000 - self.app.clock.monotonic()
        before_s, self._wall_offset_s = self._wall_offset_s, offset_s
        jumped = before_s is not None and abs(offset_s - before_s) > JUMP_S
        found = self._patterns.find()
        for path in self._files.keys() - set(found):
            if not os.path.exists(path):
                del self._files[path]
        for path in found:
            entry = self._files.get(path)
            if entry is None:
                view, _url = self.app.view_at(path)
                made = Beat(view, max_interval_s=self._max_interval_s, patience_s=PATIENCE_S, is_watched=True)
                self._files[path] = _Entry(made)
            elif jumped or (not entry.reason and stamp_of(path) != entry.stamp):
                entry.due_at = now

    def _tick(self, path: str, entry: _Entry) -> None:
        beat = entry.beat
        try:
            with self.app.at_home(beat.app):
                if entry.reason or not beat.has_started:
                    beat.go_on()
                stamp = stamp_of(path)  # before the look: what is written after it changes the marks
                pause_s = beat.tick()
        except Exception as exc:  # noqa: BLE001 - the other files go on
            self._set_aside(path, entry, exc)
            return
        entry.reason, entry.pause_s = "", FIRST_PAUSE_S
        if pause_s > CLOSED_S:
            with suppress(StorageError):
                beat.storage.close()
        entry.stamp = stamp
        entry.due_at = time.monotonic() + pause_s

    def _set_aside(self, path: str, entry: _Entry, exc: Exception) -> None:
        reason = str(exc) if isinstance(exc, StorageError) else f"{type(exc).__name__}: {exc}"
        if reason != entry.reason:
            logger.error("beat: %s is set aside, and tried again now and then: %s", path, reason)
        entry.reason = reason
        entry.due_at = time.monotonic() + entry.pause_s
        entry.pause_s = min(entry.pause_s * 2, LONGEST_PAUSE_S)
