"""The verb *continue*: the consequences of the end of one message, inside the transaction that ends it.

Rows and groups form a graph: a blocked row awaits one id, which is a message or a group; a group is done when its count
of members not yet finished is zero; a group can itself be a member of a group. The end of a node travels along these
edges until nothing more ends by it, so that nothing waits for ever:

    a message succeeded   its awaiting rows are unblocked; its errbacks vanish
    a message failed      its errbacks are unblocked; its awaiting rows end as `upstream_failed`, and so on from there
    ... never began       its errbacks end as `upstream_failed` too: should a replay let it begin, they wait again
    a group is done       as a message: succeeded when all members have, else failed (then with a ChordError)
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from liteq.message import Flag, depth_of
from liteq.states import State
from liteq.storage.canvases.follow import take_keys
from liteq.storage.driver import AT_ONCE, LATER, LOCK, Row, Transaction
from liteq.storage.rows import payloads, results
from liteq.storage.rows.aside import come_back
from liteq.storage.steps.wake import child_ended
from liteq.utils.records import NamedTuple

__all__ = ["End", "catch_up", "propagate"]

# Not a run that has begun: it is blocked on something else by now, and keeps what it awaited as its input.
NOT_BEGUN: Final = f"flags & {Flag.HISTORY} = 0"
AWAITING = f"""
SELECT seq, id, flags, group_id, queue FROM liteq_messages
 WHERE awaits = ? AND state = 'blocked' AND {NOT_BEGUN} ORDER BY seq {LOCK}
"""
# Which of a batch of ends is awaited at all. No lock: each of them is held by its end, so who comes now waits for that.
LOOKED: Final = 32  # ids of one look
FEW: Final = 4  # each is looked at by itself
AWAITED = f"""
SELECT DISTINCT awaits FROM liteq_messages WHERE awaits IN ({", ".join("?" * LOOKED)}) AND state = 'blocked'
"""

# A row may carry an absolute due time (eta), a countdown from this moment (delay_ms), or neither: then it has the time
# of its sending, which is ahead where the clock was set back since, and means nothing.
UNBLOCK = f"""
UPDATE liteq_messages
   SET due_ms = CASE WHEN due_ms > created_ms AND due_ms > :now_ms + coalesce(delay_ms, 0) THEN due_ms
                     ELSE :now_ms + coalesce(delay_ms, 0) END,
       state = CASE WHEN (due_ms > created_ms AND due_ms > :now_ms) OR coalesce(delay_ms, 0) > 0 THEN 'scheduled'
                    ELSE 'pending' END
 WHERE seq = :seq AND state = 'blocked' {AT_ONCE} {LATER}
"""
VANISH = f"""
DELETE FROM liteq_messages
 WHERE awaits = :awaits AND state = 'blocked' AND (flags & :mask) = :mask AND {NOT_BEGUN}
RETURNING id, group_id, flags, options
"""
VANISH_GROUP = "DELETE FROM liteq_groups WHERE id = ? RETURNING id, group_id, 0, NULL"
FAIL = f"""
UPDATE liteq_messages SET state = 'upstream_failed', error = :error, finished_ms = :now_ms
 WHERE awaits = :awaits AND state = 'blocked' AND flags & :spared = 0 AND {NOT_BEGUN}
"""
CAUSED = f"""
UPDATE liteq_messages SET error = :error
 WHERE awaits = :awaits AND state = 'upstream_failed' AND flags & {Flag.CAUSE} <> 0
"""
WHOLE_ERROR = "UPDATE liteq_messages SET error = ? WHERE id = ?"
SUCCEED_ALIAS = """
UPDATE liteq_messages SET state = 'succeeded', result = :result, finished_ms = :now_ms
 WHERE seq = :seq AND state = 'blocked'
