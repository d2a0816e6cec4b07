"""A run wakes: in the transaction of what it waited for, so that no wake-up is lost.

What it waited for is written into the step row that waits, and the run becomes pending. One that runs at the moment
finds it there when it suspends, which looks again (suspend.py).
"""

from __future__ import annotations

from liteq.exceptions import TaskRevokedError
from liteq.message import Flag
from liteq.serialization import encode_error
from liteq.storage.driver import LOCK, Transaction
from liteq.storage.rows import results
from liteq.storage.rows.payloads import BESIDE, INLINE_BYTES, RESULT_COLUMN
from liteq.utils.records import NamedTuple

__all__ = [
    "HELD", "SLOT", "Waiting", "child_ended", "deliver", "end_step", "free_memo", "give_back",
    "lock_memo", "waiting_for", "wake",
]  # fmt: skip

WAKE = f"""
UPDATE liteq_messages SET state = 'pending', due_ms = :now_ms, delay_ms = NULL
 WHERE seq = :run AND (state = 'blocked' OR state = 'scheduled') AND flags & {Flag.HISTORY} <> 0
   AND NOT EXISTS (SELECT 1 FROM liteq_runs AS r WHERE r.run = :run AND r.parked IS NOT NULL)
"""
# One that waits for so many children, or for none that fails.
WAKE_BY_CHILD = f"""
UPDATE liteq_messages SET state = 'pending', due_ms = :now_ms, delay_ms = NULL
 WHERE seq = :run AND (state = 'blocked' OR state = 'scheduled') AND flags & {Flag.HISTORY} <> 0
   AND EXISTS (
        SELECT 1 FROM liteq_runs AS r
         WHERE r.run = :run AND r.parked IS NULL AND (r.need <= 0 OR (r.fragile = 1 AND :failed = 1)))
"""
# The run before its step, as a suspension locks them, and before it is known whether the run waits.
WAITS_FOR_CHILD = f"""
SELECT s.run, s.gen, s.scope, s.pos, m.queue FROM liteq_messages AS m JOIN liteq_steps AS s ON s.run = m.seq
 WHERE s.child = ? AND s.child IS NOT NULL AND s.ended_ms IS NULL {LOCK}
"""
CHILD = f"SELECT m.awaits, {RESULT_COLUMN}, m.error FROM liteq_messages AS m WHERE m.id = ?"
COUNT_END = """
UPDATE liteq_runs
   SET ends = ends + 1, fails = fails + :failed, need = CASE WHEN :news = 1 THEN need ELSE need - 1 END,
       news = CASE WHEN :news = 1 THEN 1 ELSE news END
 WHERE run = :run AND gen = :gen
"""
END = """
UPDATE liteq_steps
   SET output = :output, error = :error, due_ms = NULL, waited = NULL, ended_ms = :now_ms,
       ended = (SELECT r.ends FROM liteq_runs AS r WHERE r.run = :run)
 WHERE run = :run AND gen = :gen AND scope = :scope AND pos = :pos AND ended_ms IS NULL
"""
END_BODY = """
INSERT INTO liteq_step_bodies (run, gen, scope, pos, body) VALUES (:run, :gen, :scope, :pos, :body)
ON CONFLICT (run, gen, scope, pos) DO UPDATE SET body = excluded.body
"""
WAITING = f"""
SELECT run, gen, scope, pos, details, started_ms FROM liteq_steps
 WHERE waited = :waited AND waited IS NOT NULL AND ended_ms IS NULL AND run = :run
   AND gen = (SELECT r.gen FROM liteq_runs AS r WHERE r.run = :run)
 ORDER BY started_ms, scope, pos LIMIT 1 {LOCK}
"""
WAITING_FOR_MEMO = """
SELECT run FROM liteq_steps WHERE waited = ? AND waited IS NOT NULL AND ended_ms IS NULL ORDER BY run
"""

NO_REASON = encode_error(TaskRevokedError("revoked"))

# A child of a `map` with a limit: `awaits` says whether it has a slot or waits for one. Neither is the id of a message.
SLOT, HELD = "slot ", "held "
NEXT_OF_SLOT = f"""
SELECT seq, queue FROM liteq_messages WHERE awaits = ? AND state = 'blocked' ORDER BY seq LIMIT 1 {LOCK}
"""
GIVE_SLOT = """
UPDATE liteq_messages SET state = 'pending', awaits = :held, due_ms = :now_ms WHERE seq = :seq AND state = 'blocked'
"""


