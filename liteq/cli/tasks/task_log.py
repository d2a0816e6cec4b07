"""`liteq logs`: the lines that a task has logged and printed, as far as they are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.tasks.result import NoSuchMessage
from liteq.clock import from_ms
from liteq.monitor.messages import masked
from liteq.result.streaming import Chunk, read, stream
from liteq.storage.reading.inspect import Record
from liteq.utils.json_text import to_json
from liteq.utils.names import LOG_STREAM

__all__ = ["logs"]

PAGE = 1_000  # lines that are read at once


@click.command(cls=Command)
@click.argument("id_", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on with lines as they come, until the task has ended.")
@click.option("-n", "--lines", "last", type=click.IntRange(min=1), help="Begin with the last N lines.")
@click.option("--attempt", type=click.IntRange(min=1), help="The lines of this attempt alone.")
@pass_session
def logs(session: Session, /, id_: str, follow: bool, last: int | None, attempt: int | None) -> int:
    """Print what the task ID has logged and printed, as far as it is kept: with `log_keep=` of the task or the call.

    A line of the worker's log is kept where it is logged there: `liteq worker -l info` keeps those of level INFO too.
    Exits with 1 where there is no task of this ID.

    \b
    JSON, one a line: {"offset", "attempt", "time", "level", "logger", "worker", "message", "exception"}
    """
    record = session.storage.reader.find(id_)
    if record is None:
        raise NoSuchMessage(id_)
    session.tell_hidden([record.task])
    n = dict(session.storage.streams.names(id_)).get(LOG_STREAM, 0)
    if n == 0 and not follow:
        session.note(f"no lines of {record.task}[{id_}] are kept: {_reason(record)}")
        return Exit.OK
    after = _before_last(session, id_, n, last, attempt)
    printer = _Printer(session, record)
    for chunk in stream(session.app, id_, LOG_STREAM, after) if follow else _there(session, id_, after):
        if attempt is None or chunk.attempt == attempt:
            printer.write(chunk)
    return Exit.OK


def _before_last(session: Session, id_: str, n: int, last: int | None, attempt: int | None) -> int:
    """The offset behind which the `last` of `n` lines begin: of one attempt, where that is named."""
    if last is None or attempt is None:
        return 0 if last is None else max(0, n - last)
    own = deque((one.offset for one in _there(session, id_, 0) if one.attempt == attempt), last)
    return own[0] - 1 if own else 0


def _there(session: Session, id_: str, after: int) -> Iterator[Chunk]:
    """The lines behind the offset `after` that are there now."""
    while True:
        found, _ = session.storage.streams.chunks(id_, LOG_STREAM, after=after, limit=PAGE)
        yield from map(read, found)
        if len(found) < PAGE:
            return
        after = found[-1].offset


def _reason(record: Record) -> str:
    if record.started_ms is None and not record.has_ended:
        return "it has not begun"
    return "give it log_keep=, and its worker the -l of what is to be kept; or their time is over"


class _Printer:
    """Writes lines for people, or as JSON; what they quote of sensitive arguments is hidden."""

    def __init__(self, session: Session, record: Record) -> None:
        self._session, self._record = session, record
        self._attempt = 1
        self._zone = session.app.timezone

    def write(self, chunk: Chunk) -> None:
        line: dict[str, Any] = chunk.data if isinstance(chunk.data, dict) else {"message": str(chunk.data)}
        message, exception = self._masked(line.get("message")), self._masked(line.get("exception"))
        at = line.get("time")
        when = from_ms(at) if isinstance(at, int) else None
        if self._session.json:
            iso = None if when is None else when.isoformat(timespec="milliseconds")
            told = {"time": iso, "level": line.get("level"), "logger": line.get("logger"), "worker": line.get("worker")}
            document = {"offset": chunk.offset, "attempt": chunk.attempt, **told, "message": message}
            click.echo(to_json(document | {"exception": exception}).decode())
            return
        if chunk.attempt != self._attempt:
            self._attempt = chunk.attempt
            say(f"-- attempt {chunk.attempt} --")
        time = "" if when is None else when.astimezone(self._zone).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        say(f"{time:<23} {line.get('level') or '':<8} {message or ''}")
        if exception:
            say("\n".join(f"  {one}" for one in exception.split("\n")))

    def _masked(self, text: Any) -> str | None:
        return None if text is None else masked(self._session.app, self._record.task, str(text), lambda: self._record)
