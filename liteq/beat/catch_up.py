"""The runs of an entry that is due, and the time at which it is due next: pure.

An entry may be late: no beat ran for a while. The setting `beat_catch_up` says what becomes of the times it missed:

    one     a single run for all of them (the default, and what Celery does)
    skip    no run, unless the latest of them is less than a minute ago
    all     a run for each

An entry may say otherwise, by its `catch_up`. `beat_cron_starting_deadline` bounds all three: of a crontab, what is
older is not made up. An entry's `overlap` says what becomes of a time at which its last run is unfinished.

A schedule of one's own that answers `is_due`, as in Celery, is asked, and decides all but the overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from liteq.schedules import BaseSchedule, NeverDue
from liteq.utils.records import NamedTuple

__all__ = ["Decision", "decide"]

MISSED = timedelta(seconds=60)  # a beat that is later than this was not there
AT_ONCE = 100  # runs of one entry in a transaction: with "all", the rest follows in the next turns
LEAST_S = 0.001  # until a schedule is asked again: the file counts in ms
MICROSECOND = timedelta(microseconds=1)


class Decision(NamedTuple):
    """The times for which a run is sent, oldest first, and the next time that is due; None: never again.

    `waits`: it is not moved on, as its last run is unfinished.
    """

    runs: list[datetime]
    next_due: datetime | None
    waits: bool = False


class Last(NamedTuple):
    """The run that an entry sent last: whether it is unfinished, and when it ended; None where nobody knows."""

    unfinished: bool = False
    ended: datetime | None = None


NO_LAST = Last()


def decide(
    schedule: BaseSchedule, due: datetime, now: datetime, *, catch_up: str = "one", deadline_s: float | None = None,
    overlap: str = "allow", last: Last = NO_LAST, since: datetime | None = None,
) -> Decision:  # fmt: skip
    """The runs of an entry that was due at `due` (not after `now`), whose last run is `last`. All times are aware.

    `since`: when it was sent last, or made; for a schedule that is asked.
    """
    if schedule.is_asked:
        found = _asked(schedule, due, now, since or due)
    else:
        found = _caught_up(schedule, due, now, catch_up, deadline_s)
    match overlap:
        case "skip":
            return Decision([] if last.unfinished else found.runs[:1], found.next_due)
        case "cancel":
            return Decision(found.runs[-1:], found.next_due)
        case "queue" | "latest":
            if last.unfinished:
                return Decision([], due, waits=True)
            if schedule.is_asked:
                return found
            has_waited = last.ended is not None and due <= last.ended  # for its turn: nothing was missed
            if overlap == "latest" and (has_waited or found.runs):
                return Decision([_latest(schedule, due, now)], _following(schedule, due, now))
            if has_waited:
                return Decision([due], _next(schedule, due))
            if catch_up == "all" and found.runs:
                return Decision(found.runs[:1], _next(schedule, found.runs[0]))
    return found


def _asked(schedule: BaseSchedule, due: datetime, now: datetime, since: datetime) -> Decision:
    """The answer of a schedule of one's own, which was sent last at `since`."""
    is_due, left_s = schedule.is_due(since)  # a pair, as in Celery: a schedstate is one
    return Decision([due] if is_due else [], now + timedelta(seconds=max(left_s, LEAST_S)))


def _caught_up(
    schedule: BaseSchedule, due: datetime, now: datetime, catch_up: str, deadline_s: float | None
) -> Decision:
    """The runs as if none could be unfinished."""
    since = due
    # Within the deadline no time is too old; the moment of a very long one would be none of the calendar's.
    if deadline_s is not None and schedule.kept_to_deadline and (now - due).total_seconds() > deadline_s:
        since = _first_from(schedule, due, now - timedelta(seconds=deadline_s))
    if since > now:
        return Decision([], since)
    if catch_up == "all":
        times = list(islice(_times(schedule, since, now), AT_ONCE + 1))
        if len(times) > AT_ONCE:
            return Decision(times[:AT_ONCE], times[AT_ONCE])
        return Decision(times, _following(schedule, times[-1], now))
    following = _following(schedule, due, now)
    if catch_up == "skip" and now - due > MISSED and _first_from(schedule, due, now - MISSED) > now:
        return Decision([], following)
    return Decision([due], following)


def _first_from(schedule: BaseSchedule, due: datetime, moment: datetime) -> datetime:
    """The first time of the schedule that is not before `moment`; `due` is one of its times."""
    if due >= moment:
        return due
    try:
        return schedule.next_after(moment - MICROSECOND)
    except NeverDue:
        return datetime.max.replace(tzinfo=due.tzinfo)


def _latest(schedule: BaseSchedule, due: datetime, now: datetime) -> datetime:
    """The last time of the schedule that is not after `now`; `due` is one of its times, and not after it.

    An interval counts anew from each run: what was due is its only time.
    """
    if not schedule.kept_to_deadline:
        return due
    span = timedelta(seconds=1)
    while (first := _first_from(schedule, due, now - span)) > now:
        span *= 2
    *_, latest = _times(schedule, first, now)
    return latest


def _times(schedule: BaseSchedule, first: datetime, now: datetime) -> Iterator[datetime]:
    while first <= now:
        yield first
        try:
            first = schedule.next_after(first)
        except NeverDue:
            return


def _next(schedule: BaseSchedule, due: datetime) -> datetime | None:
    """The time of the schedule after `due`, be it past."""
    try:
        return schedule.next_after(due)
    except NeverDue:
        return None


def _following(schedule: BaseSchedule, due: datetime, now: datetime) -> datetime | None:
    try:
        return schedule.following(due, now)
    except NeverDue:
        return None
