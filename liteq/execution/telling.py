"""Reports of a task on its progress, and chunks of its streams, while it runs. Few writes, the last one always.

The first is written at once. Those that follow too closely are held back until their time has come, and written by a
thread then, as the task may be busy with something else; or at the task's end.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from liteq.clock import Clock
from liteq.context import App, Request
from liteq.exceptions import LeaseLost, LiteqError, StorageError
from liteq.execution.cursors import Cursor, CursorHere
from liteq.execution.paced import Loop, Paced
from liteq.execution.task_log import Bounds, TaskLog, catch_lines
from liteq.policy.kept import log_keep_ms
from liteq.serialization import encode
from liteq.serialization.models import data_of
from liteq.storage.kept.streams import Chunk
from liteq.utils.names import LOG_STREAM, checked_name

__all__ = ["Emitter", "Telling", "TellingHere", "cursor_of", "emit", "keep_log", "report", "save_cursor"]

logger = logging.getLogger("liteq.execution")

CHUNKS_S = 0.05  # chunks of a stream travel together
REPORTS_S = 0.1  # between two reports of progress: nobody looks more often
LONGEST_NOTE = 500  # characters


Write = Callable[[str, Sequence[bytes], int | None], int]
"""Writes chunks to a stream, under an attempt or (None) the next one; the attempt that they bear."""


class Emitter:
    """Writes the chunks of one execution to streams: the first at once, then those of CHUNKS_S together.

    `failed` is called with the error of a write, in the thread of the next chunk or of the end, and raises it.
    """

    def __init__(
        self, write: Write, clock: Clock, failed: Callable[[BaseException], object], loop: Loop | None = None
    ) -> None:
        self._write = write
        self._failed = failed
        self._held: list[tuple[str, bytes]] = []
        self._attempt: int | None = None
        self._failure: BaseException | None = None
        self._paced = Paced(self._send, CHUNKS_S, clock, loop)

    def add(self, stream: str, data: bytes) -> None:
        """Take a chunk."""
        with self._paced.lock:
            if self._failure is None:
                self._held.append((stream, data))
                self._paced.ready()
        self._check()

    def flush(self) -> None:
        """Write what is held back."""
        self._paced.flush()
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            self._failed(self._failure)

    def _send(self) -> None:
        with self._paced.lock:
            held, self._held = self._held, []
        try:
            while held:
                stream = held[0][0]
                chunks = [data for name, data in held if name == stream]
                held = [one for one in held if one[0] != stream]
                self._attempt = self._write(stream, chunks, self._attempt)
        except (LeaseLost, StorageError) as exc:
            self._failure = exc


class Reports:
    """The progress that one execution reports; the last report takes the place of those that are not written yet.

    `write` writes a document as the execution's state; False where its lease is over. `beside`: more of each document,
    which an execution may know later than its log is kept.
    """

    def __init__(
        self, write: Callable[[bytes], bool], clock: Clock, id_: str, loop: Loop | None = None,
        beside: Callable[[], Mapping[str, Any] | None] = lambda: None,
    ) -> None:  # fmt: skip
        self._id = id_
        self._write = write
        self._clock = clock
        self._beside = beside
        self._held: tuple[float, float | None, str, int] | None = None
        self._first: tuple[float, int] | None = None
        self._lost = False
        self._paced = Paced(self._send, REPORTS_S, clock, loop)

    def report(self, done: float, total: float | None, note: str) -> None:
        """Take a report. Raises LeaseLost once the lease is over."""
        with self._paced.lock:
            at_ms = self._clock.now_ms()
            if self._first is None or done < self._first[0]:
                self._first = (done, at_ms)
            self._held = (done, total, note[:LONGEST_NOTE], at_ms)
            self._paced.ready()
        if self._lost:
            raise LeaseLost(self._id)

    def flush(self) -> None:
        """Write the report that is held back."""
        self._paced.flush()

    def _send(self) -> None:
        with self._paced.lock:
            held, self._held = self._held, None
        if held is None:
            return
        try:
            document = {**document_of(*held, self._first), **(self._beside() or {})}
            self._lost = not self._write(encode(document, what="a report of progress"))
        except LiteqError as exc:  # the work counts, not what is shown of it
            logger.warning("progress was not shown: %s", exc)


def document_of(done: float, total: float | None, note: str, at_ms: int, first: Any) -> dict[str, Any]:
    """A report as the state of a task; `first`: an earlier one, (done, ms), from which its pace is reckoned."""
    meta = {"current": done, "total": total, "note": note}
    return {"state": "PROGRESS", "meta": meta, "at": at_ms, "first": first}


class Telling:
    """The words of one execution about itself, which go into the file under its lease: reports, chunks, cursor, log."""

    log: TaskLog | None = None
    """Its log, where that is kept."""

    _cursor: Cursor | CursorHere | None = None

    def __init__(self, app: App, request: Request) -> None:
        streams = app.storage.streams
        leases = self._leases = [_lease_of(one) for one in request._batch or (request,)]
        self._is_batch = request._batch is not None
        self._app = app
        self._request = request
        write = partial(streams.report, leases)
        self._reports = Reports(write, app.clock, str(request.id), request._loop, lambda: request._beside)
        self._emitter = Emitter(partial(streams.emit, leases[0]), app.clock, _raise, request._loop)

    def progress(self, done: float, total: float | None, note: str) -> None:
        """Report progress. Raises LeaseLost."""
        self._reports.report(done, total, note)

    def emit(self, stream: str, data: bytes) -> None:
        """Add a chunk to a stream. Raises LeaseLost, and StorageError where one before could not be written.

        Raises RuntimeError for a batch of messages: none of them is the one whose stream it would be.
        """
        if self._is_batch:
            raise RuntimeError("a batch of messages has no stream: emit() is for tasks that take one message at a time")
        self._emitter.add(stream, data)

    @property
    def cursor(self) -> Cursor | CursorHere:
        """Its cursor, which is read now. Raises RuntimeError for a batch of messages."""
        if self._cursor is None:
            self._cursor = self._make_cursor()
        return self._cursor

    def _make_cursor(self) -> Cursor | CursorHere:
        if self._is_batch:
            raise RuntimeError("a batch of messages has no cursor: that is for tasks that take one message at a time")
        if self._request._workflow is not None:
            raise RuntimeError("a workflow has no cursor: it goes on behind its last step by itself")
        return Cursor(self._app, self._request)

    @property
    def interrupted(self) -> bool:
        """Whether its body was told to leave at its cursor."""
        return self._cursor is not None and self._cursor.interrupted

    def keep_log(self, keep_ms: int, bounds: Bounds) -> None:
        """Keep its log from now on, for `keep_ms` milliseconds after the end of its task."""
        if self.log is None:
            kept, leases = self._app.storage.kept, self._leases
            attempts: list[int | None] = [None] * len(leases)

            def write(lines: Sequence[bytes]) -> bool:
                attempts[:] = kept.log(leases, lines, attempts, keep_ms=keep_ms)
                return any(attempts)

            self.log = TaskLog(write, self._app.clock, bounds, self._request.hostname, self._request._loop)
            catch_lines()

    def flush(self) -> None:
        """Write the reports and chunks that are held back. Raises as `emit`."""
        self._reports.flush()
        self._emitter.flush()

    def close(self, *, done: bool) -> None:
        """Write all that is held back, at the end of an execution; of one that is `done`, no cursor."""
        try:
            self.flush()
        except LiteqError as exc:
            logger.warning("what a task emitted last was not written: %s", exc)
        if self._cursor is not None:
            self._cursor.close(done=done)
        if self.log is not None:
            self.log.close()


class TellingHere(Telling):
    """Those of a task that runs in its caller's process (`apply`): kept for its result."""

    def __init__(self, app: App, request: Request) -> None:
        self._app = app
        self._clock = app.clock
        self._attempt = request.retries + 1
        self.document: dict[str, Any] | None = None
        self.chunks: dict[str, list[Chunk]] = {}
        self._first: tuple[float, int] | None = None

    def progress(self, done: float, total: float | None, note: str) -> None:
        at_ms = self._clock.now_ms()
        self._first = self._first or (done, at_ms)
        self.document = document_of(done, total, note, at_ms, self._first)

    def emit(self, stream: str, data: bytes) -> None:
        chunks = self.chunks.setdefault(stream, [])
        chunks.append(Chunk(len(chunks) + 1, self._attempt, data))

    def _make_cursor(self) -> Cursor | CursorHere:
        return CursorHere(self._app.conf.max_result_bytes)

    def keep_log(self, keep_ms: int, bounds: Bounds) -> None: ...

    def flush(self) -> None: ...


