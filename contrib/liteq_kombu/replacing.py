"""Tasks that replace themselves, and the members of chords on their way into the file.

A task that replaces itself keeps its row and its id: the row waits for the new tasks, and then takes their result. The
task has not ended yet, so what follows it, and a group that counts it, stay as they are.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from liteq.message import Batch, Flag, Message, RetryAt
from liteq_kombu import running
from liteq_kombu.running import Run
from liteq_kombu.taking import Taking, as_awaited, embedded, final_id, rows_behind, taking_here

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = ["close", "closing_with", "hold_members", "own_of", "replaces", "retried_as", "send"]

HELD_ROWS: Final = 500
HELD_BYTES: Final = 4_000_000
HELD_CHORDS: Final = 100  # of a sender that failed in the middle of each: the oldest is forgotten

# `whole`: the chords whose last member this thread is about to send; `headers`: the chords that it is sending
scope = threading.local()


class Header:
    """The members of a chord that this thread sends, kept in memory so that many go into one transaction.

    The sender's call returns when the last one is written. If it dies before, the members still in memory are not sent.
    """

    def __init__(self, file: File, groups: Iterable[str]) -> None:
        self.file = file
        self.groups = frozenset(groups)
        self._rows: dict[str | None, dict[str, Message]] = {}  # by their groups, and ids: kombu tries again
        self._count = self._bytes = 0

    def hold(self, row: Message) -> None:
        """Keep `row` in memory until the last member comes. At 500 rows or 4 MB, write all that are kept."""
        members = self._rows.setdefault(row.group_id, {})
        if row.id not in members:
            members[row.id] = row
            self._count += 1
            self._bytes += len(row.payload)
        if self._count >= HELD_ROWS or self._bytes >= HELD_BYTES:
            self.send()

    def send(self) -> None:
        """Write what is kept in memory. Rows of a group that could not be written stay there."""
        for group_id, members in list(self._rows.items()):
            self.file.storage.groups.enter(Batch(list(members.values())), again=list(members))
            del self._rows[group_id]
        self._count = self._bytes = 0


def own_of(run: Run | None, rows: list[Message]) -> Message | None:
    """The row among `rows` with the id of the task that runs here; None where there is none.

    Such a task replaces itself: the rows before it run first.
    """
    if run is None or run.settled:
        return None
    return next((row for row in rows if row.id == run.lease.id), None)


def retried_as(run: Run, row: Message) -> RetryAt:
    """The outcome that makes the running task wait once more: it becomes `row`, which awaits other tasks."""
    found = run.retry_as(row)
    return replace(found, awaits=row.awaits, takes_input=bool(row.flags & Flag.TAKES_INPUT))


def replaces(file: File, row: Message) -> bool:
    """Replace the task that runs here by a chain that begins with `row`. False where it does not replace itself.

    The chain is written as rows. Its last link has the id of the running task, whose row is in the file already: that
    row awaits the link before it.
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
        also = Batch(rows, closing=closing)
        lost = file.patiently(lambda: file.storage.settle([settling], also=also))
        run.settled = True  # not where it raised: kombu tries again
        if lost:  # another worker has it, and goes on with it
            running.say_once(run.lease.id, "a task was replaced after its lease: that is dropped")
    return True


def _app() -> Any:
    from celery import current_app

    return current_app._get_current_object()


def send(file: File, row: Message) -> None:
    """Write a message that this process sends. A member of a chord goes to its place in the group."""
    closing = whole_here(file)
    batch = Batch([row], closing=closing)
    if closing:
        file.storage.groups.enter(batch, again=(row.id,))
        forget_whole(file)  # it is written now: kombu tries again what raised
    elif row.group_id is None:
        file.storage.enqueue(batch, again=(row.id,))
    elif (header := _header_with(file, row.group_id)) is not None:
        header.hold(row)
    else:
        file.storage.groups.enter(batch, again=(row.id,))


def hold_members(file: File, groups: Iterable[str]) -> None:
    """Keep the members of `groups`, the header of one chord, in memory until the last of them is sent."""
    run = running.ending_here(file) or running.current(file)
    if taking_here(file) is None and (run is None or run.settled or run.ending is None):
        headers = getattr(scope, "headers", [])
        scope.headers = [*headers[-HELD_CHORDS + 1 :], Header(file, frozenset(groups))]


def _header_with(file: File, group_id: str) -> Header | None:
    headers = reversed(getattr(scope, "headers", ()))
    return next((one for one in headers if one.file is file and group_id in one.groups), None)


def close(file: File, group_id: str, size: int) -> None:
    """Say that the last member of a chord is about to be sent: the chord closes in the transaction that sends it.

    A sender that dies before has closed nothing, and the chord is given up. Else it would wait for a member that nobody
    sends.
    """
    # A group that keeps places knows its size. That of a plain iterator has none: Celery's count is its size.
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
    scope.whole = [*getattr(scope, "whole", ()), (file, whole, sys._getframe(2))]  # Celery's, that sends the members


def whole_here(file: File) -> list[tuple[str, int | None]]:
    """The chords whose last member this thread sends now. Their other members are written first."""
    if getattr(scope, "whole", None):
        _forget_broken_off()
    closing = [whole for where, whole, _ in getattr(scope, "whole", ()) if where is file]
    for group_id, _ in closing:
        header = _header_with(file, group_id)
        if header is not None:
            header.send()
            scope.headers.remove(header)
    return closing


def _forget_broken_off() -> None:
    """Forget the chords whose last member could not be sent, as the call of Celery's that sends it is over.

    Otherwise the next message of this thread would close them, and their bodies would wait for ever.
    """
    frame: FrameType | None = sys._getframe()
    running_calls = set()
    while frame is not None:
        running_calls.add(frame)
        frame = frame.f_back
    for file, (group_id, _), call in scope.whole:
        header = _header_with(file, group_id) if call not in running_calls else None
        if header is not None:
            scope.headers.remove(header)
    scope.whole = [one for one in scope.whole if one[2] in running_calls]


def forget_whole(file: File) -> None:
    """Note that the last members have been sent."""
    scope.whole = [one for one in getattr(scope, "whole", ()) if one[0] is not file]


def closing_with(file: File, taken: Taking) -> list[tuple[str, int | None]]:
    """The groups to close in the transaction that writes `taken`."""
    outer = taking_here(file)
    if outer is not None:
        outer.closing += taken.closing
        return []
    closing = whole_here(file)
    forget_whole(file)
    return [*closing, *taken.closing]
