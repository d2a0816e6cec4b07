"""The chunks of a stream as they come: a reader sleeps until the bell rings, or a second, as a ring may be lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final

from liteq.context import App
from liteq.result.waiting import LONG_S, RECHECK_S, Absence, DoneBell, told
from liteq.serialization import decode
from liteq.storage.kept.streams import Chunk as Stored
from liteq.utils.records import dataclass

__all__ = ["Chunk", "Look", "afollow", "astream", "follow", "look_at", "stream"]

Look = Callable[[int], tuple[list[Stored], bool]]
"""Called with an offset: the chunks behind it, and whether no more come after them."""

STREAM: Final = "the next of a stream"
NOTHING: Final[tuple[list[Stored], bool]] = ([], False)  # while the queue's server does not answer


@dataclass(frozen=True, slots=True)
class Chunk:
    """One element of a stream. Those of a repeated task or step bear a higher `attempt`."""

    offset: int
    attempt: int
    data: Any


def look_at(app: App, id_: str, stream: str) -> Look:
    """The look at a stream of the task or run `id_`. Raises TypeError for a name that is no string."""
    if not isinstance(stream, str):
        raise TypeError(f"a stream's name is a string, not {stream!r}")
    storage = app.storage
    return lambda after: storage.streams.chunks(id_, stream, after=after)


def stream(app: App, id_: str, name: str, after: int) -> Iterator[Chunk]:
    """The chunks of the stream `name` of `id_` behind the offset `after`, until no more come.

    A server that does not answer is waited for. Once, where none has come for long, the log says what is waited for.
    """
    return _chunks(app, id_, look_at(app, id_, name), after)


def _chunks(app: App, id_: str, look: Look, after: int) -> Iterator[Chunk]:
    is_told = False
    for chunk in follow(app, look, after, idle_s=LONG_S):
        if chunk is not None:
            yield chunk
        elif not is_told:
            is_told = True
            told(app, id_, LONG_S)


async def astream(app: App, id_: str, name: str, after: int) -> AsyncIterator[Chunk]:
    """`stream()` for async code."""
    from liteq.utils.async_threads import reading

    following, is_told = afollow(app, look_at(app, id_, name), after, idle_s=LONG_S), False
    try:
        async for chunk in following:
            if chunk is not None:
                yield chunk
            elif not is_told:
                is_told = True
                await reading(app, told, app, id_, LONG_S)
    finally:
        await following.aclose()  # type: ignore[attr-defined]


def follow(app: App, look: Look, after: int, *, idle_s: float) -> Iterator[Chunk | None]:
    """The chunks behind the offset `after`, until no more come; None whenever none has come for `idle_s` seconds."""
    clock, absence = app.clock, Absence(app, STREAM)
    with DoneBell(app) as bell:
        idle_at = clock.monotonic() + idle_s
        while True:
            chunks, ended = absence.tries(partial(look, after), NOTHING)
            for chunk in chunks:
                after = chunk.offset
                yield read(chunk)
            if ended:
                return
            now = clock.monotonic()
            if chunks:
                idle_at = now + idle_s
            elif now >= idle_at:
                idle_at = now + idle_s
                yield None
            else:
                bell.wait(min(RECHECK_S, idle_at - now))


async def afollow(app: App, look: Look, after: int, *, idle_s: float) -> AsyncIterator[Chunk | None]:
    """`follow()` for async code: no thread waits, and any number of readers may."""
    from liteq.result.hub import ringing
    from liteq.storage.listeners import REST
    from liteq.utils.async_threads import reading

    clock, absence = app.clock, Absence(app, STREAM)
    await reading(app, absence.tries, partial(look, after), NOTHING)  # opens a file: before anything listens
    with ringing(app) as rings:
        idle_at = clock.monotonic() + idle_s
        while True:
            began = clock.monotonic()
            chunks, ended = await reading(app, absence.tries, partial(look, after), NOTHING)
            looked_s = clock.monotonic() - began
            for chunk in chunks:
                after = chunk.offset
                yield read(chunk)
            if ended:
                return
            now = clock.monotonic()
            if chunks:
                idle_at = now + idle_s
            elif now >= idle_at:
                idle_at = now + idle_s
                yield None
            else:
                await rings.wait(min(RECHECK_S, idle_at - now), rest_s=REST * looked_s)


def read(chunk: Stored) -> Chunk:
    """A chunk with its data."""
    return Chunk(chunk.offset, chunk.attempt, decode(chunk.data))
