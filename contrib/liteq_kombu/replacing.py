"""A task that replaces itself by others: its row awaits them, under the id that it has.

What follows it stays behind it, and what counts it goes on counting it, for it has not ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from liteq.exceptions import LeaseLost
from liteq.message import Batch, Flag, Lease, Message, RetryAt
from liteq_kombu import running
from liteq_kombu.running import Run
from liteq_kombu.taking import Taking, as_awaited, embedded, final_id, rows_behind, taking_here

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = ["close", "closing_with", "own_of", "replaces", "retried_as", "send", "settle_with"]

scope = threading.local()  # `whole`: the chords of which this thread is about to send the last member


def own_of(run: Run | None, rows: list[Message]) -> Message | None:
    """The one of `rows` is the task that runs here: it replaces itself by what comes before that."""
    if run is None or run.settled:
        return None
    return next((row for row in rows if row.id == run.lease.id), None)


def retried_as(run: Run, row: Message) -> RetryAt:
    """The outcome by which the task that runs is `row` from now on, which awaits something."""
    found = run.retry_as(row)
    return replace(found, awaits=row.awaits, takes_input=bool(row.flags & Flag.TAKES_INPUT))


def settle_with(run: Run | None, settling: tuple[Lease, RetryAt] | None, write: Callable[[], object]) -> None:
    """Write, by which `run` ends where it replaces itself. A lease that is over is another worker's to go on with."""
    try:
        write()
    except LeaseLost:
        running.say_once(run.lease.id if run else "", "a task was replaced after its lease: that is dropped")
    finally:
        if run is not None and settling is not None:
            run.settled = True


def replaces(file: File, row: Message) -> bool:
    """Whether the task that runs here replaces itself by a chain that begins with `row`; then this has seen to it.

    The chain is written as rows, and the one with its own id is the row that it has: it awaits the link before it.
    """
    run = running.current(file)
    if run is None or run.settled or not file.results or run.lease.id.encode() not in (row.options or b""):
        return False
    embed = embedded(row)
    if not any(final_id(step) == run.lease.id for step in embed.get("chain") or ()):
        return False
    app = _app()
    taken = rows_behind(file, app, row.id, row.root_id or row.id, {"chain": embed["chain"]})
    own = own_of(run, taken.rows)
    closing = closing_with(file, taken)
    there = file.storage.reader.find_many([one.id for one in taken.rows])  # behind it before it was replaced
    rows = [as_awaited(row, "chain"), *(one for one in taken.rows if one.id not in there)]
    if own is None:  # it is behind a chord in it, and has been written with that
        file.storage.groups.enter(Batch(rows, closing=closing), again=[one.id for one in rows])
    else:
        settling = (run.lease, retried_as(run, own))
        settle_with(run, settling, lambda: file.storage.settle([settling], also=Batch(rows, closing=closing)))
    return True


def _app() -> Any:
    from celery import current_app

    return current_app._get_current_object()


def send(file: File, row: Message) -> None:
    """Send a message of this process's own; it takes its place where it is a member of a chord."""
    batch = Batch([row], closing=whole_now(file))
    if row.group_id is None and not batch.closing:
        file.storage.enqueue(batch, again=(row.id,))
    else:
        file.storage.groups.enter(batch, again=(row.id,))


def close(file: File, group_id: str, size: int) -> None:
    """Say that the last member of a chord is about to be sent: the chord closes in the transaction that sends it.

    A sender that dies before has closed nothing, and the chord is given up. Else it would wait for a member that nobody
    sends.
    """
    # Where places are kept they say how many members there are; of a generator nobody knew.
    whole = (group_id, None if group_id not in file.unplaced else size)
    file.unplaced.discard(group_id)
    taken = taking_here(file)
    if taken is not None:
        taken.closing.append(whole)
        return
    run = running.ending_here(file) or running.current(file)
    if run is not None and not run.settled and (run is running.ending_here(file) or running.sent_by_tracer()):
        run.closing.append(whole)
        return
    scope.whole = [*getattr(scope, "whole", ()), (file, whole)]


def whole_now(file: File) -> list[tuple[str, int | None]]:
    """The chords of which this thread sends the last member now."""
    waiting = getattr(scope, "whole", None)
    if not waiting:
        return []
    scope.whole = [one for one in waiting if one[0] is not file]
    return [whole for where, whole in waiting if where is file]


def closing_with(file: File, taken: Taking) -> list[tuple[str, int | None]]:
    """The groups that close with what was taken down, as that is sent now."""
    outer = taking_here(file)
    if outer is not None:
        outer.closing += taken.closing
        return []
    return [*whole_now(file), *taken.closing]
