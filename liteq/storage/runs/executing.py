"""The writes of a process that executes a run: each under the run's lease; a worker that lost it writes nothing.

The child writes its checkpoints itself (docs/adr/0020): one statement where nothing is amiss.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from liteq.exceptions import LeaseLost, RunCancelled
from liteq.message import Batch, Flag, Hold, Message, StepRow
from liteq.serialization import encode_error
from liteq.states import UNFINISHED, sql_list
from liteq.storage.canvases.follow import Waiter
from liteq.storage.canvases.standing import conflict
from liteq.storage.driver import LOCK, Driver, Promise, Transaction
from liteq.storage.rows.aside import rename
from liteq.storage.rows.payloads import INLINE_BYTES
from liteq.storage.runs.records import Asked, own_id
from liteq.storage.sending.enqueue import place
from liteq.storage.settling.endings import CANCELLED, cancel_children
from liteq.storage.steps import rows
from liteq.storage.steps.suspend import take_from_inbox
from liteq.storage.steps.wake import HELD, SLOT, Waiting, deliver, end_step
from liteq.utils.records import NamedTuple

__all__ = [
    "Slots", "add_marks", "asked", "cancel_places", "checkpoint", "checkpoint_one", "has_event", "hold_on",
    "leave_aside", "mark_compensated", "obey", "record", "rows_at", "show", "spawn", "take_back", "take_event",
]  # fmt: skip

LOOK = """
SELECT m.id, m.flags, r.asked, r.reason FROM liteq_messages AS m JOIN liteq_runs AS r ON r.run = m.seq
 WHERE m.seq = ? AND m.state = 'leased' AND m.token = ?
"""
HELD_BY = f"{LOOK} {LOCK}"
HAS_EVENT = """
SELECT EXISTS (SELECT 1 FROM liteq_inbox AS i WHERE i.run_id = m.id AND i.name = ? AND i.taken = 0)
  FROM liteq_messages AS m WHERE m.seq = ? AND m.state = 'leased' AND m.token = ?
"""
STANDS = "SELECT 1 FROM liteq_messages WHERE id = ?"
ID = "SELECT id FROM liteq_messages WHERE seq = ?"
OBEYED = f"UPDATE liteq_messages SET flags = flags & {~Flag.ASKED} WHERE seq = ?"
SPAWNED = "UPDATE liteq_runs SET spawned = spawned + ? WHERE run = ?"
RUNNING = f"SELECT count(*) FROM liteq_messages WHERE awaits = ? AND state IN {sql_list(UNFINISHED)}"
# A child that another call stands for takes no slot: it awaits that one, or has ended.
RUNS_ITSELF = f"""
SELECT 1 FROM liteq_messages WHERE id = ? AND flags & {Flag.ALIAS} = 0 AND state IN {sql_list(UNFINISHED)}
"""
HAS_SLOT = "UPDATE liteq_messages SET awaits = ? WHERE id = ?"
WAITS_FOR_SLOT = "UPDATE liteq_messages SET awaits = ?, state = 'blocked' WHERE id = ?"
CHILD_AT = """
SELECT child FROM liteq_steps
 WHERE run = ? AND gen = ? AND scope = ? AND pos = ? AND child IS NOT NULL AND ended_ms IS NULL
"""
UNTAKE = """
UPDATE liteq_steps SET output = NULL, error = ? WHERE run = ? AND gen = ? AND scope = ? AND pos = ?
"""
IN_FRONT = """
INSERT INTO liteq_inbox (id, run_id, name, payload, taken, created_ms)
SELECT coalesce(min(id), 1) - 1, ?, ?, ?, 0, ? FROM liteq_inbox
"""
MARKS = "SELECT marks FROM liteq_runs WHERE run = ?"  # no lock: only the holder of the lease writes them
SET_MARKS = "UPDATE liteq_runs SET marks = ? WHERE run = ?"
SHOW = """
UPDATE liteq_runs SET now = :now
 WHERE run = :run AND EXISTS (
    SELECT 1 FROM liteq_messages AS m WHERE m.seq = :run AND m.state = 'leased' AND m.token = :token)
"""
COMPENSATED = """
UPDATE liteq_runs SET compensated = 1
 WHERE run = :run AND EXISTS (
    SELECT 1 FROM liteq_messages AS m WHERE m.seq = :run AND m.state = 'leased' AND m.token = :token)
"""


LOST_RACE = "the race was decided"


class _Held(NamedTuple):
    id: str
    flags: int
    asked: str | None
    reason: str


class Slots(NamedTuple):
    """The limit of one `map`: its `name`, unique in the run's generation, and how many may run at once."""

    name: str
    limit: int


def hold_on(tx: Transaction, hold: Hold) -> _Held:
    """The run under `hold`, locked. Raises LeaseLost."""
    for row in tx.execute(HELD_BY, (hold.run, hold.token)):
        return _Held._make(row)
    raise _lost(tx, hold)


def _lost(tx: Transaction, hold: Hold) -> LeaseLost:
    for (id_,) in tx.execute(ID, (hold.run,)):
        return LeaseLost(id_)
    return LeaseLost(f"run {hold.run}")


