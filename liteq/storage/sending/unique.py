"""Unique keys that say more: calls that replace each other, that exclude others until they start, or for a time.

A key stands in its message's row, so nothing has to free it: it goes with the message. Three things are added.

- An *unstarted* one (Flag.UNSTARTED) excludes others until it is claimed. From then on its row has the key with a mark
  (`STARTED`), which excludes nobody. Back in the queue it takes the key again, or follows the message that has it.
- Where the last call counts, a new one marks those of its key that have started as superseded. Should one come back
  (its worker died, it is to be retried), it does not run once more with its old arguments: it follows the newer one.
- A row of liteq_unique excludes others for a time: `within` from the sending, the period of a Throttle from its start.
  The wall clock may be set: where the row is of this boot of the machine, its monotonic clock decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import orjson

from liteq.message import Exclusion, Flag, Message
from liteq.states import UNFINISHED, State, sql_list
from liteq.storage.canvases.cancel import cancel
from liteq.storage.canvases.continuation import catch_up
from liteq.storage.canvases.follow import BECOME_ALIAS, holder_of, link, take_key, waits_for, with_late_key
from liteq.storage.driver import LOCK, SKIP_LOCKED, Row, Transaction
from liteq.storage.kept import cursors
from liteq.storage.limits import lines
from liteq.storage.limits.ledger import parsed
from liteq.storage.rows import payloads
from liteq.storage.steps.birth import change_run, change_tags
from liteq.storage.steps.wake import give_back
from liteq.utils.records import NamedTuple

__all__ = [
    "STARTED", "THROTTLE", "admitted", "anew", "come_back", "expire", "last_of", "shown", "stands_for", "started",
    "written",
]  # fmt: skip

STARTED: Final = "\x1f"  # behind the key of one that has started, before its id
SUPERSEDED: Final = "\x1e"  # in its place: a newer one was sent since, whose id comes last
THROTTLE: Final = "throttle"  # in the document of a row: its key, and its period in ms

IN_QUEUE: Final = frozenset({State.PENDING, State.SCHEDULED, State.HELD})
HOLDER: Final = f"""
SELECT seq, id, task, state, flags, created_ms, due_ms, delay_ms, length(payload), retries + crashes + reaps,
       queue, priority, keys, expires_ms
  FROM liteq_messages WHERE unique_key = ? AND finished_ms IS NULL {LOCK}
"""
# The newest arguments and options; its attempts so far were those of older ones.
OVERWRITE: Final = """
UPDATE liteq_messages SET payload = :payload, options = :options, queue = :queue, priority = :priority,
       expires_ms = :expires_ms, flags = :flags, state = :state, due_ms = :due_ms, delay_ms = :delay_ms,
       created_ms = :created_ms, retries = 0, crashes = 0, reaps = 0, error = NULL, cause = NULL, progress = NULL,
       keys = :keys, held_by = CASE WHEN CAST(:state AS TEXT) = 'held' THEN held_by END
 WHERE seq = :seq
"""
SUPERSEDE: Final = """
UPDATE liteq_messages SET unique_key = CAST(:key AS TEXT) || CAST(:superseded AS TEXT) || id || :superseded || :by
 WHERE unique_key >= :low AND unique_key < :high AND finished_ms IS NULL
   AND unique_key = CAST(:key AS TEXT) || CAST(:started AS TEXT) || id
"""
LAST: Final = f"""
SELECT u.id, u.until_ms, u.boot, u.until_up_ms, m.state
  FROM liteq_unique AS u LEFT JOIN liteq_messages AS m ON m.id = u.id AND m.flags & {Flag.SHOWN} = 0
 WHERE u.key = ?
