"""Loggers and formatters by Celery's names: `logger = get_task_logger(__name__)`.

Every logger made here is a descendant of `liteq`, so one level and one handler there rule them all; a task's is one
of `liteq.task`, whose lines carry the task's name and id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from liteq.utils.text import excerpt, printable

__all__ = [
    "ColorFormatter",
    "TaskFields",
    "TaskFormatter",
    "add_fields",
    "add_task_fields",
    "base_logger",
    "drop_fields",
    "get_logger",
    "get_task_logger",
    "mlevel",
    "set_task_details",
    "set_task_lookup",
    "task_fields",
    "task_logger",
    "without_secrets",
    "worker_logger",
]

_RESERVED = frozenset({"liteq", "liteq.task"})
UNKNOWN = "???"
REST = "characters are left out of the log; `liteq result ID --traceback` shows what is kept"

TaskLookup = Callable[[], tuple[str, str] | None]
Hide = Callable[[str], str]


def _no_task() -> None:
    return None


_lookup: TaskLookup = _no_task
_details: Callable[[], Mapping[str, Any]] = dict
_hider: Callable[[], Hide | None] = _no_task
_more: tuple[Callable[[], Mapping[str, Any]], ...] = ()


def add_fields(lookup: Callable[[], Mapping[str, Any]]) -> None:
    """Add what `lookup` returns to the fields of each line: the ids of a trace, say. Adding it twice does nothing."""
    global _more
    _more = (*(one for one in _more if one is not lookup), lookup)


def drop_fields(lookup: Callable[[], Mapping[str, Any]]) -> None:
    """Undo `add_fields`."""
    global _more
    _more = tuple(one for one in _more if one is not lookup)


def set_task_lookup(lookup: TaskLookup) -> None:
    """Have TaskFormatter ask `lookup` for the (name, id) of the task that runs here and now; None when none does."""
    global _lookup  # the running task is known on a floor above this one
    _lookup = lookup


def set_task_details(details: Callable[[], Mapping[str, Any]], hider: Callable[[], Hide | None]) -> None:
    """Have `task_fields` ask `details` for the fields of the task that runs here and now.

    `hider`: returns the function that takes its sensitive arguments out of a text; None where it has none.
    """
    global _details, _hider
    _details, _hider = details, hider


def task_fields() -> dict[str, Any]:
    """The fields of a line that is logged here and now: of the running task, and the ids of the current trace.

    task, task_id, queue, root_id, attempt (from 1), worker, wait_s (from when it was due to its start); of a run also
    workflow and run_id; trace_id and span_id where the app is instrumented. {} where there is neither.
    """
    found = dict(_details())
    for more in _more:
        found |= more()
    return found


def add_task_fields(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add `task_fields` to an event: a processor of structlog's."""
    for name, value in task_fields().items():
        event_dict.setdefault(name, value)
    return event_dict


class TaskFields(logging.Filter):
    """Adds `task_fields` to records: a filter for a handler whose formatter shows them. It lets each record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in task_fields().items():
            record.__dict__.setdefault(name, value)
        return True


def without_secrets(text: str) -> str:
    """`text` without the sensitive arguments of the task that runs here and now."""
    hide = _hider()
    return text if hide is None else hide(text)


OF_THE_PROGRAM = ("liteq.task", "liteq.redirected")


def message_of(record: logging.LogRecord) -> str:
    """The text of a record. liteq's own holds names and ids that others sent: printable, and so one line.

    Lines that tasks log and print are their program's own business.
    """
    text = record.getMessage()
    ours = record.name == "liteq" or record.name.startswith("liteq.")
    return printable(without_secrets(text)) if ours and not record.name.startswith(OF_THE_PROGRAM) else text


def exception_text(exc_info: Any, longest: int) -> str:
    """The traceback of a record's `exc_info`, in `longest` characters at most, without sensitive arguments."""
    return excerpt(without_secrets(logging.Formatter().formatException(exc_info)), longest, REST)


def get_logger(name: str) -> logging.Logger:
    """The logger `name`, below `liteq` unless it has a parent of its own."""
    logger = logging.getLogger(name)
    if logger is not base_logger and logger.parent is logging.root:
        logger.parent = base_logger
    return logger


def get_task_logger(name: str) -> logging.Logger:
    """The logger of a module of tasks, below `liteq.task`. Raises RuntimeError for a name that liteq uses itself."""
    if name in _RESERVED:
        raise RuntimeError(f"the logger name {name!r} is reserved")
    logger = logging.getLogger(name)
    if not _descends(logger, task_logger):
        logger.parent = task_logger
    return logger


def _descends(logger: logging.Logger, ancestor: logging.Logger) -> bool:
    current: logging.Logger | None = logger
    while current is not None:
        if current is ancestor:
            return True
        current = current.parent
    return False


def mlevel(level: int | str | None) -> int | None:
    """`level` as a number: "info", "INFO" and 20 are one. Raises ValueError for a name that is not a level."""
    if not isinstance(level, str):
        return level
    if level.isdigit():
        return int(level)
    try:
        return logging.getLevelNamesMapping()[level.upper()]
    except KeyError:
        raise ValueError(f"{level!r} is not a log level: debug, info, warning, error, critical") from None


class ColorFormatter(logging.Formatter):
    """Colours a line by its level, when `use_color`."""

    COLORS = {"DEBUG": "\x1b[34m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[35m"}  # noqa: RUF012
    RESET = "\x1b[0m"

    def __init__(self, fmt: str | None = None, datefmt: str | None = None, *, use_color: bool = False) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        color = self.COLORS.get(record.levelname) if self.use_color else None
        return f"{color}{line}{self.RESET}" if color else line


class TaskFormatter(ColorFormatter):
    """Fills in `%(task_name)s` and `%(task_id)s`, `???` outside a task."""

    def format(self, record: logging.LogRecord) -> str:
        known: dict[str, Any] = record.__dict__
        if (running := _lookup()) is not None:
            known["task_name"], known["task_id"] = running
        known["task_name"] = printable(str(known.get("task_name", UNKNOWN)))
        known["task_id"] = printable(str(known.get("task_id", UNKNOWN)))
        return super().format(record)


base_logger = logging.getLogger("liteq")
task_logger = logging.getLogger("liteq.task")
worker_logger = logging.getLogger("liteq.worker")