"""
COUNT_DOWN = f"UPDATE liteq_groups SET remaining = remaining - :n, failed = failed + :failed WHERE id = :id {LATER}"
COUNTED_DOWN = "SELECT remaining, failed, group_id FROM liteq_groups WHERE id = ?"
CLOSE_GROUP = f"UPDATE liteq_groups SET finished_ms = :now_ms WHERE id = :id {LATER}"
FLAGS_OF = "SELECT flags FROM liteq_messages WHERE id = ?"
# Locked: either the transaction that ends the awaited one sees the new row, or this look sees that end.
STATE_OF = f"SELECT state, error, group_id FROM liteq_messages WHERE id = ? {LOCK}"
GROUP_STATE = f"SELECT remaining, failed FROM liteq_groups WHERE id = ? {LOCK}"


class End(NamedTuple):
    """A message or a group that has just finished. `error`: why, when not `ok`.

    `errbacks`: whether its own errbacks are to run. A chord's body that could not start calls them; a later link of a
    broken chain does not, the link that broke has called its own. `depth`: in how many groups it stands; `level`: the
    least depth on the way from the first failure to here. None where that was here itself. `child`: whether a step row
    of a run waits for it; `slot`: its `awaits`, where its message is gone. `first`: of a group, its member that failed.
    """

    id: str
    ok: bool
    group_id: str | None
    error: bytes | None = None
    errbacks: bool = True
    depth: int | None = None
    level: int | None = None
    child: bool = False
    slot: str | None = None
    first: results.FirstFailure | None = None

    @property
    def cut_off(self) -> bool:
        """Whether it failed because of something before its group, in which therefore nothing ran at all."""
        return self.level is not None and self.depth is not None and self.level < self.depth


def propagate(tx: Transaction, ends: Iterable[End], *, now_ms: int) -> set[str]:
    """Carry the `ends` along the graph until it rests; the queues in which a row became claimable or scheduled."""
    todo = deque(ends)
    woke: set[str] = set()
    while todo:
        counts: Counter[tuple[str, bool]] = Counter()
        cut_off: dict[str, End | None] = {}
        alone = _not_awaited(tx, todo)
        while todo:
            end = todo.popleft()
            if end.id not in alone:
                woke |= _release(tx, end, todo, now_ms)
            if end.group_id is not None:
                counts[end.group_id, end.ok] += 1
                if not end.ok and cut_off.get(end.group_id, end) is not None:
                    cut_off[end.group_id] = end if end.cut_off else None
        # One UPDATE per group and batch, not per member: a chord of 1,000 is counted down in a few dozen writes.
        for group in sorted({group for group, _ in counts}):  # in one order everywhere: no two wait for each other
            done = _count_down(tx, group, counts[group, True], counts[group, False], now_ms)
            if done is not None:
                todo.append(_never_began(done, cut_off.get(group)))
    return woke


def _not_awaited(tx: Transaction, ends: Iterable[End]) -> AbstractSet[str]:
    """The ids of those of `ends` that nothing awaits, as the members of a group; of a few, none are looked for."""
    ids = [end.id for end in ends if not end.child]
    if len(ids) < FEW:
        return frozenset()
    found = set(ids)
    for at in range(0, len(ids), LOOKED):
        some = ids[at : at + LOOKED]
        for (awaited,) in tx.execute(AWAITED, some + some[-1:] * (LOOKED - len(some))):
            found.discard(awaited)
    return found


def _release(tx: Transaction, end: End, todo: deque[End], now_ms: int) -> set[str]:
    """Unblock, fail or drop the rows that await `end`; the ends that this makes go to `todo`. The queues that woke."""
    woken: set[str] = set()
    if end.child:
        woken = child_ended(tx, end.id, ok=end.ok, error=end.error, now_ms=now_ms, slot=end.slot)
    waiting, on_failure = tx.execute(AWAITING, (end.id,)), Flag.ON_FAILURE
    if not waiting:
        return woken
    all_flags = 0
    for row in waiting:
        all_flags |= row[2]
    errbacks = all_flags & on_failure
    fire = errbacks and not end.ok and end.errbacks
    if all_flags & Flag.LATE_KEY and (end.ok or end.errbacks):
        take_keys(tx, end.id, of=0 if end.ok else on_failure)
        waiting = tx.execute(AWAITING, (end.id,))  # what follows the holder of its key awaits that one now
    if not end.ok:
        todo.extend(_fail(tx, end, waiting, now_ms, spared=on_failure if fire else 0))
    elif all_flags & Flag.ALIAS:
        todo.extend(_succeed_aliases(tx, end, waiting, now_ms))
    if end.ok:
        woken |= _unblock(tx, [row for row in waiting if not row[2] & (on_failure | Flag.ALIAS)], now_ms)
    elif fire:
        woken |= _unblock(tx, [row for row in waiting if row[2] & on_failure], now_ms)
    if errbacks and end.ok:
        _vanish(tx, end.id)
    return woken


def _unblock(tx: Transaction, rows: list[Row], now_ms: int) -> set[str]:
    """Let these rows, which were read in this transaction, run or wait for their time; their queues."""
    if rows:
        tx.executemany(UNBLOCK, [{"seq": row[0], "now_ms": now_ms} for row in rows])
    return {row[4] for row in rows}


def _fail(tx: Transaction, end: End, waiting: list[Row], now_ms: int, *, spared: int) -> Iterator[End]:
    """End those that await what failed; their ends. One of them at most has the whole error.

    `spared`: Flag.ON_FAILURE where its errbacks are called.
    """
    followers = [row for row in waiting if not row[2] & spared]
    if not followers:
        return
    of_group = bool(tx.execute(GROUP_STATE, (end.id,)))
    first = followers[0][1]
    error = results.passed_on(end.error, first if of_group else end.id)
    tx.executemany(FAIL, [{"awaits": end.id, "error": error, "now_ms": now_ms, "spared": spared}])
    if of_group and error is not end.error:  # a group has no row that could hold it
        tx.executemany(WHOLE_ERROR, [(end.error, first)])
    cause = _cause(tx, end, error, followers) if of_group else error
    above = _level(tx, end)
    for _, id_, flags, group_id, _ in followers:
        # An alias stands for what failed, so its errbacks are meant; so are those of a chord's body.
        own_too = end.errbacks and (of_group or bool(flags & Flag.ALIAS))
        depth = depth_of(flags)
        level = depth if above is None else min(above, depth)
        yield End(
            id_,
            False,
            group_id,
            cause if flags & Flag.CAUSE else error,
            own_too,
            depth,
            level,
            bool(flags & Flag.CHILD),
        )


def _cause(tx: Transaction, group: End, error: bytes | None, followers: list[Row]) -> bytes | None:
    """Give those that await `group` and ask for it (Flag.CAUSE) the error of its member in place of `error`; that."""
    if group.first is None or group.first[1] is None or not any(row[2] & Flag.CAUSE for row in followers):
        return error
    cause = results.passed_on(bytes(group.first[1]), group.first[0])
    tx.executemany(CAUSED, [{"awaits": group.id, "error": cause}])
    return cause


def _succeed_aliases(tx: Transaction, end: End, waiting: list[Row], now_ms: int) -> Iterator[End]:
    """End the aliases of what succeeded as it did; their ends."""
    result = results.result_of(tx, end.id)
    for seq, id_, flags, group_id, _ in waiting:
        if flags & Flag.ALIAS:
            own = result
            if len(result) > payloads.INLINE_BYTES:
                payloads.store(tx, [(payloads.result_ref(seq), result)])
                own = payloads.BESIDE
            tx.execute(SUCCEED_ALIAS, {"seq": seq, "result": own, "now_ms": now_ms})
            yield End(id_, True, group_id, child=bool(flags & Flag.CHILD))


def _vanish(tx: Transaction, awaited: str) -> None:
    """Delete the errbacks of `awaited`, which are not needed, and the rows that would have run behind them.

    An errback may be a chain, a group or a chord of its own: its groups, and the rows behind them, go too. What had an
    id of theirs before has it again.
    """
    todo = deque(tx.execute(VANISH, {"awaits": awaited, "mask": Flag.ON_FAILURE}))
    while todo:
        gone, group, flags, options = todo.popleft()
        if flags & Flag.ASIDE:
            come_back(tx, gone, options)
        todo.extend(tx.execute(VANISH, {"awaits": gone, "mask": 0}))
        if group is not None:
            todo.extend(tx.execute(VANISH_GROUP, (group,)))


def _level(tx: Transaction, end: End) -> int | None:
    """How deep in groups the failure that `end` carries on has been at the least; None for a group of its own."""
    if end.level is not None:
        return end.level
    for (flags,) in tx.execute(FLAGS_OF, (end.id,)):
        return depth_of(flags)
    return None


def _never_began(group: End, member: End | None) -> End:
    """The end of a group; `member`: one of those that all failed because of something before the group.

    That something has called its errbacks, as the link of a chain that broke. What the group's body fails with is then
    its error, and not a ChordError.
    """
    if member is None or member.depth is None or group.ok:
        return group
    return group._replace(error=member.error, errbacks=False, depth=member.depth - 1, level=member.level)


def _count_down(tx: Transaction, group: str, ok: int, failed: int, now_ms: int) -> End | None:
    """`ok` + `failed` members of `group` have finished; its own end when they were the last."""
    tx.executemany(COUNT_DOWN, [{"id": group, "n": ok + failed, "failed": failed}])
    for remaining, broken, parent in tx.execute(COUNTED_DOWN, (group,)):
        if remaining > 0:
            continue
        tx.execute(CLOSE_GROUP, {"id": group, "now_ms": now_ms})
        return _group_end(tx, group, bool(broken), parent)
    return None


def _group_end(tx: Transaction, group: str, failed: bool, parent: str | None) -> End:
    if not failed:
        return End(group, True, parent)
    first = results.first_failure(tx, group)
    return End(group, False, parent, results.group_error(tx, group, first), first=first)


def catch_up(tx: Transaction, awaited: str, *, now_ms: int) -> bool:
    """Let rows that were just added behind `awaited` follow, where it has finished already; True when one woke."""
    for state, error, _ in tx.execute(STATE_OF, (awaited,)):
        match State(state):
            case State.SUCCEEDED:
                return bool(propagate(tx, [End(awaited, True, None)], now_ms=now_ms))
            case State.DEAD | State.UPSTREAM_FAILED | State.CANCELLED:
                return bool(propagate(tx, [End(awaited, False, None, error)], now_ms=now_ms))
            case _:
                return False
    for remaining, failed in tx.execute(GROUP_STATE, (awaited,)):
        if remaining == 0:
            return bool(propagate(tx, [_group_end(tx, awaited, bool(failed), None)], now_ms=now_ms))
    return False
