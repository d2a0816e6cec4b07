"""A worker's log, set up as Celery sets it up: its formats, its signals, and what tasks print."""

from __future__ import annotations

import codecs
import io
import logging
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, TextIO

from liteq import signals
from liteq.clock import from_ms
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.execution.lines import LINES
from liteq.utils.json_text import to_json
from liteq.utils.lines import begun_lines
from liteq.utils.log import (
    OF_THE_PROGRAM,
    REST,
    UNKNOWN,
    ColorFormatter,
    TaskFormatter,
    base_logger,
    exception_text,
    message_of,
    mlevel,
    task_fields,
    task_logger,
)
from liteq.utils.text import excerpt, printable

__all__ = [
    "FORMS", "JsonFormatter", "LogStream", "PlainFormatter", "expand_name", "fields_of", "json_from_the_start",
    "message_of", "set_up", "to_file",
]  # fmt: skip

OF_TASKS = logging.getLogger("liteq.execution")
SPOKEN = (OF_TASKS, logging.getLogger("liteq.worker.life"), logging.getLogger("liteq.beat"))
"""At INFO where no level was said."""

FORMS = ("plain", "json", "pretty")
"""How a line of the log is written: by the settings, as an object, or for a person who develops."""

_early: list[logging.Handler] = []

# A name lookup at import: what the process was started with, whatever a test or a task puts in its place.
_stderr = sys.stderr


FACTS = (
    "event", "queue", "root_id", "attempt", "wait_s", "run_s", "outcome", "error_type", "trace_id",
    "runtime", "retries", "crashes", "reaps", "count", "file", "queues", "concurrency", "pool",
)  # fmt: skip
"""The fields of lines beside their text: names, numbers, lists; `runtime`, `run_s` and `wait_s` are in seconds."""
OF_A_RECORD = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", "task_name", "task_id"})
"""The fields of each record of logging; the rest was given as `extra=`."""
LONGEST_LINE = 64 * 1024  # characters: more that is printed without a line's end is logged in pieces
LONGEST_TRACEBACK = 16 * 1024  # characters of an exception in the log


class JsonFormatter(TaskFormatter):
    """One JSON object a line: time, level, logger, process, message, and the worker's name where it has one.

    A line about a task has its name and id too, and what is a figure in it (`FACTS`) as a number. One that is logged
    inside a task has the fields of that (`liteq.utils.log.task_fields`).
    """

    worker: str | None = None

    def format(self, record: logging.LogRecord) -> str:
        super().format(record)  # fills in the task
        line: dict[str, Any] = {
            "time": from_ms(int(record.created * 1000)).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": message_of(record),
        }
        if self.worker is not None:
            line["worker"] = self.worker
        line |= {name: value for name, value in fields_of(record).items() if name not in line}
        if record.exc_info:
            line["exception"] = exception_text(record.exc_info, LONGEST_TRACEBACK)
        elif record.exc_text:  # frames without words (execution/hushed.py)
            line["exception"] = excerpt(record.exc_text, LONGEST_TRACEBACK, REST)
        return to_json(line).decode()


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record beside its text: the task that it is about, or is logged in, and its own fields.

    Of liteq's own records the `FACTS`; of the program's all that it has given as `extra=`.
    """
    known = record.__dict__
    found: dict[str, Any] = {}
    if known.get("task_id", UNKNOWN) != UNKNOWN:
        found = {"task": known["task_name"], "task_id": known["task_id"]}
    found |= {name: value for name, value in task_fields().items() if name not in found}
    if record.name == "liteq" or (record.name.startswith("liteq.") and not record.name.startswith(OF_THE_PROGRAM)):
        return found | {name: known[name] for name in FACTS if name in known}
    return found | {name: value for name, value in known.items() if name not in OF_A_RECORD and name not in found}


class _Clean(logging.Formatter):
    """Records and tracebacks hold names, ids and the messages of exceptions, and so whatever somebody sent."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = message_of(record)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        lines = [printable(line) for line in exception_text(ei, LONGEST_TRACEBACK).split("\n")]
        # No line of Python's own begins like the head of a record: one that does would forge a record.
        return "\n".join(f"  {line}" if line.startswith(("[", "{")) else line for line in lines)


class PlainFormatter(_Clean, ColorFormatter):
    pass


class _TaskFormatter(_Clean, TaskFormatter):
    pass


