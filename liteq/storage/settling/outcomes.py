"""The writes of outcomes: each outcome translated to statements, gathered for a batch of leases (settle.py).

Each write carries the lease's fencing token, and changes nothing where that is no longer current.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from liteq.exceptions import TaskRevokedError, WorkerLostError
from liteq.message import (
    Ack,
    Cancel,
    ContinueAsNew,
    DeadLetter,
    Flag,
    Lease,
    Limited,
    Outcome,
    Park,
    Ran,
    Release,
    Replace,
    RetryAt,
    Suspend,
)
from liteq.serialization import encode_error
from liteq.storage.canvases.continuation import End
from liteq.storage.driver import AT_ONCE, LOCK, Params
from liteq.storage.rows import payloads
from liteq.storage.settling.terms import Terms, replacement_of
from liteq.storage.statistics.attempts import Attempt

__all__ = [
    "ACK", "ACK_AND_VANISH", "CONCERNS_OTHERS", "ENDINGS", "FLAGS", "MORE_THAN_A_ROW", "STAYS", "Plan",
]  # fmt: skip

ANY = ~Flag.BEGUN  # all flags that a message keeps when it is to run again
UNDER_LEASE = "WHERE seq = ? AND state = 'leased' AND token = ?"
# An end must reach those that await it. They may have come while the message ran: then its lease does not know.
# A limit may have come as well: then it has a place. Flags are added alone, so the number of them only grows.
# Or it has saved its first cursor.
KNOWN = Flag.LINKED | Flag.PLACED | Flag.CURSOR
ENDS = f"{UNDER_LEASE} AND flags & {KNOWN} <= ?"
ACK = f"""
UPDATE liteq_messages SET state = 'succeeded', result = ?, finished_ms = ?, started_ms = coalesce(?, started_ms)
 {ENDS} {AT_ONCE}
"""
# Nor does a task vanish that has emitted something, which somebody may still read.
ACK_AND_VANISH = f"DELETE FROM liteq_messages {UNDER_LEASE} AND flags & {KNOWN | Flag.EMITS} <= ? {AT_ONCE}"
RETRY = f"""
UPDATE liteq_messages SET state = ?, due_ms = ?, error = ?, retries = retries + 1, payload = coalesce(?, payload),
       options = coalesce(?, options), queue = coalesce(?, queue), priority = coalesce(?, priority),
       expires_ms = coalesce(?, expires_ms), flags = flags & ?, delay_ms = ?, progress = NULL,
       cause = coalesce(?, cause), keys = nullif(coalesce(?, keys), '')
 {UNDER_LEASE} {AT_ONCE}
"""
# It is another message from now on, under the id that it has.
ANOTHER = "task = coalesce(?, task), retries = coalesce(?, retries + 1), awaits = coalesce(?, awaits)"
RETRY_AS = RETRY.replace("retries = retries + 1", ANOTHER).replace("flags = flags & ?", "flags = (flags & ?) | ?")
DEAD = f"""
UPDATE liteq_messages SET state = 'dead', error = ?, cause = coalesce(?, cause), finished_ms = ?,
       started_ms = coalesce(?, started_ms)
 {ENDS} {AT_ONCE}
"""
CANCEL = f"""
UPDATE liteq_messages SET state = 'cancelled', error = ?, finished_ms = ?, started_ms = coalesce(?, started_ms) {ENDS}
"""
RELEASE = f"UPDATE liteq_messages SET state = 'pending', flags = flags & {ANY} {UNDER_LEASE} {AT_ONCE}"
HANDED_BACK = f"""
UPDATE liteq_messages SET state = 'scheduled', due_ms = ?, delay_ms = ?, options = ?, flags = flags & {ANY}
 {UNDER_LEASE}
"""
LEFT = HANDED_BACK.replace(f"flags & {ANY}", f"(flags & {ANY}) | {Flag.LEFT}")
REJECTED = f"UPDATE liteq_messages SET state = 'pending', flags = (flags & {ANY}) | {Flag.REDELIVERED} {UNDER_LEASE}"
# One that has begun, as its lease may not know, does not run again.
CRASHED = f"""
UPDATE liteq_messages SET state = 'pending', crashes = crashes + 1, error = coalesce(?, error),
       cause = coalesce(?, cause)
 {UNDER_LEASE} AND flags & {Flag.BEGUN} = 0
