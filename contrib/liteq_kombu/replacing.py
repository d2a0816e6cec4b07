"""A task that replaces itself by others: its row awaits them, under the id that it has.

What follows it stays behind it, and what counts it goes on counting it, for it has not ended.
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

# `whole`: the chords of which this thread is about to send the last member; `headers`: those that it sends
scope = threading.local()


class Header:
    """The members of a chord that this thread sends, held back: one transaction, and one wait for the disk, for many.

    Nobody has been told of them before the last is sent. If the sender dies, the members still held are not sent.
    """

    def __init__(self, file: File, groups: Iterable[str]) -> None:
        self.file = file
        self.groups = frozenset(groups)
        self._rows: dict[str | None, dict[str, Message]] = {}  # by their groups, and ids: kombu tries again
        self._count = self._bytes = 0

    def hold(self, row: Message) -> None:
        """Keep `row` until the rest comes. At 500 rows or 4 MB, send all that are held."""
        members = self._rows.setdefault(row.group_id, {})
        if row.id not in members:
            members[row.id] = row
            self._count += 1
            self._bytes += len(row.payload)
        if self._count >= HELD_ROWS or self._bytes >= HELD_BYTES:
            self.send()

    def send(self) -> None:
        """Send what is held. What could not be written is held on."""
        for group_id, members in list(self._rows.items()):
            self.file.storage.groups.enter(Batch(list(members.values())), again=list(members))
            del self._rows[group_id]
        self._count = self._bytes = 0


def own_of(run: Run | None, rows: list[Message]) -> Message | None:
    """The one of `rows` is the task that runs here: it replaces itself by what comes before that."""
    if run is None or run.settled:
        return None
    return next((row for row in rows if row.id == run.lease.id), None)


def retried_as(run: Run, row: Message) -> RetryAt:
    """The outcome by which the task that runs is `row` from now on, which awaits something."""
    found = run.retry_as(row)
    return replace(found, awaits=row.awaits, takes_input=bool(row.flags & Flag.TAKES_INPUT))


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
    """Send a message of this process's own; it takes its place where it is a member of a chord."""
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
    """Hold the members of these groups, a header, back until the last of them is sent."""
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
    scope.whole = [*getattr(scope, "whole", ()), (file, whole, sys._getframe(2))]  # Celery's, that sends the members


def whole_here(file: File) -> list[tuple[str, int | None]]:
    """The chords of which this thread sends the last member now. The others are sent before it."""
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
    """Forget the chords whose last member could not be sent: the call of Celery's that was to send it is over.

    Else the next message of this thread, whatever it is, would close them, and their bodies would wait for ever.
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
    """The groups that close with what was taken down, as that is sent now."""
    outer = taking_here(file)
    if outer is not None:
        outer.closing += taken.closing
        return []
    closing = whole_here(file)
    forget_whole(file)
    return [*closing, *taken.closing]