class LogStream(io.TextIOBase):
    """Stands for stdout or stderr in a worker: what is printed there becomes lines of the log, as in Celery.

    A line is logged when it ends, with its task, or when it is LONGEST_LINE characters long. Tasks share the stream:
    closing it closes nothing.
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    mode = "w"
    line_buffering = True
    write_through = False

    def __init__(self, logger: logging.Logger, level: int, behind: TextIO) -> None:
        self._logger = logger
        self._level = level
        self._behind = behind
        self._mine = _Line()
        self.buffer = LogBytes(self)
        self.name = getattr(behind, "name", "<stdout>")

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # how click, for one, finds out whether a stream takes bytes
            raise TypeError(f"write() takes str, not {type(text).__name__}")
        mine = self._mine
        if mine.busy:
            return self._behind.write(text)
        if "\n" not in text:
            if text:
                if not mine.parts:
                    begun_lines.add(self)
                mine.parts.append(text)  # joined once the line ends: joined at each write, it cost the square
                mine.length += len(text)
                if mine.length >= LONGEST_LINE:
                    self.flush()
            return len(text)
        first, *lines = text.split("\n")
        self._end([first])
        rest = lines.pop()
        self._log(lines)
        self.write(rest)
        return len(text)

    def flush(self) -> None:
        self._end([])

    def close(self) -> None:
        self.flush()

    def _end(self, more: list[str]) -> None:
        mine = self._mine
        line = "".join([*mine.parts, *more])
        mine.parts, mine.length = [], 0
        begun_lines.discard(self)
        self._log([line])

    def _log(self, lines: list[str]) -> None:
        self._mine.busy = True
        try:
            for line in lines:
                if line.strip():
                    self._logger.log(self._level, "%s", line.rstrip())
        finally:
            self._mine.busy = False

    def reconfigure(self, **_: Any) -> None:
        """Accept what io.TextIOWrapper does: lines stay lines, in UTF-8."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._behind.fileno()


class LogBytes(io.RawIOBase):
    """The `buffer` of a LogStream: what is written there is text in UTF-8."""

    mode = "wb"

    def __init__(self, stream: LogStream) -> None:
        self._stream = stream
        self.name = getattr(stream._behind, "name", "<stdout>")
        self.raw = self
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def write(self, data: Any) -> int:
        self._stream.write(self._decoder.decode(bytes(data)))
        return len(data)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()


class _Line(threading.local):
    """The line that a thread has begun; `busy` while one is being logged: no way back in from a failing handler."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.busy = False


def expand_name(path: str, nodename: str) -> str:
    """A log's or pidfile's name: %n the worker's name, %h its host, %d the domain, %p both; %i, %I as in a parent."""
    name, _, host = nodename.partition("@")
    domain = host.partition(".")[2]
    for mark, value in (("%n", name), ("%h", host), ("%d", domain), ("%p", nodename), ("%i", "0"), ("%I", "")):
        path = path.replace(mark, value)
    return path.replace("%%", "%")


def set_up(
    app: App,
    level: str | None,
    logfile: str | None,
    *,
    color: bool,
    form: str = "plain",
    worker: str | None = None,
    redirected: int | None = None,
) -> None:
    """Send the log to `logfile`, else to stderr. A receiver of `setup_logging` takes all of it into its own hands.

    `level`: None where nobody has said one. Then it is WARNING, and INFO for the few lines that a worker or a beat says
    of its own work (`SPOKEN`). `form`: one of FORMS. `worker`: the name that each line of JSON tells. `redirected`: the
    level at which what is printed is logged; 0: it is not; None: the settings say.
    """
    conf = app.conf
    number = mlevel(level) or logging.WARNING
    _drop_early()
    stream = _stderr if logfile is None else None
    use_color = (
        color and stream is not None and (stream.isatty() if conf.worker_log_color is None else conf.worker_log_color)
    )
    common = {"loglevel": number, "logfile": logfile, "colorize": use_color}
    _enable()
    if signals.setup_logging.receivers:
        signals.setup_logging.send(sender=None, format=conf.worker_log_format, **common)
        _enable()
    else:
        _speak(level is None, conf.worker_log_tasks)
        root = logging.getLogger()
        if conf.worker_hijack_root_logger:
            root.handlers.clear()
        root.setLevel(number)
        plain, tasks = _formatters(conf, form, worker, use_color=use_color)
        if form == "json":
            LINES.starts = level is not None and number <= logging.INFO
        _handle(root, logfile, plain)
        signals.after_setup_logger.send(sender=None, logger=root, format=conf.worker_log_format, **common)
        _handle_tasks(conf.worker_task_log_format, tasks, common)
    if redirected is None and conf.worker_redirect_stdouts:
        redirected = mlevel(conf.worker_redirect_stdouts_level) or logging.WARNING
    if redirected:
        redirect(redirected)


