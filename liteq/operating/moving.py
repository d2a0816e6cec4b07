"""Moving all that waits from one store to another, with nobody at work: `liteq move` (docs/adr/0035).

Every step is a transaction, and both stores say how far the move has come. So a move that was killed goes on where it
was: shut both ends, copy all, note that all is there, delete it at the source, open the source, open the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from secrets import randbits

from liteq.context.identity import Presence, is_dead, is_here, presence
from liteq.context.living import LATE_MS, RESTS
from liteq.exceptions import LiteqError, StorageError
from liteq.storage.claiming.workers import WorkerRecord, workers
from liteq.storage.driver import Bell, Promise, Transaction
from liteq.storage.moving import gate, rows
from liteq.storage.moving.gate import Note, Role
from liteq.storage.moving.tables import INBOX, MESSAGES, MOVED
from liteq.storage.steps.closing import shifted
from liteq.storage.storage import Storage
from liteq.utils.records import NamedTuple
from liteq.utils.text import iso_time

__all__ = ["MoveRefused", "Progress", "Standing", "give_up", "look", "move"]

GROUPS, BLOBS = "liteq_groups", "liteq_graph_blobs"
COPYING, DELETING, DONE = "copying", "deleting", "done"


class MoveRefused(LiteqError):
    """Raised where somebody is at work, or the target is another's; nothing was changed."""


class Progress(NamedTuple):
    """A step that is done: `doing` is "copying", "deleting" or "done"; `n` rows of `total` by now."""

    doing: str
    n: int
    total: int


class Standing(NamedTuple):
    """Two stores before a step. `begun`: the move that both, or one of them, are ends of.

    `counts`: how many rows are to go at the source, by table. `arrived`: the target is complete, and only shut.
    """

    begun: Note | None
    counts: Mapping[str, int]
    arrived: bool = False

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to move."""
        return self.begun is None and not any(self.counts.values())


def place_number(storage: Storage) -> int:
    """A number for the place of a store, so that a move is not finished to another one."""
    return int.from_bytes(blake2b(storage.driver.where().encode(), digest_size=6).digest())


def look(source: Storage, target: Storage | None) -> Standing:
    """How two stores stand to each other; None for a target that is not there yet. A read.

    Raises MoveRefused where one of them is an end of another move, or somebody is at work.
    """
    with source.driver.read() as tx:
        ours, past = gate.note(tx), gate.past(tx)
        counts = {table: rows.count(tx, table) for table in MOVED} if ours is None else {}
    theirs = None
    if target is not None:
        with target.driver.read() as tx:
            theirs = gate.note(tx)
    _same_move(source, ours, target, theirs, past)
    if ours is None and theirs is not None:
        return Standing(theirs, {}, arrived=True)
    standing = Standing(ours, counts)
    if ours is None and any(counts.values()):
        with source.driver.read() as tx:
            _nobody_at_work(source, tx)
        if target is not None:
            with target.driver.read() as tx:
                _nobody_at_work(target, tx)
                _is_free(source, target, tx)
    return standing


def _same_move(source: Storage, ours: Note | None, target: Storage | None, theirs: Note | None, past: int) -> None:
    if ours is not None and ours.role != Role.SOURCE:
        raise MoveRefused(f"{source.driver.where()} is the target of a move that has not ended: finish that one first")
    if ours is not None and target is not None and ours.other != place_number(target):
        raise MoveRefused(
            f"{source.driver.where()} is being moved, but not to {target.driver.where()}: name the same target again, "
            "as it was written then"
        )
    if target is None or theirs is None:
        if ours is not None and ours.gone:
            raise MoveRefused(f"{source.driver.where()} has been moved, but not to this target: name the same again")
        return
    if theirs.role != Role.TARGET or theirs.move != (past if ours is None else ours.move):
        raise MoveRefused(
            f"{target.driver.where()} is an end of another move that has not ended: finish that one first"
        )


def _nobody_at_work(storage: Storage, tx: Transaction, *, leases: bool = False) -> None:
    """Raises MoveRefused where a worker lives, and with `leases` where one may still work under a lease."""
    now_ms = storage.clock.now_ms()
    alive = [one.name for one in workers(tx) if _is_living(storage, one, now_ms)]
    if alive:
        raise MoveRefused(f"workers live at {storage.driver.where()}: {', '.join(alive)}; stop them first")
    n, _, last_ms = gate.leased(tx)
    if leases and n:
        until = f", the last of them until {iso_time(last_ms)}" if last_ms else ""
        raise MoveRefused(
            f"at {storage.driver.where()} messages are leased by workers that fell silent ({n:,}{until}): wait until "
            "the leases have ended, then call this again"
        )


def _is_living(storage: Storage, one: WorkerRecord, now_ms: int) -> bool:
    fresh = abs(now_ms - one.heartbeat_ms) <= LATE_MS and not _is_gone(storage, one)
    return fresh or (bool(one.facts.get(RESTS)) and presence(one.identity) is Presence.ALIVE)


def _is_gone(storage: Storage, one: WorkerRecord) -> bool:
    """Whether a worker is known to have ended. Of another machine nothing is known: its name may be another's too."""
    return is_dead(one.identity) and (storage.driver.one_machine or is_here(one.identity))


