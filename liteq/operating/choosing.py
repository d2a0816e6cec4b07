"""The messages that a bulk action is about: those of a search, those of a list of ids, or runs of workflows.

A page of them at a time, from a mark on. A search is read with the time at which its operation began: `since:1h` means
the same hour until its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from liteq.context import App
from liteq.exceptions import RunNotFound
from liteq.monitor.access.sight import Sight
from liteq.monitor.runs.runs import STATUSES
from liteq.monitor.runs.workflows import runs_seen
from liteq.monitor.tasks.matching import find
from liteq.monitor.tasks.search import BadSearch, parse
from liteq.states import State
from liteq.storage.operating.acting import STATES, is_so
from liteq.utils.durations import to_span_ms
from liteq.utils.misspelt import nearest
from liteq.utils.records import NamedTuple

__all__ = ["Choice", "Page", "check", "page_of"]

OF_RUNS = ("workflow", "status")  # a search with one of these words is one for runs
KEYS_OF_RUNS = (*OF_RUNS, "tag", "since")


class Choice(NamedTuple):
    """The choice for `action`: by `ids`, where there are some, else by the search `q`, as read at `at_ms`.

    With `arguments` of the action, a search leaves out what is already as they ask.
    """

    action: str
    q: str
    ids: Sequence[str]
    see: Sight
    at_ms: int
    arguments: Mapping[str, Any] = {}


class Page(NamedTuple):
    """Some of the messages, as (row number, id); `after` is the mark of the next page, None at the end."""

    found: list[tuple[int, str]]
    after: str | None


def check(app: App, choice: Choice) -> None:
    """Raise BadSearch (a ValueError) for a search that cannot be read, or that chooses everything."""
    if choice.ids:
        return
    if not choice.q.strip():
        raise BadSearch("a bulk action takes a search, as in state:dead queue:mail: say which messages")
    if _is_of_runs(choice.q):
        _read_runs(choice.q)
    else:
        parse(choice.q, now_ms=choice.at_ms, zone=app.timezone)


def page_of(app: App, choice: Choice, *, after: str | None, limit: int) -> Page:
    """Up to `limit` messages behind the mark `after` (None: the first)."""
    if choice.ids:
        return _of_ids(app, choice, int(after or 0), limit)
    if _is_of_runs(choice.q):
        return _of_runs(app, choice, after, limit)
    search = parse(choice.q, now_ms=choice.at_ms, zone=app.timezone)
    if not search.states:
        states = STATES.get(choice.action, frozenset(State))
        search = replace(search, states=tuple(state for state in State if state in states))
    found = find(app, search, after=after, limit=limit, see=choice.see)
    # A message that was moved may be found once more, at its new place: it was counted already.
    lines = [line for line in found.lines if not is_so(choice.action, line, choice.arguments)]
    return Page([(line.seq, line.id) for line in lines], found.next)


def _of_ids(app: App, choice: Choice, start: int, limit: int) -> Page:
    ids = list(choice.ids[start : start + limit])
    seen = app.storage.operations.look(choice.action, ids, queues=choice.see.queues)
    end = start + len(ids)
    return Page([(target.seq, target.id) for target, _ in seen], str(end) if end < len(choice.ids) else None)


# -- runs -------------------------------------------------------------------------------------------------------------


def _is_of_runs(q: str) -> bool:
    return any(word.partition(":")[0] in OF_RUNS for word in q.split())


def _read_runs(q: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in q.split():
        key, colon, value = word.partition(":")
        if key not in KEYS_OF_RUNS or not colon or not value:
            near = nearest(key, KEYS_OF_RUNS)
            hint = f"the nearest is {near}:" if near else f"use {', '.join(f'{one}:' for one in KEYS_OF_RUNS)}"
            raise BadSearch(f"a search for runs does not know {word!r}; {hint}")
        if key != "tag" and key in found:
            raise BadSearch(f"{key}: stands there twice; a search for runs takes one")
        found.setdefault(key, []).append(value)
    for status in found.get("status", ()):
        if status not in STATUSES:
            raise BadSearch(f"unknown status {status!r}; use one of {', '.join(STATUSES)}")
    for since in found.get("since", ()):
        try:
            to_span_ms(since)
        except ValueError as error:
            raise BadSearch(f"since: {error}") from None
    return found


def _of_runs(app: App, choice: Choice, after: str | None, limit: int) -> Page:
    words = _read_runs(choice.q)
    since = words.get("since")
    listed = partial(
        app.storage.runs.list,
        name=words.get("workflow", [None])[-1],
        status=words.get("status", [None])[-1],
        tags=tuple(words.get("tag", ())),
        since_ms=None if since is None else choice.at_ms - to_span_ms(since[-1]),
        limit=limit,
    )
    try:
        runs = listed(after=after)
    except RunNotFound:  # it was deleted, by this very operation: those before it are gone too, or stay
        runs = listed(after=None)
    found = [(run.number, run.id) for run in runs_seen(app, runs, choice.see)]
    return Page(found, runs[-1].id if len(runs) == limit else None)
