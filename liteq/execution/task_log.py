"""The kept log of an execution: what is logged and printed while it runs, written to the file in small parts.

It keeps what the worker's own log lets through. Of very much of it the beginning is kept, and the end.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from liteq.clock import Clock
from liteq.context import worker_request
from liteq.exceptions import LiteqError
from liteq.execution.paced import Loop, Paced
from liteq.serialization import encode
from liteq.utils.log import base_logger, exception_text, message_of, task_logger
from liteq.utils.records import NamedTuple

__all__ = ["Bounds", "TaskLog", "catch_lines"]

logger = logging.getLogger("liteq.execution")

LINES_S = 0.2  # lines travel together
LAST = 50  # lines of the end that are kept beyond the bound
LONGEST = 8 * 1024  # characters of one line, and of its traceback

Write = Callable[[Sequence[bytes]], bool]
"""Writes lines; False where no lease is left to write them under."""


class Bounds(NamedTuple):
    """How much of one execution's log is kept: lines, and bytes of them."""

    lines: int
    size: int


class TaskLog:
    """The log of one execution."""

    def __init__(
        self, write: Write, clock: Clock, bounds: Bounds, worker: str | None, loop: Loop | None = None
    ) -> None:
        self._write = write
        self._worker = worker
        self._room = bounds
        self._held: list[bytes] = []
        self._last: deque[bytes] = deque(maxlen=LAST)
        self._left_out = 0
        self._writing = threading.local()  # what is logged by the writing itself is no line of the task
        self._over = False
        self._paced = Paced(self._send, LINES_S, clock, loop)

    def add(self, record: logging.LogRecord) -> None:
        """Take a line."""
        if getattr(self._writing, "on", False):
            return
        line = self._encoded(line_of(record, self._worker))
        with self._paced.lock:
            if self._room.lines > 0 and self._room.size >= len(line):
                self._room = Bounds(self._room.lines - 1, self._room.size - len(line))
                self._held.append(line)
                self._paced.ready()
            else:
                self._room = Bounds(0, 0)
                self._left_out += len(self._last) == LAST
                self._last.append(line)

    def close(self) -> None:
        """Write what is held back, and the end of a log that was too long."""
        with self._paced.lock:
            if self._left_out:
                text = f"... {self._left_out:,} lines are left out here (task_log_lines, task_log_bytes)"
                self._held.append(self._encoded({"level": "INFO", "logger": "liteq", "message": text}))
            self._held += self._last
            self._last.clear()
            self._left_out = 0
        self._paced.flush()

    def _encoded(self, line: dict[str, Any]) -> bytes:
        return encode(line, what="a line of a log")

    def _send(self) -> None:
        with self._paced.lock:
            held, self._held = self._held, []
        if not held or self._over:
            return
        self._writing.on = True
        try:
            self._over = not self._write(held)
        except LiteqError as exc:  # the work counts, not what is kept of its log
            logger.warning("lines of a task's log were not kept: %s", exc)
        finally:
            self._writing.on = False


def line_of(record: logging.LogRecord, worker: str | None) -> dict[str, Any]:
    """A record as it is kept: its time in ms since the epoch, and its texts."""
    line: dict[str, Any] = {
        "time": int(record.created * 1000),
        "level": record.levelname,
        "logger": record.name,
        "message": _cut(message_of(record)),
    }
    if worker is not None:
        line["worker"] = worker
    if record.exc_info and record.exc_info[1] is not None:
        line["exception"] = exception_text(record.exc_info, LONGEST)
    elif record.exc_text:  # a filter has made it
        line["exception"] = _cut(record.exc_text)
    return line


def _cut(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair has no form in the file
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"


# -- from the loggers to the log of what runs --------------------------------------------------------------------------


class _Lines(logging.Handler):
    """Gives each record to the log of the task that runs where it is made."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of a handler: what is written under a log's own lock may be logged about."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        request = worker_request()
        telling = None if request is None else request._telling
        log: TaskLog | None = None if telling is None else telling.log
        if log is not None:
            try:
                log.add(record)
            except Exception:  # noqa: BLE001 - as of any handler
                self.handleError(record)


_handler: logging.Handler | None = None


def catch_lines() -> None:
    """Have this process give lines to the logs of its tasks, from the first task on whose log is kept."""
    global _handler
    if _handler is not None and _handler in logging.root.handlers:
        return
    _handler = _handler or _Lines()
    ends = [one for one in logging.root.manager.loggerDict.values() if _ends(one)]
    for one in {logging.root, *(end for end in (base_logger, task_logger) if not end.propagate), *ends}:
        one.addHandler(_handler)  # type: ignore[union-attr]


def _ends(one: object) -> bool:
    """Whether records go no further than to this logger, which somebody listens to."""
    return isinstance(one, logging.Logger) and not one.propagate and bool(one.handlers)
