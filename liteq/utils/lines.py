"""Lines of the log that a task has begun by printing, and not ended."""

from __future__ import annotations

import io
import threading

__all__ = ["begun_lines", "end_lines"]


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