"""
EXCLUDE: Final = """
INSERT INTO liteq_unique (key, id, until_ms, boot, until_up_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET id = excluded.id, until_ms = excluded.until_ms, boot = excluded.boot,
       until_up_ms = excluded.until_up_ms
"""
PUT_OFF: Final = """
UPDATE liteq_messages SET state = 'scheduled', due_ms = ?, delay_ms = ? WHERE seq = ? AND state = 'pending'
"""
BACK: Final = f"""
SELECT id, unique_key, awaits FROM liteq_messages
 WHERE seq = ? AND state IN {sql_list(IN_QUEUE)} AND unique_key IS NOT NULL
   AND flags & {Flag.UNSTARTED} <> 0 AND flags & {Flag.HISTORY} = 0
"""
IS_THERE: Final = f"SELECT 1 FROM liteq_messages WHERE id = ? {LOCK}"
DEAD: Final = f"""
SELECT seq, id, unique_key FROM liteq_messages WHERE id = ? AND unique_key IS NOT NULL AND flags & {Flag.UNSTARTED} <> 0
"""
SET_KEY: Final = "UPDATE liteq_messages SET unique_key = ? WHERE seq = ?"
OVER: Final = f"""
DELETE FROM liteq_unique WHERE key IN (
    SELECT key FROM liteq_unique
     WHERE until_ms <= :now_ms AND (boot = '' OR boot <> :boot OR until_up_ms <= :up_ms) LIMIT :limit {SKIP_LOCKED})
"""

SEQ, ID, OPTIONS, FLAGS = 0, 2, 5, 12  # of the rows of a claim
NOT_STARTED = UNFINISHED - {State.LEASED}
OF_THE_CALL = Flag.TRACK_STARTED | Flag.EARLY_ACK | Flag.IGNORE_RESULT  # flags that a call's options decide
MARKS = Flag.KEPT | Flag.LOGS | Flag.TAGGED  # that a call adds
OF_ATTEMPTS = Flag.BEGUN | Flag.REDELIVERED | Flag.CURSOR | Flag.TAKES_INPUT  # its arguments are complete
UNDONE = frozenset({State.CANCELLED, State.UPSTREAM_FAILED})  # what ended so has not run
KEPT_BY_ALL = Exclusion()
EXPIRED: Final = "expired"  # as a worker says it that meets such a one


class _Holder(NamedTuple):
    """The unfinished message that holds a key."""

    seq: int
    id: str
    task: str
    state: str
    flags: int
    created_ms: int
    due_ms: int
    delay_ms: int | None
    payload_length: int
    attempts: int
    queue: str
    priority: int
    keys: str | None
    expires_ms: int | None

    def is_late(self, now_ms: int) -> bool:
        """Whether no worker starts it any more, as its time is over: it excludes nobody then."""
        if self.expires_ms is None or self.expires_ms > now_ms:
            return False
        begun = Flag.HISTORY | Flag.CURSOR | Flag.ALIAS  # an alias: it has begun, and what replaced it is to end
        return self.state in NOT_STARTED and not self.flags & begun

    def may_become(self, message: Message) -> bool:
        """Whether it may get the arguments of `message`: it is not running, has no history, and is of that task."""
        fixed = Flag.HISTORY | Flag.ALIAS | Flag.STEP
        return self.task == message.task and self.state in NOT_STARTED and not self.flags & fixed


def shown(key: str | None) -> str | None:
    """A `unique_key` of the file as people may see it, without marks."""
    return None if key is None else key.partition(STARTED)[0].partition(SUPERSEDED)[0]


# -- sending ---------------------------------------------------------------------------------------------------------


def stands_for(tx: Transaction, message: Message, *, now_ms: int) -> tuple[str | None, Message]:
    """The id of the message that stands for `message`, None where it is to be written, and how it is to be written.

    The one that stands gets the arguments of `message` where its rule says so. One in a canvas that waits for another
    does not give its arguments away: they are not there yet. One that no worker starts any more does not stand, and
    ends: with it the call would be lost.
    """
    key, rule = message.unique_key, message.unique or KEPT_BY_ALL
    if key is None:
        return None, message
    for row in tx.execute(HOLDER, (key,)):
        holder = _Holder._make(row)
        if message.awaits is None and holder.may_become(message):
            latest_ms = _next_period(tx, key, holder, rule, now_ms)
            if rule.on_conflict != "keep" or latest_ms is not None:
                _overwrite(tx, holder, message, _times(holder, message, rule, latest_ms, now_ms))
                return holder.id, message
        if not holder.is_late(now_ms):
            return holder.id, message
        cancel(tx, [holder.id], now_ms=now_ms, reason=EXPIRED)
    last = _last_for(tx, key, rule, now_ms)
    if last is not None:
        if not rule.trailing:
            return last.id, message
        if message.awaits is None:
            message = _not_before(message, last.left_ms, now_ms)
    if rule.on_conflict != "keep" and message.awaits is None and _supersede(tx, key, message.id):
        message = replace(message, flags=message.flags | Flag.KEPT)  # those that it superseded may have to follow it
    return None, message


def written(tx: Transaction, messages: Iterable[Message], *, now_ms: int) -> None:
    """Note of messages that were just written for how long they exclude others."""
    for m in messages:
        if m.unique is not None and m.unique.within_ms is not None and m.unique_key is not None:
            _exclude(tx, m.unique_key, m.id, m.unique.within_ms, now_ms)


class _Times(NamedTuple):
    """The state and the times of a message that is called once more."""

    state: State
    due_ms: int
    delay_ms: int | None
    created_ms: int


def _times(holder: _Holder, message: Message, rule: Exclusion, latest_ms: int | None, now_ms: int) -> _Times:
    state, due_ms, created_ms = State(holder.state), holder.due_ms, holder.created_ms
    if state is State.BLOCKED:
        delay_ms = message.delay_ms if rule.on_conflict == "postpone" else holder.delay_ms
        return _Times(state, due_ms, delay_ms, created_ms)
    if rule.on_conflict == "postpone":
        due_ms, created_ms = _postponed(holder, message, rule, now_ms)
    elif latest_ms is not None and latest_ms < due_ms:
        due_ms = latest_ms
    else:
        return _Times(state, due_ms, holder.delay_ms, created_ms)
    if due_ms > now_ms:
        return _Times(State.SCHEDULED, due_ms, due_ms - now_ms, created_ms)
    return _Times(State.PENDING if state is State.SCHEDULED else state, due_ms, 0, created_ms)


def _next_period(tx: Transaction, key: str, holder: _Holder, rule: Exclusion, now_ms: int) -> int | None:
    """When the next period of a Throttle begins, whose call waits for its retry: a new call does not wait for that.

    None for what is not throttled, and for a call that the last one stands for.
    """
    if rule.every_ms is None or not holder.attempts:
        return None
    last = _last(tx, key, rule.every_ms, now_ms)
    if last is None:
        return now_ms
    return now_ms + last.left_ms if rule.trailing else None


def _overwrite(tx: Transaction, holder: _Holder, message: Message, times: _Times) -> None:
    state = times.state
    if state is State.HELD and (holder.queue, holder.priority, holder.keys) != (
        message.queue, message.priority, message.keys,
    ):  # fmt: skip
        state = State.PENDING  # a claim finds out what it lacks now
    if parsed(message.keys).fair is not None:
        lines.matter(tx)
    flags = holder.flags & ~(OF_THE_CALL | OF_ATTEMPTS) | message.flags & (OF_THE_CALL | MARKS)
    if not holder.flags & Flag.IGNORE_RESULT:  # somebody may wait for it
        flags &= ~Flag.IGNORE_RESULT
    payload = message.payload
    if len(payload) > payloads.INLINE_BYTES or not holder.payload_length:
        payloads.store(tx, [(payloads.payload_ref(holder.seq), payload)])
        payload = payloads.BESIDE
    options = message.options
    if holder.flags & Flag.LATE_KEY:
        options = with_late_key(options, message.unique_key)
    row = {
        "seq": holder.seq, "payload": payload, "options": options, "queue": message.queue,
        "priority": message.priority, "expires_ms": message.expires_ms, "flags": flags, "state": state.value,
        "due_ms": times.due_ms, "delay_ms": times.delay_ms, "created_ms": times.created_ms, "keys": message.keys,
    }  # fmt: skip
    tx.executemany(OVERWRITE, [row])
    if holder.flags & Flag.CURSOR:  # it is how far the old arguments were done
        cursors.forget(tx, [holder.seq])
    if holder.flags & Flag.RUN:
        change_run(tx, holder.seq, message)
    elif (holder.flags | message.flags) & Flag.TAGGED:
        change_tags(tx, holder.seq, message.tags)


def _postponed(holder: _Holder, message: Message, rule: Exclusion, now_ms: int) -> tuple[int, int]:
    """When `holder` is due after one more call, and when the first of its calls was made.

    The wall clock may have been set back since the last call: then no more than that time has passed, and what was
    waited before it counts on.
    """
    due_ms = now_ms if message.due_ms is None else max(message.due_ms, now_ms)
    if message.delay_ms is not None:
        due_ms = min(due_ms, now_ms + message.delay_ms)
    if rule.max_wait_ms is None:
        return due_ms, holder.created_ms
    if holder.attempts:  # those calls have had their run
        return due_ms, now_ms
    last_ms = holder.due_ms - (holder.delay_ms or 0)
    first_ms = min(holder.created_ms, last_ms) - max(0, last_ms - now_ms)
    return min(due_ms, first_ms + rule.max_wait_ms), first_ms


def _not_before(message: Message, left_ms: int, now_ms: int) -> Message:
    """`message`, due when the period that has `left_ms` to go is over."""
    due_ms = max(message.due_ms or 0, now_ms + left_ms)
    return replace(message, due_ms=due_ms, delay_ms=due_ms - now_ms)


def _supersede(tx: Transaction, key: str, by: str) -> bool:
    """Mark those of `key` that have started: should they come back, they follow the message `by`; whether one has."""
    row = {
        "key": key, "by": by, "started": STARTED, "superseded": SUPERSEDED, "low": key + STARTED,
        "high": key + chr(ord(STARTED) + 1),
    }  # fmt: skip
    return tx.executemany(SUPERSEDE, [row]) > 0


# -- for a time ------------------------------------------------------------------------------------------------------


class _Last(NamedTuple):
    """The message that excludes others for `left_ms` yet; `state`: None where it has gone."""

    id: str
    left_ms: int
    state: str | None


def last_of(tx: Transaction, message: Message, *, now_ms: int) -> str | None:
    """The id of the message that stands for `message` because of the time that has passed since; None: none does."""
    if message.unique_key is None or message.unique is None or message.unique.trailing:
        return None
    last = _last_for(tx, message.unique_key, message.unique, now_ms)
    return None if last is None else last.id


def _last_for(tx: Transaction, key: str, rule: Exclusion, now_ms: int) -> _Last | None:
    span_ms = rule.every_ms or rule.within_ms
    last = None if span_ms is None else _last(tx, key, span_ms, now_ms)
    return None if last is not None and rule.within_ms and last.state in UNDONE else last


def _last(tx: Transaction, key: str, span_ms: int, now_ms: int) -> _Last | None:
    """The message that excludes others of `key` for a time, of `span_ms` at most; None where none does any more."""
    for id_, until_ms, boot, until_up_ms, state in tx.execute(LAST, (key,)):
        here, up_ms = tx.uptime()
        left_ms = until_up_ms - up_ms if here and boot == here else until_ms - now_ms
        if left_ms > span_ms:  # the clock was set back, while the machine was off: from now on it is right
            left_ms = span_ms
            _exclude(tx, key, id_, span_ms, now_ms)
        return _Last(id_, left_ms, state) if left_ms > 0 else None
    return None


def _exclude(tx: Transaction, key: str, id_: str, span_ms: int, now_ms: int) -> None:
    boot, up_ms = tx.uptime()
    tx.executemany(EXCLUDE, [(key, id_, now_ms + span_ms, boot, up_ms + span_ms)])


def expire(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Delete up to `limit` rows of liteq_unique whose time is over; how many."""
    boot, up_ms = tx.uptime()
    return tx.executemany(OVER, [{"now_ms": now_ms, "boot": boot, "up_ms": up_ms, "limit": limit}])


# -- starting, and coming back ---------------------------------------------------------------------------------------


def admitted(tx: Transaction, rows: Sequence[Row], *, now_ms: int) -> list[Row]:
    """Those of `rows`, pending messages in the columns of a claim, that may start now.

    One whose period is not over, because the clock was set since it was scheduled, is put off to its end.
    """
    return [row for row in rows if not row[FLAGS] & Flag.UNSTARTED or _may_start(tx, row, now_ms)]


def _may_start(tx: Transaction, row: Row, now_ms: int) -> bool:
    key, every_ms = _throttle(row)
    last = _last(tx, key, every_ms, now_ms) if every_ms else None
    if last is None or last.id == row[ID]:
        return True
    tx.executemany(PUT_OFF, [(now_ms + last.left_ms, last.left_ms, row[SEQ])])
    return False


def _throttle(row: Row) -> tuple[str, int]:
    """The key and the period of a throttled message; ("", 0) of any other."""
    document = orjson.loads(row[OPTIONS]) if row[OPTIONS] else {}
    key, every_ms = document.get(THROTTLE, ("", 0))
    return key, every_ms


def started(tx: Transaction, row: Row, *, now_ms: int) -> None:
    """Note that an unstarted message starts, the row of a claim: its period begins."""
    key, every_ms = _throttle(row)
    if every_ms:
        _exclude(tx, key, row[ID], every_ms, now_ms)


def come_back(tx: Transaction, seq: int, *, now_ms: int) -> None:
    """Let an unstarted one that is in its queue again, and not by a claim's fault, take its key again.

    Where another has the key by now, or has superseded it, it follows that one and does not run.
    """
    for id_, marked, slot in tx.execute(BACK, (seq,)):
        key, newer = _unmarked(marked, id_)
        if newer is not None and tx.execute(IS_THERE, (newer,)) and not waits_for(tx, newer, {id_}):
            link(tx, newer)
            tx.executemany(BECOME_ALIAS, [{"seq": seq, "holder": newer}])
            give_back(tx, slot, now_ms=now_ms)
            catch_up(tx, newer, now_ms=now_ms)
        elif key != marked and not take_key(tx, seq, id_, key):
            give_back(tx, slot, now_ms=now_ms)


def anew(tx: Transaction, id_: str) -> None:
    """Let a dead letter that is back in its queue have its key again, where no other message has it."""
    for seq, own, marked in tx.execute(DEAD, (id_,)):
        key, _ = _unmarked(marked, own)
        if key != marked:
            tx.executemany(SET_KEY, [(None if holder_of(tx, key) else key, seq)])


def _unmarked(marked: str, own: str) -> tuple[str, str | None]:
    """The key of the message `own` without its mark, and the id of the one that superseded it."""
    if marked.endswith(STARTED + own):
        return marked.removesuffix(STARTED + own), None
    key, mark, newer = marked.rpartition(f"{SUPERSEDED}{own}{SUPERSEDED}")
    return (key, newer) if mark else (marked, None)