def _is_free(source: Storage, target: Storage, tx: Transaction) -> None:
    n = rows.count(tx, MESSAGES)
    if n or rows.count(tx, GROUPS):
        raise MoveRefused(
            f"the target {target.driver.where()} holds messages of its own ({n:,} that wait or are dead letters): let "
            "workers finish them, or name an empty queue"
        )
    with source.driver.read(alone=True) as ours:
        graphs = rows.count(ours, BLOBS)
    if graphs and rows.count(tx, BLOBS):
        raise MoveRefused(
            f"{source.driver.where()} and the target {target.driver.where()} both hold checkpoints of LangGraph, which "
            "cannot be put together: name a target that has none"
        )


# -- the steps -------------------------------------------------------------------------------------------------------


def move(source: Storage, target: Storage) -> Iterator[Progress]:
    """Move all that waits; a step is told when it is done. Both stores are migrated, and no vault is over them.

    Nothing is told where there is nothing to move. Raises MoveRefused, and StorageError: call it again then.
    """
    standing = look(source, target)
    if standing.is_nothing:
        return
    if not standing.arrived:
        note = standing.begun
        if note is None:
            note = _shut_source(source, target)
            yield Progress(COPYING, 0, 0)
        yield from _fill(source, target, note)
        yield from _empty(source, target)
        yield Progress(DELETING, 0, 0)
    with target.driver.read() as tx:
        there = _note_of(tx)
        n = rows.arrived(tx, MESSAGES, there.shift)
    with target.driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
        gate.reopen(target.driver, tx, moved=None, now_ms=target.clock.now_ms())
    yield Progress(DONE, n, n)


def give_up(source: Storage) -> bool:
    """Open a source of which nothing has gone yet; False where it is none. Its target stays as it is, and shut."""
    with source.driver.write(Promise.ACCEPTED) as tx:
        note = gate.note(tx)
        if note is None:
            return False
        if note.role != Role.SOURCE or note.gone:
            raise MoveRefused(
                f"{source.driver.where()} cannot be opened: its messages are at the other end; finish the move"
            )
        gate.reopen(source.driver, tx, moved=None, now_ms=source.clock.now_ms())
    return True


def _shut_source(source: Storage, target: Storage) -> Note:
    """Take back what dead workers held, and shut the source."""
    source.bury_misfits()
    source.reap([one.id for one in source.reader.workers() if _is_gone(source, one)])
    with source.driver.write(Promise.ACCEPTED) as tx:
        note = Note(randbits(52) + 1, Role.SOURCE, place_number(target), tokens=tx.tokens(1))
        gate.shut(source.driver, tx, note)
        _nobody_at_work(source, tx, leases=True)
    return note


