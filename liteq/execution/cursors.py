"""The cursor of a task that can be interrupted: saved while it runs, kept under its lease, read where it goes on.

A warm stop of the worker is met at the next `save_cursor`: the body is unwound by TaskInterrupted, the cursor is
written, and the message goes back to its queue with no attempt counted.
"""

from __future__ import annotations

import logging
from typing import Any

from liteq.context import LEAVING, App, Request
from liteq.exceptions import LeaseLost, LiteqError, TaskInterrupted
from liteq.execution.paced import Paced
from liteq.message import Flag
from liteq.serialization import decode, encode

__all__ = ["Cursor", "CursorHere"]

logger = logging.getLogger("liteq.execution")

CURSOR_S = 1.0  # between two writes of a cursor: so much work is done twice, at most, after a crash


class Cursor:
    """The cursor of one execution under a lease."""

    interrupted = False
    """Whether it has raised TaskInterrupted."""

    def __init__(self, app: App, request: Request) -> None:
        lease = request._lease
        assert lease is not None, "an execution under a lease"
        self._kept = app.storage.kept
        self._lease = (lease.seq, lease.token)
        self._name = f"{lease.task}[{lease.id}]"
        self._limit: int = app.conf.max_result_bytes
        self._data = self._kept.cursor(lease.seq) if lease.flags & Flag.CURSOR else None
        self._held: bytes | None = None  # not written yet
        self._lost = False
        self._leaving = LEAVING.get()
        self._paced = Paced(self._send, CURSOR_S, app.clock, request._loop)

    @property
    def value(self) -> Any:
        """The value that was saved last, here or by an execution before; None where none was."""
        return None if self._data is None else decode(self._data)

    def save(self, value: Any) -> None:
        """Keep `value`: written at once, or a second after the last write.

        Raises TaskInterrupted where the worker stops, and LeaseLost once the lease is over.
        """
        data = encoded(value, self._limit)
        with self._paced.lock:
            self._data = self._held = data
            self._paced.ready()
        if self._lost:
            raise LeaseLost(self._name)
        if self._leaving():
            self.interrupted = True
            raise TaskInterrupted

    def close(self, *, done: bool) -> None:
        """End: a task that is `done` needs it no more, any other goes on at the last one."""
        if done:
            with self._paced.lock:
                self._held = None
        self._paced.flush()

    def _send(self) -> None:
        held = self._held
        if held is None:
            return
        try:
            self._lost = not self._kept.save_cursor(self._lease, held)
        except LiteqError as exc:  # the work counts: it is written with the next one
            logger.warning("the cursor of %s is not written yet: %s", self._name, exc)
        else:
            with self._paced.lock:
                if self._held is held:
                    self._held = None


class CursorHere:
    """That of a task that runs in its caller's process (`apply`): no worker stops there."""

    interrupted = False

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data: bytes | None = None

    @property
    def value(self) -> Any:
        return None if self._data is None else decode(self._data)

    def save(self, value: Any) -> None:
        self._data = encoded(value, self._limit)

    def close(self, *, done: bool) -> None: ...


def encoded(value: Any, limit: int) -> bytes:
    return encode(value, what="a cursor", limit=limit, setting="max_result_bytes")