def obey(tx: Transaction, hold: Hold, held: _Held) -> Asked | None:
    """The request to the run: told once, what it checkpoints from now on is its clean-up."""
    if not held.flags & Flag.ASKED:
        return None
    tx.executemany(OBEYED, [(hold.run,)])
    return Asked(held.asked, held.reason) if held.asked is not None else None


def asked(tx: Transaction, hold: Hold) -> Asked | None:
    """The request to the run that is not told yet; a read. Raises LeaseLost."""
    for row in tx.execute(LOOK, (hold.run, hold.token)):
        held = _Held._make(row)
        return Asked(held.asked, held.reason) if held.flags & Flag.ASKED and held.asked is not None else None
    raise _lost(tx, hold)


def checkpoint_one(driver: Driver, hold: Hold, step: StepRow) -> bool:
    """Record a call by one statement; False where that takes a look: it was not written, or nobody knows."""
    output = step.output
    if output is not None and len(output) > INLINE_BYTES:
        return False
    first = rows.first_params(hold, step)
    if first is not None:
        return driver.change(rows.CHECKPOINT_FIRST, first, Promise.RECORDED) == 1
    return driver.change(rows.CHECKPOINT, rows.checkpoint_params(hold, step), Promise.RECORDED) == 1


def checkpoint(tx: Transaction, hold: Hold, step: StepRow) -> Asked | None:
    """Record a call, whatever is asked; what is. Raises LeaseLost."""
    held = hold_on(tx, hold)
    rows.write(tx, hold.run, hold.gen, [step])
    return obey(tx, hold, held)


def record(tx: Transaction, hold: Hold, step: StepRow) -> tuple[bool, Asked | None]:
    """Record a call whose effect belongs to this transaction: whether it is to be made now, or what is asked instead.

    Where something is asked nothing is written: the call is made again, or not at all. Raises LeaseLost.
    """
    told = obey(tx, hold, hold_on(tx, hold))
    if told is not None:
        return False, told
    return rows.write_new(tx, hold.run, hold.gen, [step]) == 1, None


def take_back(
    tx: Transaction, hold: Hold, steps: Sequence[StepRow], aside: Iterable[StepRow]
) -> tuple[Asked | None, list[StepRow]]:
    """Write rows that stood aside at the places where their calls were made again, and delete the rows `aside`.

    The rows as they are then: their children have their own ids back, where nothing else has got these meanwhile.
    Where something is asked of the run, nothing is done, as in `record`. Raises LeaseLost.
    """
    told = obey(tx, hold, hold_on(tx, hold))
    if told is not None:
        return told, [*steps]
    rows.delete(tx, hold.run, hold.gen, aside)
    steps = _under_their_ids(tx, steps)
    rows.write_new(tx, hold.run, hold.gen, steps)
    return None, steps


def _under_their_ids(tx: Transaction, steps: Sequence[StepRow]) -> list[StepRow]:
    """Give the children of calls that stood aside their own ids back; the rows of the calls."""
    own = {step.child: own_id(step.child) for step in steps if step.child is not None and step.kind != "send"}
    changes = [{"id": child, "to": to} for child, to in own.items() if to != child]
    if rename(tx, changes, free=True) < len(changes):
        for change in changes:
            if tx.execute(STANDS, (change["id"],)):  # its own is in use by now
                del own[change["id"]]
    return [step._replace(child=own.get(step.child or "", step.child)) for step in steps]


def leave_aside(tx: Transaction, hold: Hold, aside: Iterable[StepRow]) -> None:
    """Delete rows that still stand aside: the body has ended well without them. Raises LeaseLost."""
    hold_on(tx, hold)
    rows.delete(tx, hold.run, hold.gen, aside)


def spawn(
    tx: Transaction, hold: Hold, steps: Sequence[StepRow], batch: Batch, *, slots: Slots | None, now_ms: int,
    again: Collection[str] = (),
) -> Asked | None:  # fmt: skip
    """Record calls and send what they stand for. Where something is asked, nothing is sent.

    Raises LeaseLost, and CanvasConflict where what is to be waited for has the id of something that has not ended.
    """
    held = hold_on(tx, hold)
    told = obey(tx, hold, held)
    if told is not None:
        return told
    fresh = [step for step in steps if rows.write_new(tx, hold.run, hold.gen, [step])]
    if not fresh:
        return None
    known = {step.child for step in steps} - {step.child for step in fresh}
    waited = {step.child for step in fresh if step.ended_ms is None}
    aliased = {m.awaits for m in batch.messages if m.flags & Flag.ALIAS}
    messages = [_awaited(m, waited, aliased) for m in batch.messages if m.id not in known]
    # A child whose unique key is held follows the holder: the run waits for it by its own id.
    waiter = Waiter(held.id, {step.child for step in fresh if step.child is not None})
    placed = place(tx, Batch(messages, batch.groups), now_ms=now_ms, again=again, waiter=waiter)
    for taken in waited.intersection(placed.standing):  # its end is told to its own parent, if it has one
        chosen = next((m.awaits for m in messages if m.id == taken and m.flags & Flag.ALIAS), taken)
        raise conflict(str(chosen), "belongs to what is in the queue already")
    if slots is not None:
        keyed = {m.id for m in messages if m.unique_key is not None}
        own = [step.child for step in fresh if step.child is not None]
        _give_slots(tx, hold, slots, [id_ for id_ in own if id_ not in keyed or tx.execute(RUNS_ITSELF, (id_,))])
    tx.executemany(SPAWNED, [(len(waited), hold.run)])
    return None