def _shut_target(source: Storage, target: Storage, ours: Note) -> Note:
    """Shut the target, unless it is; its note. Where that is refused, or fails, the source is opened as it was."""
    with target.driver.read() as tx:
        theirs = gate.note(tx)
    if theirs is not None:
        return theirs
    written = False
    try:
        with source.driver.read() as tx:
            below = min(0, rows.lowest(tx, INBOX) - 1)
        with target.driver.write(Promise.ACCEPTED) as tx:
            shift, inbox = rows.highest(tx, MESSAGES), rows.highest(tx, INBOX) - below
            note = ours._replace(role=Role.TARGET, other=place_number(source), shift=shift, inbox=inbox)
            gate.shut(target.driver, tx, note)
            _nobody_at_work(target, tx, leases=True)
            _is_free(source, target, tx)
            written = True
    except LiteqError:
        if not written:  # else it may be shut: the commit failed, perhaps in its answer alone
            give_up(source)
        raise
    return note


def _fill(source: Storage, target: Storage, ours: Note) -> Iterator[Progress]:
    """Copy all to the target, unless it is there; then note so at both ends."""
    if ours.gone:
        return
    theirs = _shut_target(source, target, ours)
    yield Progress(COPYING, 0, 0)
    with source.driver.read() as tx:
        counts = {table: rows.count(tx, table) for table in MOVED}
        sealed = gate.is_sealed(tx)
    total, n = sum(counts.values()), 0
    for table in MOVED:
        by = theirs.inbox if table == INBOX else theirs.shift
        for page in rows.pages(source.driver, table, _where_it_was(target, table, by)):
            new = page
            if table == INBOX:  # events of failed runs stand under the number of their run
                new = [(row[0], shifted(row[1], theirs.shift), *row[2:]) for row in page]
            with gate.sole(target.driver) as tx:
                rows.insert(tx, table, new, by)
            n += len(page)
            yield Progress(COPYING, n, total)
    _compare(target, counts, theirs)
    with gate.sole(target.driver) as tx:
        gate.settle_target(target.driver, tx, sealed=sealed, tokens=ours.tokens, now_ms=target.clock.now_ms())
    yield Progress(COPYING, total, total)
    with source.driver.write(Promise.ACCEPTED) as tx:
        gate.write_note(tx, ours._replace(gone=1))
    yield Progress(DELETING, 0, total)


def _where_it_was(target: Storage, table: str, by: int) -> tuple[int] | None:
    """The number at the source after which rows are still to come."""
    one = MOVED[table]
    if one.key != (one.number,):
        return None
    with target.driver.read(alone=True) as tx:
        highest = rows.highest(tx, table)
    return (highest - by * one.factor,) if highest >= (by + 1) * one.factor else None


def _compare(target: Storage, counts: Mapping[str, int], theirs: Note) -> None:
    """Before anything goes: is it all there?"""
    with target.driver.read() as tx:
        for table, wanted in counts.items():
            if MOVED[table].number and table != INBOX:  # of two events under one `dedup` only the first counts
                found = rows.arrived(tx, table, theirs.shift)
                if found != wanted:
                    raise StorageError(
                        f"{target.driver.where()} has {found:,} rows of {wanted:,} in {table}: nothing was deleted; "
                        "open the source again with `liteq move --give-up`"
                    )


def _empty(source: Storage, target: Storage) -> Iterator[Progress]:
    """Delete at the source all that is at the target, messages last, and open it."""
    with target.driver.read() as tx:
        theirs = _note_of(tx)
        total = sum(rows.arrived(tx, table, theirs.inbox if table == INBOX else theirs.shift) for table in MOVED)
    n = 0
    for table in sorted(MOVED, key=lambda table: table == MESSAGES):
        by = theirs.inbox if table == INBOX else theirs.shift
        for keys in rows.to_delete(source.driver, target.driver, table, by):
            with gate.sole(source.driver) as tx:
                n += rows.delete(tx, table, keys)
            yield Progress(DELETING, n, total)
    with source.driver.write(Promise.ACCEPTED) as tx:
        gate.reopen(source.driver, tx, moved=theirs.move, now_ms=source.clock.now_ms())


def _note_of(tx: Transaction) -> Note:
    note = gate.note(tx)
    if note is None:
        raise StorageError("somebody else has opened the target of the move meanwhile: compare both ends by hand")
    return note