"""
FLAGS = f"SELECT flags FROM liteq_messages {UNDER_LEASE} {LOCK}"
LINKED_OR_RUN = Flag.LINKED | Flag.RUN
CONCERNS_OTHERS = LINKED_OR_RUN | Flag.PLACED
MORE_THAN_A_ROW = CONCERNS_OTHERS | Flag.CURSOR
ENDINGS = frozenset({Ack, DeadLetter, Cancel})
# Once it has succeeded, although it has no result: it is asked for.
STAYS = Flag.LINKED | Flag.KEPT | Flag.PERHAPS | Flag.RUN | Flag.EMITS


class Plan:
    """The writes for a batch of outcomes, gathered by statement, and the ends that they bring.

    `causes`: the ids of the causes of those that failed, by token (`note_causes`). `writes`: those of plain ends.
    """

    def __init__(self, terms: Terms, causes: Mapping[int, str], writes: dict[str, list[Params]]) -> None:
        self.writes = writes
        self.ends: list[End] = []
        self.follow_ups: list[tuple[Lease, Replace]] = []
        self.runs: list[tuple[Lease, Suspend | ContinueAsNew | Park | Release]] = []
        self.limited: list[tuple[Lease, Limited]] = []
        self.ended_runs: list[Lease] = []
        self.behind: list[tuple[Lease, RetryAt]] = []  # they run again behind something, which may come with this batch
        self.vanishing: list[Params] = []  # rows with places
        self.bodies: list[tuple[int, bytes]] = []
        self.children: list[tuple[int, bytes]] = []
        self.done: list[int] = []  # rows that have a cursor, and need it no more
        self.back: list[Lease] = []  # in their queues again, with unique keys that excluded others until they started
        self.attempts: list[Attempt] = []
        self.terms = terms
        self.causes = causes
        self.finished = bool(writes)
        self.woke = False
        self.elsewhere: set[str] = set()  # queues to which something goes that may have come from others

    def forget_written(self) -> None:
        """Gather anew what stands in a row or beside it."""
        self.writes, self.attempts, self.bodies, self.children, self.done, self.back = {}, [], [], [], [], []

    def write(self, sql: str, lease: Lease, *params: object) -> None:
        """Write something else than an end: it is to run again."""
        self.back += [lease] if lease.flags & Flag.UNSTARTED else []
        self.writes.setdefault(sql, []).append((*params, lease.seq, lease.token))

    def write_end(self, sql: str, lease: Lease, *params: object, ran: Ran | None = None) -> None:
        """Write an end: `params`, and when the execution began."""
        last = (self.terms.started_ms(lease, ran), lease.seq, lease.token, lease.flags & KNOWN)
        self.writes.setdefault(sql, []).append((*params, *last))

    def end(self, lease: Lease, *, ok: bool, error: bytes | None = None) -> None:
        self.finished = True
        if lease.flags & LINKED_OR_RUN:
            if lease.flags & Flag.LINKED:
                self.ends.append(End(lease.id, ok, lease.group_id, error, child=bool(lease.flags & Flag.CHILD)))
            if lease.flags & Flag.RUN:
                self.ended_runs.append(lease)

    def attempt(self, lease: Lease, outcome: str, *, first: bool = True, ran: Ran | None = None) -> None:
        """Note how an attempt ended; one that is not `first` to be noted only if there were others before it."""
        if first or lease.retries or lease.crashes:
            ran = ran or self.terms.ran.get(lease.token)
            started_ms = None if ran is None else ran[0]
            self.attempts.append(Attempt(lease.seq, outcome, started_ms, self.terms.now_ms))

    def add(self, lease: Lease, outcome: Outcome) -> None:
        """Translate one outcome; exhaustive, so that a new outcome fails the type check until it is settled here."""
        now_ms = self.terms.now_ms
        match outcome:
            case Ack(result, ran, children):
                if result is None and not lease.flags & STAYS:
                    # With a row goes its place: it is freed before, so that somebody is woken.
                    rows = self.vanishing if lease.flags & Flag.PLACED else self.writes.setdefault(ACK_AND_VANISH, [])
                    rows.append((lease.seq, lease.token, lease.flags & KNOWN))
                else:
                    self.write_end(ACK, lease, self._beside(result, payloads.result_ref(lease.seq)), now_ms, ran=ran)
                    self.attempt(lease, "succeeded", first=False, ran=ran)
                    self.children += [] if children is None else [(lease.seq, children)]
                self.done += [lease.seq] if lease.flags & Flag.CURSOR else []
                self.end(lease, ok=True)
            case RetryAt(awaits=str()):
                self.behind.append((lease, outcome))
            case RetryAt():
                self.retry(lease, outcome)
            case DeadLetter(error):
                self.write_end(DEAD, lease, error, self.causes.get(lease.token), now_ms)
                self.attempt(lease, "failed")
                self.end(lease, ok=False, error=error)
            case Cancel(error):
                self.write_end(CANCEL, lease, error, now_ms)
                self.attempt(lease, "cancelled", first=False)
                self.end(lease, ok=False, error=error or encode_error(TaskRevokedError("ignored")))
            case Suspend() | ContinueAsNew() | Park():
                self.runs.append((lease, outcome))
            case Release():
                self.release(lease, outcome)
            case Limited():
                self.limited.append((lease, outcome))
                self.woke = True
            case Replace():
                self.follow_ups.append((lease, replacement_of(outcome, lease.id)))
                self.woke = True
                self.elsewhere.update(message.queue for message in outcome.batch.messages)
            case _:
                assert_never(outcome)

    def release(self, lease: Lease, release: Release) -> None:
        """It goes back: its process died, its worker cannot run it, or does not come to it."""
        match release:
            case Release(crashed=True) if lease.flags & Flag.RUN:
                self.runs.append((lease, release))
            case Release(crashed=True, error=error):
                self.crashed(lease, error)
            case Release(pause_ms=int(pause_ms), options=options, elsewhere=elsewhere):
                self.write(LEFT if elsewhere else HANDED_BACK, lease, self.terms.now_ms + pause_ms, pause_ms, options)
                self.woke = True
            case _:
                self.write(RELEASE if release.error is None else REJECTED, lease)
                self.woke = True

    def retry(self, lease: Lease, retry: RetryAt) -> None:
        """It runs again at its time, with what has been changed."""
        now_ms, payload = self.terms.now_ms, retry.payload
        due_ms = retry.due_ms if retry.delay_ms is None else min(retry.due_ms, now_ms + retry.delay_ms)
        state = "scheduled" if due_ms > now_ms else "pending"
        # Changed arguments are complete: the result of what it awaited is among them already.
        flags = ANY if payload is None else ANY & ~Flag.TAKES_INPUT
        was_beside = lease.payload == payloads.BESIDE
        arguments = self._beside(payload, payloads.payload_ref(lease.seq), was_beside=was_beside)
        changed = (arguments, retry.options, retry.queue, retry.priority, retry.expires_ms)
        wait_ms, cause = max(due_ms - now_ms, 0), self.causes.get(lease.token)
        kind = (retry.task, retry.retries, retry.awaits)
        if kind == (None, None, None):
            self.write(RETRY, lease, state, due_ms, retry.error, *changed, flags, wait_ms, cause, retry.keys)
        else:
            waits = retry.awaits is not None  # then a result comes before the arguments
            if waits:  # an errback too: it has been called, and is none of what it awaits now
                state, flags = "blocked", flags & ~Flag.ON_FAILURE
            more = Flag.BECAME | Flag.TAKES_INPUT * (waits and retry.takes_input)
            told = (*kind, *changed, flags, more, wait_ms, cause, retry.keys)
            self.write(RETRY_AS, lease, state, due_ms, retry.error, *told)
        self.attempt(lease, "retried")
        self.woke = True
        self.elsewhere |= set() if retry.queue is None else {retry.queue}

    def _beside(self, document: bytes | None, ref: int, *, was_beside: bool = False) -> bytes | None:
        """The row's part of `document`, which is written beside the row when it is large, or the one before was."""
        if document is None or (len(document) <= payloads.INLINE_BYTES and not was_beside):
            return document
        self.bodies.append((ref, document))
        return payloads.BESIDE

    def crashed(self, lease: Lease, error: bytes | None) -> None:
        """Its child died under it: once more, unless it has done so too often or promised to run at most once."""
        cause = self.causes.get(lease.token)
        self.attempt(lease, "crashed")
        if not self.terms.gives_up(lease):
            self.write(CRASHED, lease, error, cause)
            self.woke = True
            return
        poison = error or encode_error(WorkerLostError(_why_over(lease)))
        self.write_end(DEAD, lease, poison, cause, self.terms.now_ms)
        self.end(lease, ok=False, error=poison)


def _why_over(lease: Lease) -> str:
    """The reason why a message whose process is gone does not run again, where nobody has given one."""
    if lease.flags & (Flag.EARLY_ACK | Flag.BEGUN):
        return "its process ended while it ran, and it is acknowledged early, so it does not run twice"
    return f"its process died {lease.crashes + 1} times (max_crashes)"
