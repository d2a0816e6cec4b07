"""A search over the file: the messages that fit, a window of the newest at a time.

What is looked at is bounded by rows and by time, and the answer says how far back it reached; the next window goes on
from there. Arguments are masked before they are compared: a search answers nothing that a page would hide.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import orjson

from liteq.context import App
from liteq.exceptions import LiteqError
from liteq.monitor.access.failing import masked_text
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.messages import error_line, shown
from liteq.monitor.tasks.search import Argument, BadSearch, Search
from liteq.states import State
from liteq.storage.reading.browse import LAST, SEEN, WALK_OF, WALKS, Line, Mark, Whole
from liteq.utils.json_text import to_json
from liteq.utils.records import NamedTuple

__all__ = ["WINDOW", "Found", "find", "find_all"]

WINDOW: Final = 10_000  # rows that one answer looks at
PATIENCE_S: Final = 1.0  # likewise
CHUNKS: Final = {"seen": 5_000, "line": 2_000, "whole": 500}  # rows of one snapshot


class Found(NamedTuple):
    """The messages of one window. `next`: where the next one begins; None at the end.

    `searched`: how many rows were looked at; `back_to_ms`: the time of the last of them, None where the walk is not
    one through time. `cut`: whether the window or the time was over before `limit` messages were found.
    """

    lines: list[Line]
    next: str | None
    searched: int
    back_to_ms: int | None
    cut: bool


class _Leg(NamedTuple):
    """One walk of a search: several states are gone through one after another."""

    walk: str
    given: dict[str, object]
    states: frozenset[State] | None


def find(
    app: App, search: Search, *, after: str | None = None, limit: int = 100, see: Sight = ALL, walk: str | None = None
) -> Found:
    """Up to `limit` messages that fit, from the mark `after` on (`Found.next`).

    Raises BadSearch for a mark that is none, and for a search in arguments that `see` does not allow.
    """
    if search.arguments and not see.payloads:
        raise BadSearch("args. and kwargs. search in arguments, which you may not see: that needs the right `payloads`")
    if search.limit and not see.payloads:
        raise BadSearch("limit: searches in keys, which are made of arguments: that needs the right `payloads`")
    lines = sorted({line for key in search.limit for line in (key, *app.storage.views.lines_of(key))})
    legs = _legs(search, walk, lines)
    n, mark = (0, None) if after is None else _read_mark(after, legs)
    hunt = _Hunt(app, search, see, limit)
    for place in range(n, len(legs)):
        hunt.go(legs[place], mark if place == n else _start(app, legs[place], search), place)
        if hunt.is_over:
            break
    return hunt.found()


def find_all(app: App, search: Search, *, see: Sight = ALL, page: int = 500, walk: str | None = None) -> Iterator[Line]:
    """Every message that fits, however many rows that takes; a page of each is read at a time."""
    after = None
    while True:
        found = find(app, search, after=after, limit=page, see=see, walk=walk)
        yield from found.lines
        if found.next is None:
            return
        after = found.next


# -- which walks ----------------------------------------------------------------------------------------------------


def _legs(search: Search, walk: str | None, lines: Sequence[str]) -> list[_Leg]:
    """The walks that leave the fewest rows to look at; `lines`: those of held messages that wait for a limit."""
    states = frozenset(search.states) or None
    if walk is not None:
        return [_Leg(walk, {}, states)]
    if lines:
        return [_Leg("line", {"line": line}, states) for line in lines]
    for name in ("cause", "root", "tag"):
        values: Sequence[str] = getattr(search, name)
        if values:
            own = [_Leg("id", {"id": value}, states) for value in values] if name == "root" else []
            return [*own, *(_Leg(name, {name: value}, states) for value in values)]
    if states is None:
        return [_Leg("all", {}, None)]
    legs: dict[str, _Leg] = {}
    for state in State:
        if state not in states:
            continue
        name = WALK_OF[state]
        queues = sorted(search.queue.values) if search.queue is not None and not search.queue.globs else []
        if queues and state in (State.PENDING, State.HELD):
            legs |= {f"{name} {queue}": _Leg(f"{name} of", {"queue": queue}, None) for queue in queues}
        elif name in legs:
            legs[name] = legs[name]._replace(states=(legs[name].states or frozenset()) | {state})
        else:
            legs[name] = _Leg(name, {}, frozenset({state}) if name in ("finished", "stopped") else None)
    return list(legs.values())


def _start(app: App, leg: _Leg, search: Search) -> Mark | None:
    """The mark from which a walk through time begins: what is newer than `until` is not looked at."""
    if search.until_ms is None:
        return None
    match WALKS[leg.walk].when:
        case "finished_ms":
            between = ("\U0010ffff",) * (len(WALKS[leg.walk].order) - 2)  # columns of text, which end a tie
            return (search.until_ms, *between, LAST)
        case "created_ms":
            return (app.storage.views.seq_before(search.until_ms),)
    return None


def _mark_text(place: int, mark: Mark) -> str:
    return urlsafe_b64encode(orjson.dumps([place, *mark])).decode().rstrip("=")


def _read_mark(text: str, legs: Sequence[_Leg]) -> tuple[int, Mark]:
    try:
        place, *mark = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        keys = WALKS[legs[place].walk].order
        fits = isinstance(place, int) and place >= 0 and len(mark) == len(keys)
    except (ValueError, TypeError, IndexError, LookupError):
        fits, place, mark = False, 0, []
    plain = all(isinstance(one, (str, int, type(None))) and not isinstance(one, bool) for one in mark)
    if not (fits and plain and all(abs(one) < 1 << 63 for one in mark if isinstance(one, int))):
        raise BadSearch("`after` is no mark of this list: take it from the `next` of the page before")
    return place, tuple(mark)


# -- the hunt -------------------------------------------------------------------------------------------------------


class _Hunt:
    """One window: what was found, how many rows were looked at, where it stopped."""

    def __init__(self, app: App, search: Search, see: Sight, limit: int) -> None:
        self._app, self._search, self._see, self._limit = app, search, see, limit
        self._tests = _Tests(app, search, see)
        self._lines: list[Line] = []
        self._marks: list[tuple[int, Mark]] = []
        self._end_at = app.clock.monotonic() + PATIENCE_S
        self._searched = 0
        self._at: tuple[int, Mark] | None = None  # the last row that was looked at
        self._back_to_ms: int | None = None
        self.is_over = False

    def go(self, leg: _Leg, mark: Mark | None, place: int) -> None:
        """Walk on until there is one message more than asked for, or the window is over, or the walk."""
        columns = self._tests.columns(leg)
        chunk = min(self._limit + 1, CHUNKS[columns])
        while not self.is_over:
            limit = min(chunk, WINDOW - self._searched)
            take = {"seen": self._take_seen, "line": self._take_lines, "whole": self._take_wholes}[columns]
            mark, goes_on = take(leg, mark, limit, place)
            if mark is None or not goes_on:
                return
            self._at = (place, mark)
            over = self._searched >= WINDOW or self._app.clock.monotonic() > self._end_at
            self.is_over |= over or len(self._lines) > self._limit
            chunk = min(chunk * 4, CHUNKS[columns])

    def _take_seen(self, leg: _Leg, mark: Mark | None, limit: int, place: int) -> tuple[Mark | None, bool]:
        """Look at the names alone; the lines of those that fit are read after it."""
        views = self._app.storage.views
        rows = views.seen(leg.walk, after=mark, limit=limit, given=leg.given)
        if not rows:
            return None, False
        fits = self._tests.by_names(leg)
        hits = {row[0]: row[SEEN:] for row in islice((row for row in rows if fits(row[1:SEEN])), self._room)}
        self._keep([one._replace(key=hits[one.seq]) for one in views.lines(list(hits))] if hits else [], place)
        last: Mark = rows[-1][SEEN:]
        if WALKS[leg.walk].when == "finished_ms":
            self._back_to_ms = last[0]
        self._searched += len(rows)
        return last, True

    def _take_lines(self, leg: _Leg, mark: Mark | None, limit: int, place: int) -> tuple[Mark | None, bool]:
        lines = self._app.storage.views.page(leg.walk, after=mark, limit=limit, given=leg.given)
        wanted, goes_on = self._not_older(lines, leg)
        self._keep([one for one in wanted if self._tests.fits(one, leg)], place)
        return (lines[-1].key if lines else None), goes_on

    def _take_wholes(self, leg: _Leg, mark: Mark | None, limit: int, place: int) -> tuple[Mark | None, bool]:
        wholes = self._app.storage.views.wholes(leg.walk, after=mark, limit=limit, given=leg.given)
        wanted, goes_on = self._not_older([one.line for one in wholes], leg)
        young, tests = {one.seq for one in wanted}, self._tests
        hits = [
            one.line for one in wholes if one.line.seq in young and tests.fits(one.line, leg) and tests.by_payload(one)
        ]
        self._keep(hits, place)
        return (wholes[-1].line.key if wholes else None), goes_on

    def _not_older(self, lines: Sequence[Line], leg: _Leg) -> tuple[Sequence[Line], bool]:
        """Those that are not older than asked for, and whether the walk goes on behind them."""
        self._searched += len(lines)
        timed, since_ms = WALKS[leg.walk].when, self._search.since_ms
        if timed is None:
            return lines, True
        if lines:
            self._back_to_ms = getattr(lines[-1], timed)
        if since_ms is None:
            return lines, True
        wanted = [one for one in lines if getattr(one, timed) >= since_ms]
        return wanted, len(wanted) == len(lines)

    @property
    def _room(self) -> int:
        return self._limit + 1 - len(self._lines)

    def _keep(self, lines: Sequence[Line], place: int) -> None:
        """Note what fits, as far as it is asked for."""
        kept = lines[: self._room]
        self._lines += kept
        self._marks += [(place, one.key) for one in kept]

    def found(self) -> Found:
        if len(self._lines) > self._limit:
            lines, at = self._lines[: self._limit], self._marks[self._limit - 1]
            return Found(lines, _mark_text(*at), self._searched, self._back_to_ms, cut=False)
        following = _mark_text(*self._at) if self.is_over and self._at is not None else None
        return Found(self._lines, following, self._searched, self._back_to_ms, cut=following is not None)


class _Tests:
    """The conditions of a search, the cheap ones first."""

    def __init__(self, app: App, search: Search, see: Sight) -> None:
        self._app, self._search, self._see = app, search, see
        self._now_ms = app.clock.now_ms()
        s = search
        self._by_line = bool(s.error or s.worker or s.run or s.wait or s.retries or s.priority or s.cause or s.root)
        self._by_line |= s.since_ms is not None or s.until_ms is not None
        self._by_whole = bool(s.arguments or s.words)
        self._by_names: dict[str, Callable[[tuple[str, str, str]], bool]] = {}

    def columns(self, leg: _Leg) -> str:
        """How much of each row has to be read."""
        if self._by_whole:
            return "whole"
        s = self._search
        nothing = leg.states is None and not (s.queue or s.task or s.without or self._see.queues is not None)
        return "line" if self._by_line or nothing else "seen"

    def by_names(self, leg: _Leg) -> Callable[[tuple[str, str, str]], bool]:
        """A test of (state, task, queue); there are few of these, so each is looked at once."""
        if leg.walk in self._by_names:
            return self._by_names[leg.walk]
        s, known = self._search, dict[tuple[str, str, str], bool]()

        def fits(names: tuple[str, str, str]) -> bool:
            found = known.get(names)
            if found is None:
                state, task, queue = names
                found = known[names] = (
                    (leg.states is None or state in leg.states)
                    and (s.queue is None or s.queue.fits(queue))
                    and (s.task is None or s.task.fits(task))
                    and (s.without is None or not s.without.fits(task))
                    and self._see.sees(queue)
                )
            return found

        self._by_names[leg.walk] = fits
        return fits

    def fits(self, line: Line, leg: _Leg) -> bool:
        """Whether a line fits, but for its arguments."""
        return self.by_names(leg)((line.state, line.task, line.queue)) and self._by_numbers(line, leg)

    def _by_numbers(self, line: Line, leg: _Leg) -> bool:
        s = self._search
        when: int | None = getattr(line, WALKS[leg.walk].time)
        return (
            (s.since_ms is None or (when is not None and when >= s.since_ms))
            and (s.until_ms is None or (when is not None and when <= s.until_ms))
            and all(one.fits(line.retries) for one in s.retries)
            and all(one.fits(line.priority) for one in s.priority)
            and (s.worker is None or s.worker.fits(line.worker))
            and (not s.cause or line.cause in s.cause)
            and (not s.root or line.root_id in s.root or line.id in s.root)
            and all(one.fits(self._run_ms(line)) for one in s.run)
            and all(one.fits(self._wait_ms(line)) for one in s.wait)
            and (not s.error or self._has_error(line))
        )

    def _run_ms(self, line: Line) -> int | None:
        if line.started_ms is None:
            return None
        return (self._now_ms if line.finished_ms is None else line.finished_ms) - line.started_ms

    def _wait_ms(self, line: Line) -> int | None:
        if line.started_ms is not None:
            return line.started_ms - line.due_ms
        return self._now_ms - line.due_ms if line.state in (State.PENDING, State.HELD) else None

    def _has_error(self, line: Line) -> bool:
        words = self._search.error
        if not _contains(error_line(line.error, 10_000), words):
            return False
        return _contains(self._masked_error(line), words)  # it may quote what is hidden

    def _masked_error(self, line: Line) -> str:
        return masked_text(self._app, line, error_line(line.error, 10_000))

    def by_payload(self, row: Whole) -> bool:
        """Whether its arguments and its words fit."""
        s = self._search
        if not self._see.payloads:
            return _contains_all(self._masked_error(row.line), s.words)
        try:
            call = shown(self._app, row)
        except LiteqError:
            return False
        if not all(_argument_fits(one, call.args, call.kwargs) for one in s.arguments):
            return False
        if not s.words:
            return True
        text = "\n".join([to_json([call.args, call.kwargs]).decode(), self._masked_error(row.line)])
        return _contains_all(text, s.words)


def _contains(text: str, words: Sequence[str]) -> bool:
    lower = text.lower()
    return any(word in lower for word in words)


def _contains_all(text: str, words: Sequence[str]) -> bool:
    lower = text.lower()
    return all(word in lower for word in words)


def _argument_fits(wanted: Argument, args: Any, kwargs: Any) -> bool:
    value: Any = {"args": args, "kwargs": kwargs}
    for name in wanted.path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and len(name) < 10 and int(name) < len(value):
            value = value[int(name)]
        else:
            return False
    return wanted.texts.fits(value if isinstance(value, str) else to_json(value).decode())