def _formatters(
    conf: Any, form: str, worker: str | None, *, use_color: bool
) -> tuple[logging.Formatter, logging.Formatter]:
    """The formatter of the root logger, and that of what tasks log."""
    if form == "json":
        made = JsonFormatter()
        made.worker = worker
        return made, made
    if form == "pretty":
        from liteq.cli.log_pretty import PrettyFormatter

        pretty = PrettyFormatter(use_color=use_color)
        return pretty, pretty
    return (
        PlainFormatter(conf.worker_log_format, conf.worker_log_datefmt, use_color=use_color),
        _TaskFormatter(conf.worker_task_log_format, conf.worker_task_log_datefmt, use_color=use_color),
    )


def set_up_tasks(app: App, level: str, logfile: str | None, *, color: bool, propagate: bool) -> None:
    """Send what tasks log to `logfile`, else to stderr; with `propagate` to the loggers above, too."""
    conf = app.conf
    formatter = _TaskFormatter(conf.worker_task_log_format, conf.worker_task_log_datefmt, use_color=color)
    common = {"loglevel": mlevel(level), "logfile": logfile, "colorize": color}
    _handle_tasks(conf.worker_task_log_format, formatter, common, propagate=propagate)


def _handle_tasks(form: str, formatter: logging.Formatter, common: dict[str, Any], *, propagate: bool = False) -> None:
    task_logger.setLevel(common["loglevel"])
    if not _stands_under_its_own(task_logger):
        _handle(task_logger, common["logfile"], formatter)
        task_logger.propagate = propagate
    signals.after_setup_task_logger.send(sender=None, logger=task_logger, format=form, **common)


def _speak(unasked: bool, tasks_a_second: int) -> None:
    LINES.limit = tasks_a_second if unasked else None
    for logger in SPOKEN:
        wanted = unasked and (tasks_a_second > 0 or logger is not OF_TASKS)
        logger.setLevel(logging.INFO if wanted else logging.NOTSET)


def json_from_the_start() -> None:
    """Have all that is logged be JSON, before there is an app whose settings could be asked: what its import says.

    Warnings of Python's, and the traceback of what ends the process, are lines of that log too.
    """
    handler = logging.StreamHandler(_stderr)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    _early.append(handler)
    logging.captureWarnings(True)
    sys.excepthook = _log_the_end


def _drop_early() -> None:
    while _early:
        logging.getLogger().removeHandler(_early.pop())


def _log_the_end(kind: type[BaseException], exc: BaseException, tb: TracebackType | None) -> None:
    logging.getLogger("liteq.cli").critical("%s: %s", kind.__name__, exc, exc_info=(kind, exc, tb))


def _enable() -> None:
    """A configuration of logging that disables what there is, by dictConfig's default, did not mean a worker's log."""
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and (name == "liteq" or name.startswith("liteq.")):
            logger.disabled = False


def _stands_under_its_own(logger: logging.Logger) -> bool:
    """Whether the project has given handlers to what it knows `logger` as: "celery.task", under `liteq_celery`."""
    parent = logger.parent
    return parent is not None and parent not in (base_logger, logging.root) and bool(parent.handlers)


def _handle(logger: logging.Logger, logfile: str | None, formatter: logging.Formatter) -> None:
    """Give `logger` a handler; not where the program has given it one, which would show each line twice."""
    if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        return
    handler = logging.StreamHandler(_stderr) if logfile is None else to_file(logfile)
    handler.setFormatter(formatter)
    logger.addHandler(handler)


def to_file(logfile: str) -> logging.Handler:
    """A handler that notices that logrotate has moved the file away. Raises ImproperlyConfigured."""
    from logging.handlers import WatchedFileHandler  # with sockets, pickles and queues

    try:  # a name of a file that is no UTF-8 is an escape, as on stderr
        return WatchedFileHandler(logfile, encoding="utf-8", errors="backslashreplace")
    except OSError as exc:
        raise ImproperlyConfigured(f"the log {logfile} cannot be written: {exc.strerror}") from None


def redirect(level: int, name: str = "liteq.redirected", streams: Iterable[str] = ("stdout", "stderr")) -> None:
    """Log what is printed from now on to `streams`, by the logger `name`, at `level`."""
    logger = logging.getLogger(name)
    for stream in streams:
        setattr(sys, stream, LogStream(logger, level, getattr(sys, stream)))
