"""Positions: how far a replica must be to show what was sent. Told by the sender, waited for by a reader.

A position is a text that nobody need understand: a time after the commit, that of the row, both by the queue's clock,
and the id of what was sent. So it costs the sender nothing until somebody asks for it, and any kind of copy will do.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from time import monotonic
from typing import Final
from urllib.parse import quote, unquote

from liteq.context import App
from liteq.exceptions import NotYetThere, StorageError
from liteq.result.waiting import LONG_S
from liteq.storage.sent import Sent, watched
from liteq.utils.records import NamedTuple

__all__ = ["COOKIE", "HEADER", "Exchange", "Position", "await_for", "carried", "exchange", "position_of", "wait_for"]

logger = logging.getLogger("liteq.result")

HEADER: Final = "Liteq-Position"
COOKIE: Final = "liteq_position"
FORM: Final = re.compile(r"([0-9a-f]{1,15})\.([0-9a-f]{1,15})\.([!-~]+)")
LONGEST: Final = 1_000  # characters; what a request brings that is longer is not looked at
AHEAD_MS: Final = 60_000  # a position of a clock that is further ahead is not one of this queue's
CARRIED_WAIT_S: Final = 10.0  # for a position that a request brought, where `get()` has no timeout of its own
LONGEST_LOOK_S: Final = 1.0  # between two looks, where no change is heard


class Position(NamedTuple):
    """The commit of the message, or group, `id`: before `after_ms`; its row is of `from_ms`, or had gone (0)."""

    after_ms: int
    from_ms: int
    id: str

    def __str__(self) -> str:
        return f"{self.after_ms:x}.{self.from_ms:x}.{quote(self.id, safe='')}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `str()` has written. Raises ValueError for another text."""
        found = FORM.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r:.100} is no position: it is what `result.position` gave where the task was sent")
        return cls(int(found[1], 16), int(found[2], 16), unquote(found[3]))


class Exchange:
    """A request and its answer: the position that the request brought, and what is sent while it is answered."""

    def __init__(self, brought: Position | None, sent: Sent) -> None:
        self.brought = brought  # None once the replica was found to be that far
        self._sent = sent

    def position(self, app: App) -> str | None:
        """The position for the answer; None where nothing was sent, and where it cannot be read now."""
        return None if self._sent.id is None else _if_readable(app, self._sent.id)

    async def aposition(self, app: App) -> str | None:
        """As `position`, for async code."""
        from liteq.utils.async_threads import reading

        return None if self._sent.id is None else await reading(app, _if_readable, app, self._sent.id)


_here: ContextVar[Exchange | None] = ContextVar("liteq_exchange", default=None)


@contextmanager
def exchange(header: str | None, cookie: str | None) -> Iterator[Exchange]:
    """In the block a request is answered that brought these; `get()` waits for the later position of the two.

    A text that is no position, or one of the future, is as none: it comes from a client.
    """
    brought = [one for one in map(_read, (header, cookie)) if one is not None]
    with watched() as sent:
        token = _here.set(Exchange(max(brought, default=None), sent))
        try:
            yield _here.get() or Exchange(None, sent)
        finally:
            with suppress(ValueError):  # a framework may end a request in another context than it began in
                _here.reset(token)


def _read(text: str | None) -> Position | None:
    if not text or len(text) > LONGEST:
        return None
    try:
        return Position.parse(text)
    except ValueError:
        return None


def position_of(app: App, id_: str) -> str:
    """The position of the message, or group, `id_`, which has been sent. Reads its row."""
    now_ms = app.clock.now_ms()
    return str(Position(now_ms, app.storage.reader.created_ms(id_), id_))


def _if_readable(app: App, id_: str) -> str | None:
    """As `position_of`. What was sent is sent: an answer that fails for its position would have it sent once more."""
    try:
        return position_of(app, id_)
    except StorageError as exc:
        logger.warning("an answer goes without the position of %s: %s", id_, exc)
        return None


def carried(app: App, timeout: float | None) -> float | None:
    """Wait until the file of `app` is as far as the request has asked; what is left of `timeout` seconds then.

    Raises NotYetThere.
    """
    here = _here.get()
    if here is None or here.brought is None:
        return timeout
    position = here.brought
    if position.after_ms > app.clock.now_ms() + AHEAD_MS:
        here.brought = None
        return timeout
    limit = CARRIED_WAIT_S if timeout is None else timeout
    left = _wait(app, position, limit)
    here.brought = None
    return None if timeout is None else left


def wait_for(app: App, after: str | None, timeout: float | None) -> float | None:
    """Wait until the file of `app` is as far as the position `after`; None: that of the request that is answered.

    What is left of `timeout` seconds then. Raises NotYetThere, and ValueError for a text that is no position.
    """
    return carried(app, timeout) if after is None else _wait(app, Position.parse(after), timeout)


async def await_for(app: App, after: str | None, timeout: float | None) -> float | None:
    """As `wait_for`, for async code: the event loop goes on."""
    here = _here.get()
    if after is None and (here is None or here.brought is None):
        return timeout
    import asyncio  # only for those that have it

    return await asyncio.get_running_loop().run_in_executor(None, copy_context().run, wait_for, app, after, timeout)


def _wait(app: App, position: Position, timeout: float | None) -> float | None:
    storage = app.storage
    if not storage.driver.read_only:  # the queue itself
        return timeout
    start, is_told = monotonic(), False
    with storage.hearing() as bell:
        while not storage.reader.has_reached(position.id, position.from_ms, position.after_ms):
            waited_s = monotonic() - start
            left = LONGEST_LOOK_S if timeout is None else timeout - waited_s
            if left <= 0 or (waited_s >= LONG_S and not is_told):
                behind = NotYetThere(str(position), storage.driver.age_s() or 0.0)
                if left <= 0:
                    raise behind
                is_told = True
                logger.warning("waiting since %.0f s: %s", waited_s, behind)
            bell.wait(min(left, LONGEST_LOOK_S))
    return None if timeout is None else max(0.0, timeout - (monotonic() - start))