def _awaited(message: Message, children: Collection[str | None], aliased: Collection[str | None]) -> Message:
    """`message`, known to have followers where a step row waits for it, or an alias stands for it."""
    if message.id in children:
        return replace(message, flags=message.flags | Flag.CHILD | Flag.LINKED)
    if message.id in aliased:
        return replace(message, flags=message.flags | Flag.LINKED)
    return message


def _give_slots(tx: Transaction, hold: Hold, slots: Slots, children: Sequence[str]) -> None:
    """Let as many of `children` run as the limit leaves room for; the others wait for a slot."""
    name = f"{hold.run} {hold.gen} {slots.name}"
    room = max(0, slots.limit - int(tx.execute(RUNNING, (HELD + name,))[0][0]))
    tx.executemany(HAS_SLOT, [(HELD + name, child) for child in children[:room]])
    tx.executemany(WAITS_FOR_SLOT, [(SLOT + name, child) for child in children[room:]])


def has_event(tx: Transaction, hold: Hold, name: str) -> bool:
    """Whether an event of `name` is in the run's inbox; a read. Raises LeaseLost."""
    for (found,) in tx.execute(HAS_EVENT, (name, hold.run, hold.token)):
        return bool(found)
    raise _lost(tx, hold)


def take_event(tx: Transaction, hold: Hold, step: StepRow, name: str, *, now_ms: int) -> StepRow | None:
    """Take the oldest event of `name` out of the inbox and record it; None, and nothing is written: there is none."""
    held = hold_on(tx, hold)
    if held.flags & Flag.ASKED:
        return None
    place_ = Waiting(hold.run, hold.gen, step.scope, step.pos, None, 0)
    if not rows.has_event(tx, held.id, name):
        return None
    rows.write(tx, hold.run, hold.gen, [step])
    take_from_inbox(tx, held.id, name, place_, now_ms=now_ms)
    return rows.read_one(tx, hold.run, hold.gen, step.scope, step.pos)


def rows_at(tx: Transaction, hold: Hold, places: Iterable[tuple[str, int]]) -> list[StepRow]:
    """The rows at those of these places where something is recorded."""
    found = (rows.read_one(tx, hold.run, hold.gen, *place_) for place_ in places)
    return [row for row in found if row is not None]


def cancel_places(
    tx: Transaction, hold: Hold, places: Iterable[tuple[str, int]], *, why: str, now_ms: int
) -> None:  # fmt: skip
    """Cancel the children of these calls, as far as they have not ended; end their waits. Raises LeaseLost."""
    held = hold_on(tx, hold)
    places = list(places)
    ids = [child for place_ in places for (child,) in tx.execute(CHILD_AT, (hold.run, hold.gen, *place_))]
    cancel_children(tx, ids, now_ms=now_ms, reason=CANCELLED)
    for place_ in places:
        step = rows.read_one(tx, hold.run, hold.gen, *place_)
        if step is not None and step.child is None and step.kind in ("event", "timer", "sleep", "approval"):
            _give_up_wait(tx, hold, held.id, step, why=why, now_ms=now_ms)


def _give_up_wait(tx: Transaction, hold: Hold, run_id: str, step: StepRow, *, why: str, now_ms: int) -> None:
    """End a wait that a race, or a branch, has lost interest in; the event that it has got is the next one's."""
    error = encode_error(RunCancelled(why))
    if step.ended_ms is None:
        waiting = Waiting(hold.run, hold.gen, step.scope, step.pos, None, 0)
        end_step(tx, waiting, output=None, error=error, now_ms=now_ms)
    elif step.output is not None and step.error is None:
        if step.kind == "event" and not deliver(tx, hold.run, f"event {step.name}", step.output, now_ms=now_ms)[0]:
            tx.executemany(IN_FRONT, [(run_id, step.name, step.output, now_ms)])
        tx.executemany(UNTAKE, [(error, hold.run, hold.gen, step.scope, step.pos)])


def add_marks(tx: Transaction, hold: Hold, marks: bytes) -> None:
    """Add `marks` to those of the run."""
    for (known,) in tx.execute(MARKS, (hold.run,)):
        tx.executemany(SET_MARKS, [(rows.joined(known, marks), hold.run)])


def show(tx: Transaction, executing: Iterable[tuple[int, int, bytes | None]]) -> None:
    """Note what runs execute: (row number, token, JSON)."""
    tx.executemany(SHOW, [{"run": run, "token": token, "now": now} for run, token, now in executing])


def mark_compensated(driver: Driver, hold: Hold) -> bool:
    """Note that a compensation is about to run; False where the lease is over."""
    return driver.change(COMPENSATED, {"run": hold.run, "token": hold.token}) == 1