def _lease_of(request: Request) -> tuple[int, int]:
    assert request.seq is not None, "an execution under a lease"
    assert request.token is not None, "an execution under a lease"
    return request.seq, request.token


def telling(app: App, request: Request | None) -> Telling | None:
    """The telling of the execution under `request`; None where nobody can hear it: called as a plain function."""
    if request is None or request.called_directly:
        return None
    found: Telling | None = request._telling
    if found is None:
        kind = TellingHere if request.is_eager or request.seq is None else Telling
        found = request.__dict__.setdefault("_telling", kind(app.of_task, request))
    return found


def report(app: App, request: Request | None, done: float, total: float | None, note: str) -> None:
    """Report the progress of the execution under `request`; nothing where there is none. Raises LeaseLost."""
    _check_number(done, "done", least=0)
    if total is not None:
        _check_number(total, "total", least=0)
    if not isinstance(note, str):
        raise TypeError(f"note is a text, not {note!r:.80}")
    if (found := telling(app, request)) is not None:
        found.progress(done, total, note)


def emit(app: App, request: Request | None, stream: str, chunk: Any) -> None:
    """Add a chunk to a stream of the execution under `request`; nothing where there is none. See `Telling.emit`."""
    stream = checked_name(stream, "a stream's name")
    if stream == LOG_STREAM:
        raise ValueError(f"the stream {LOG_STREAM!r} is the task's log: give a stream of your own another name")
    limit: int = app.conf.max_result_bytes
    what = f"a chunk of the stream {stream!r}"
    data = encode(data_of(chunk), what=what, limit=limit, setting="max_result_bytes")
    if (found := telling(app, request)) is not None:
        found.emit(stream, data)


