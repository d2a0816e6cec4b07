"""The last message that was sent in a context, as while a web request is answered: what the answer's position is of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

__all__ = ["Sent", "note", "noted", "watched"]


class Sent:
    """`id`: of the message, or of the canvas's last part, that was committed last; None while nothing was."""

    __slots__ = ("id",)

    def __init__(self) -> None:
        self.id: str | None = None


_watching: ContextVar[Sent | None] = ContextVar("liteq_sent", default=None)
_look = _watching.get


def note(id_: str) -> None:
    """Note that the message of this id has been committed. Some fifty nanoseconds where nobody watches."""
    sent = _look()
    if sent is not None:
        sent.id = id_


def noted(ids: list[str]) -> list[str]:
    """`ids`, of which the last is noted."""
    if ids:
        note(ids[-1])
    return ids


@contextmanager
def watched() -> Iterator[Sent]:
    """Watch what is sent in the block; in threads and coroutines, too, that have a copy of its context."""
    token = _watching.set(Sent())
    try:
        yield _watching.get() or Sent()
    finally:
        with suppress(ValueError):  # it may end in another context than it began in
            _watching.reset(token)