class Waiting(NamedTuple):
    """The place of an open row that waits for something by name."""

    run: int
    gen: int
    scope: str
    pos: int
    details: bytes | None
    started_ms: int


def wake(tx: Transaction, run: int, *, now_ms: int) -> bool:
    """Let a suspended run go on, unless it is parked; whether it does."""
    return tx.executemany(WAKE, [{"run": run, "now_ms": now_ms}]) > 0


def end_step(
    tx: Transaction, place: Waiting, *, output: bytes | None, error: bytes | None = None, now_ms: int,
    news: bool = False,
) -> None:  # fmt: skip
    """End an open row: it gets the next number among those that ended in its run.

    `news`: no child, but something that a body which runs at the moment does not know of.
    """
    where = {"run": place.run, "gen": place.gen, "scope": place.scope, "pos": place.pos}
    failed = int(error is not None)
    tx.executemany(COUNT_END, [{"run": place.run, "gen": place.gen, "failed": failed, "news": int(news)}])
    large = output is not None and len(output) > INLINE_BYTES
    own = BESIDE if large else output
    tx.executemany(END, [{**where, "output": own, "error": error, "now_ms": now_ms}])
    if large:
        tx.executemany(END_BODY, [{**where, "body": output}])


def child_ended(
    tx: Transaction, id_: str, *, ok: bool, error: bytes | None, now_ms: int, slot: str | None = None
) -> set[str]:
    """Copy the end of a child into the row that waits for it, and hand its slot on; the queues of what woke.

    `slot`: the `awaits` of a child whose message is gone.
    """
    output, woke = None, set[str]()
    for awaits, result, _ in tx.execute(CHILD, (id_,)):
        slot = awaits
        output = result if result is not None else b"null"
    for run, gen, scope, pos, queue in tx.execute(WAITS_FOR_CHILD, (id_,)):
        waiting = Waiting(run, gen, scope, pos, None, 0)
        whole = None if ok or error is None else results.whole(tx, error)
        end_step(tx, waiting, output=output if ok else None, error=None if ok else whole or NO_REASON, now_ms=now_ms)
        params = {"run": waiting.run, "now_ms": now_ms, "failed": int(not ok)}
        if tx.executemany(WAKE_BY_CHILD, [params]):
            woke.add(queue)
    return woke | give_back(tx, slot, now_ms=now_ms)


def give_back(tx: Transaction, slot: str | None, *, now_ms: int) -> set[str]:
    """Hand a slot on, the `awaits` of a child that has one, and that has ended or awaits something else from now on.

    The queue of who has it now; none where nobody waits for it.
    """
    if slot is None or not slot.startswith(HELD):
        return set()
    return hand_on(tx, slot.removeprefix(HELD), now_ms=now_ms)


def hand_on(tx: Transaction, slot: str, *, now_ms: int) -> set[str]:
    """Let the next child that waits for `slot` run; its queue, none where there is no such child."""
    for seq, queue in tx.execute(NEXT_OF_SLOT, (SLOT + slot,)):
        if tx.executemany(GIVE_SLOT, [{"seq": seq, "held": HELD + slot, "now_ms": now_ms}]):
            return {queue}
    return set()


def waiting_for(tx: Transaction, run: int, waited: str) -> Waiting | None:
    """The oldest open row of a run that waits for this; None where none does."""
    for row in tx.execute(WAITING, {"run": run, "waited": waited}):
        return Waiting._make(row)
    return None


def deliver(tx: Transaction, run: int, waited: str, output: bytes, *, now_ms: int) -> tuple[bool, bool]:
    """Give `output` to the oldest row that waits for this: whether there is one, and whether the run woke by it."""
    place = waiting_for(tx, run, waited)
    if place is None:
        return False, False
    end_step(tx, place, output=output, now_ms=now_ms, news=True)
    return True, wake(tx, run, now_ms=now_ms)


def lock_memo(tx: Transaction, key: str) -> None:
    """Have no other transaction claim, store, free or wait for the memo under `key` until this one has ended.

    For engines with several writers: one that waits sees the result, or who stores it sees the wait.
    """
    tx.in_turn(f"liteq_memo {key}")


def free_memo(tx: Transaction, key: str, *, first: bool, now_ms: int) -> bool:
    """Wake the runs that wait for the memo under `key`, or only the `first`, which is to compute it."""
    woke = False
    for (run,) in tx.execute(WAITING_FOR_MEMO, (f"memo {key}",)):
        woke |= wake(tx, run, now_ms=now_ms)
        if first and woke:
            break
    return woke
