"""Lines of the log: those that a task has begun by printing and not ended, and reports of trouble that may last."""

from __future__ import annotations

import io
import logging
import threading
import time

__all__ = ["Repeated", "begun_lines", "end_lines"]

AGAIN_S = 30.0  # between two reports of one trouble


class _Begun(threading.local):
    """The streams on which this thread has begun a line of the log."""

    def __init__(self) -> None:
        self.streams: set[io.TextIOBase] = set()

    def add(self, stream: io.TextIOBase) -> None:
        self.streams.add(stream)

    def discard(self, stream: io.TextIOBase) -> None:
        self.streams.discard(stream)


begun_lines = _Begun()


def end_lines() -> None:
    """Log what was printed here without the end of its line: the next task's lines are its own."""
    for stream in list(begun_lines.streams):
        stream.flush()


class Repeated:
    """Reports to `logger` of trouble that may last: told once, and again after a while, but not at every attempt."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._again_at: dict[str, float] = {}  # by trouble

    def report(self, level: int, text: str) -> None:
        """Log `text`, unless that was done a moment ago."""
        now, kind = time.monotonic(), text[:80]  # the figures, which differ each time, are further behind
        if now >= self._again_at.get(kind, 0.0):
            self._again_at[kind] = now + AGAIN_S
            self._logger.log(level, "%s", text)
