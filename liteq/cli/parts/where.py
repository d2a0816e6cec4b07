"""`--where SEARCH`: the search of the pages on the command line, with the options that choose by task and queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import click

from liteq.cli.parts.session import Session
from liteq.monitor.tasks.matching import find_all
from liteq.monitor.tasks.search import BadSearch, Search, parse, texts_of
from liteq.states import State
from liteq.storage.reading.browse import Line

__all__ = ["chosen", "search_of", "where_option"]


def where_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--where`."""
    text = "Only those that fit a search, as in the dashboard: 'task:shop.* error:CardError since:1h kwargs.user:42'."
    return click.option("--where", metavar="SEARCH", default="", help=text)(command)


def search_of(
    session: Session, where: str, *, states: Iterable[State], task: str | None = None, queue: str | None = None
) -> Search:
    """The search that `--where` and the other options make together: in one of `states`, where it names none itself.

    Raises click.UsageError for one that cannot be read.
    """
    _ = session.storage  # refuses a queue that is not there: the clock of one on a server is the server's
    try:
        found = parse(where, now_ms=session.app.clock.now_ms(), zone=session.app.timezone)
    except BadSearch as exc:
        raise click.UsageError(f"--where: {exc}") from None
    for name, value, given in (("task", task, found.task), ("queue", queue, found.queue)):
        if value is not None and given is not None:
            raise click.UsageError(f"give --{name} or {name}: in --where, not both")
    return replace(
        found,
        text=found.text or "-",
        states=found.states or tuple(states),
        task=found.task if task is None else texts_of([task]),
        queue=found.queue if queue is None else texts_of([queue]),
    )


def chosen(
    session: Session, search: Search, *, limit: int, offset: int = 0, after: str | None = None, walk: str | None = None
) -> Iterator[Line]:  # fmt: skip
    """The messages that fit, however far back they are; those behind the one of the id `after`.

    Raises click.UsageError where `after` is none of them.
    """
    _ = session.storage  # refuses a file that is not there
    found = find_all(session.app, search, walk=walk)
    if after is not None and all(line.id != after for line in found):  # it has gone on to the one behind it
        raise click.UsageError(f"--after: no message of this list has the id {after!r}; give the last of a page")
    return islice(found, offset, offset + limit)