def cursor_of(app: App, request: Request | None) -> Any:
    """The value of the cursor of the execution under `request`; None where there is none."""
    found = telling(app, request)
    return None if found is None else found.cursor.value


def save_cursor(app: App, request: Request | None, value: Any) -> None:
    """Save the cursor of the execution under `request`; nothing where there is none. See `Cursor.save`."""
    if (found := telling(app, request)) is not None:
        found.cursor.save(value)


def keep_log(task: Any, request: Request) -> None:
    """Keep the log of the execution of `task` under `request`, if its call says so, or else its task."""
    app: App = task.app
    given = request.options.get("log_keep")  # ms
    keep_ms = log_keep_ms(task.log_keep, f"task {task.name!r}") if given is None else given
    if not keep_ms:
        return
    try:
        found = telling(app, request)
    except StorageError as exc:  # the work counts, not what is kept of its log
        logger.warning("the log of %s[%s] is not kept: %s", task.name, request.id, exc)
        return
    if found is not None:
        found.keep_log(keep_ms, Bounds(app.conf.task_log_lines, app.conf.task_log_bytes))


def _check_number(value: float, name: str, *, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number, not {value!r:.80}")
    if not least <= value < math.inf:
        raise ValueError(f"{name} is a number from {least} on, not {value!r}")


def _raise(exc: BaseException) -> NoReturn:
    raise exc
