"""Lines of the log without values of the user's, for an app whose values are sealed (the setting `payload_codec`).

What a task returned, and what its exception says, would stand in the log as it may not stand in the file. So the lines
tell that it ended, how, and where: the class of an exception and its frames. `liteq result` and the dashboard tell the
rest, to those who have the key. What tasks log themselves is theirs.
"""

from __future__ import annotations

import logging
from typing import Any

from liteq.exceptions import (
    ImproperlyConfigured,
    LeaseLost,
    NotRegistered,
    SecurityError,
    StorageError,
    TimeLimitExceeded,
    WorkerLostError,
    text_of,
)

__all__ = ["Quoted", "hush", "quoted"]

LOGGERS = (
    logging.getLogger("liteq.beat"), logging.getLogger("liteq.execution"), logging.getLogger("liteq.observers"),
    logging.getLogger("liteq.worker"), logging.getLogger("liteq.workflow"),
)  # fmt: skip
HIDDEN = "(sealed)"
# The words of these are liteq's own, and say what to do.
OWN = (
    ImproperlyConfigured, LeaseLost, NotRegistered, SecurityError, StorageError, TimeLimitExceeded, WorkerLostError,
)  # fmt: skip


class Quoted(str):
    """A text in a line of the log that quotes a value of the user's."""

    __slots__ = ()


def quoted(value: Any) -> Quoted:
    """`value` as text, for a line of the log."""
    return Quoted(text_of(value))


class Hush(logging.Filter):
    """Takes the values of the user's out of each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_hushed, record.args))
        info = record.exc_info
        if isinstance(info, tuple) and info[1] is not None and not isinstance(info[1], OWN):
            import traceback

            # Formatters take a text that is there already: the frames, without the words of the exception below them.
            record.exc_text = f"{''.join(traceback.format_tb(info[2]))}{_hushed(info[1])}"
            record.exc_info = None
        return True


def _hushed(value: object) -> object:
    if isinstance(value, Quoted):
        return HIDDEN
    if isinstance(value, BaseException) and not isinstance(value, OWN):
        return f"{type(value).__qualname__} {HIDDEN}"
    return value


_HUSH = Hush()


def hush(on: bool) -> None:
    """Have the lines of this process be without values of the user's from now on, or with them again."""
    for logger in LOGGERS:
        (logger.addFilter if on else logger.removeFilter)(_HUSH)
