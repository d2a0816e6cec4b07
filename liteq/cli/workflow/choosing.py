"""The runs that a command is about: by their ids, or by name, status, tag and age."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from liteq.cli.parts.names import filled, one_of
from liteq.cli.parts.session import Session
from liteq.cli.parts.spans import since
from liteq.exceptions import RunNotFound
from liteq.monitor.runs.runs import STATUSES
from liteq.storage.runs.records import RunRecord

__all__ = ["PAGE", "Choice", "choosing", "chosen", "found", "matching", "unknown_run"]

PAGE = 500  # runs of one look


@dataclass(frozen=True)
class Choice:
    """The runs that options choose; `since_ms`: started at or after this time."""

    name: str | None = None
    status: str | None = None
    tags: tuple[str, ...] = ()
    since_ms: int | None = None

    @property
    def is_given(self) -> bool:
        """Whether an option was given."""
        return bool(self.name or self.status or self.tags or self.since_ms is not None)

    def __str__(self) -> str:
        parts = [
            f"of {self.name!r}" if self.name else "",
            f"with status {self.status}" if self.status else "",
            f"with tag {', '.join(map(repr, self.tags))}" if self.tags else "",
            "started since then" if self.since_ms is not None else "",
        ]
        return " ".join(part for part in parts if part)


def choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --name, --status, --tag and --since, as parameters of these names (tags, since_ms)."""
    for option in (
        click.option("--since", "since_ms", callback=since, metavar="TIME", help="Started since: 2h, 7d, or a date."),
        click.option("--tag", "tags", multiple=True, metavar="TAG", help="With this tag; may be repeated: with all."),
        click.option(
            "--status", metavar="STATUS", callback=one_of("status", STATUSES), help=f"One of {', '.join(STATUSES)}."
        ),
        click.option("--name", metavar="NAME", callback=filled, help="Of this workflow."),
    ):
        command = option(command)
    return command


def chosen(session: Session, name: str | None, status: str | None, tags: Sequence[str], since_ms: int | None) -> Choice:
    """The choice of these options, with the span of --since taken from the app's clock."""
    if since_ms is not None and since_ms <= 0:
        since_ms += session.app.clock.now_ms()
    return Choice(name, status, tuple(tags), since_ms)


def matching(
    session: Session, choice: Choice, *, limit: int | None = None, after: str | None = None,
    among: Collection[str] = STATUSES, waits: bool = False,
) -> Iterator[list[RunRecord]]:  # fmt: skip
    """The runs of `choice` whose status is `among` these, the newest first, in pages; each is yielded once.

    `waits`: each with what it waits for.
    """
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = session.storage.runs.list(
            name=choice.name, status=choice.status, tags=choice.tags, since_ms=choice.since_ms, limit=size, after=after,
            waits=waits,
        )  # fmt: skip
        kept = [run for run in page if run.status in among]
        if kept:
            yield kept
        if len(page) < size:
            return
        after = page[-1].id
        left = None if left is None else left - len(page)


def found(session: Session, id_: str) -> RunRecord:
    """The run of this id. Raises RunNotFound."""
    run: RunRecord | None = session.storage.runs.find(id_)
    if run is None:
        raise unknown_run(id_)
    return run


def unknown_run(id_: str) -> RunNotFound:
    """The error for an id under which no run is known."""
    return RunNotFound(f"no such run {id_!r}; it was never started in this file, or is forgotten (workflow_expires)")
