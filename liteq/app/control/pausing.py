"""Queues that are paused, as `app.control` tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from liteq.clock import Clock, from_ms, to_ms
from liteq.utils.durations import seconds
from liteq.utils.misspelt import suggesting
from liteq.utils.records import NamedTuple

if TYPE_CHECKING:
    from liteq.storage.claiming.pauses import Pause

__all__ = ["PausedQueue", "Until", "end_s", "pause_asked", "paused_queue"]

Until = datetime | timedelta | str | float
"""The end of a pause: a time (a naive one is UTC), or how long it lasts, as "30m", a timedelta or seconds."""


class PausedQueue(NamedTuple):
    """A queue from which workers take nothing: why, by whose word, since when, and until when; None: till resumed.

    `queue` is a name, or a glob such as "mail.*".
    """

    queue: str
    reason: str
    by: str
    since: datetime
    until: datetime | None


def paused_queue(pause: Pause) -> PausedQueue:
    """A pause as it is in the file, for programs."""
    until = None if pause.until_ms is None else from_ms(pause.until_ms)
    return PausedQueue(pause.queue, pause.reason, pause.actor, from_ms(pause.since_ms), until)


def pause_asked(given: Sequence[Any], named: Mapping[str, Any]) -> tuple[str, str, Until | None]:
    """The reason, the person and the end that `pause_queue` was called with, in one of its two forms."""
    if given and not isinstance(given[0], str):
        given, named = given[1:], {"for_s": given[0], **named}
    return pause_queue(*given, **named)


@suggesting
def pause_queue(
    reason: str = "", by: str | None = None, until: Until | None = None, *, for_s: float | None = None, actor: str = ""
) -> tuple[str, str, Until | None]:
    return reason or "", by or actor, for_s if until is None else until


def end_s(until: Until | None, clock: Clock) -> float | None:
    """The end of a pause in seconds since the epoch; None for one without. Raises TypeError, ValueError."""
    if until is None:
        return None
    if isinstance(until, str):
        try:
            until = datetime.fromisoformat(until)
        except ValueError:
            pass
    if isinstance(until, datetime):
        until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        if to_ms(until) <= clock.now_ms():
            raise ValueError(f"until: {until.isoformat()} is over: the pause would end before it begins")
        return to_ms(until) / 1000
    return clock.now_ms() / 1000 + seconds(until, "until: a time in ISO format, or a span, which")
