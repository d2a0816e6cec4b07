"""The verb *settle*: leases end, each with its outcome and its consequences, in one transaction.

Each write carries the lease's fencing token. A lease whose token is no longer current is lost: its outcome is thrown
away, since another worker has, or will have, the message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter
from typing import Protocol, assert_never

from liteq.exceptions import CanvasConflict, TaskRevokedError, WorkerLostError
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
from liteq.storage import attempts, cursors, payloads, unique
from liteq.storage.attempts import Attempt
from liteq.storage.continuation import End, propagate
from liteq.storage.driver import AT_ONCE, LOCK, Bell, Driver, Params, Promise, Transaction
from liteq.storage.endings import cancel_children, end_run
from liteq.storage.limits import places
from liteq.storage.limits.meeting import meet
from liteq.storage.steps import suspend
from liteq.storage.terms import ENDED, NOTHING, Settled, Terms, note_causes, replace_message, replacement_of

__all__ = ["NOTHING", "Settle", "Settled", "StaleBatch", "acknowledge", "one_wakes", "settle", "settle_current"]

ANY = ~Flag.BEGUN  # all flags that a message keeps when it is to run again
UNDER_LEASE = "WHERE seq = ? AND state = 'leased' AND token = ?"
# What is to end must reach those that await it. They may have come while it ran: then its lease does not know.
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
REJECTED = f"UPDATE liteq_messages SET state = 'pending', flags = (flags & {ANY}) | {Flag.REDELIVERED} {UNDER_LEASE}"
CRASHED = f"""
UPDATE liteq_messages SET state = 'pending', crashes = crashes + 1, error = coalesce(?, error),
       cause = coalesce(?, cause)
 {UNDER_LEASE}
"""
FLAGS = f"SELECT flags FROM liteq_messages {UNDER_LEASE} {LOCK}"
LINKED_OR_RUN = Flag.LINKED | Flag.RUN
CONCERNS_OTHERS = LINKED_OR_RUN | Flag.PLACED
MORE_THAN_A_ROW = CONCERNS_OTHERS | Flag.CURSOR
ENDINGS = frozenset({Ack, DeadLetter, Cancel})
# Once it has succeeded, although it has no result: it is asked for.
STAYS = Flag.LINKED | Flag.KEPT | Flag.PERHAPS | Flag.RUN | Flag.EMITS


class Settle(Protocol):
    """`settle`, or `settle_current`."""

    def __call__(self, tx: Transaction, settled: Sequence[tuple[Lease, Outcome]], terms: Terms, /) -> Settled: ...


class StaleBatch(Exception):
    """Raised when at least one lease of a batch was lost: those that were not are to be settled without it."""


class _Plan:
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
        self.vanishing: list[Params] = []  # rows with places
        self.bodies: list[tuple[int, bytes]] = []
        self.done: list[int] = []  # rows that have a cursor, and need it no more
        self.back: list[Lease] = []  # in their queues again, with unique keys that excluded others until they started
        self.attempts: list[Attempt] = []
        self.terms = terms
        self.causes = causes
        self.finished = bool(writes)
        self.woke = False

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
            case Ack(result, ran):
                if result is None and not lease.flags & STAYS:
                    # With a row goes its place: it is freed before, so that somebody is woken.
                    rows = self.vanishing if lease.flags & Flag.PLACED else self.writes.setdefault(ACK_AND_VANISH, [])
                    rows.append((lease.seq, lease.token, lease.flags & KNOWN))
                else:
                    self.write_end(ACK, lease, self._beside(result, payloads.result_ref(lease.seq)), now_ms, ran=ran)
                    self.attempt(lease, "succeeded", first=False, ran=ran)
                self.done += [lease.seq] if lease.flags & Flag.CURSOR else []
                self.end(lease, ok=True)
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
            case _:
                assert_never(outcome)

    def release(self, lease: Lease, release: Release) -> None:
        """It goes back: its process died, its worker cannot run it, or does not come to it."""
        match release:
            case Release(crashed=True) if lease.flags & Flag.RUN:
                self.runs.append((lease, release))
            case Release(crashed=True, error=error):
                self.crashed(lease, error)
            case Release(pause_ms=int(pause_ms), options=options):
                self.write(HANDED_BACK, lease, self.terms.now_ms + pause_ms, pause_ms, options)
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
        self.write(RETRY, lease, state, due_ms, retry.error, *changed, flags, wait_ms, cause, retry.keys)
        self.attempt(lease, "retried")
        self.woke = True

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
        if lease.crashes + 1 < self.terms.max_crashes and not lease.flags & Flag.EARLY_ACK:
            self.write(CRASHED, lease, error, cause)
            self.woke = True
            return
        poison = error or encode_error(WorkerLostError(f"its worker process died {lease.crashes + 1} times"))
        self.write_end(DEAD, lease, poison, cause, self.terms.now_ms)
        self.end(lease, ok=False, error=poison)


def one_wakes(outcomes: Sequence[tuple[Lease, Outcome]]) -> bool:
    """Whether one of them may make something claimable, its message or one that awaits it; told without a look.

    What has come to await it meanwhile is not known here. It rings when it is settled.
    """
    for lease, outcome in outcomes:  # noqa: SIM110 - a generator costs as much as the rest
        if lease.flags & CONCERNS_OTHERS or type(outcome) not in ENDINGS:
            return True
    return False


def acknowledge(driver: Driver, lease: Lease, outcome: Outcome, terms: Terms) -> bool:
    """Settle one lease, if one statement does it: an Ack that nothing awaits, as most are.

    False where it takes a transaction, or where the lease is lost or something awaits it now: nothing was written.
    """
    plain = _plain(lease, outcome, terms)
    if plain is None:
        return False
    if plain[0] is ACK:
        return driver.change(ACK, plain[1], Promise.PROGRESS, Bell.DONE) == 1
    return driver.change(ACK_AND_VANISH, plain[1], Promise.PROGRESS, Bell.DONE) == 1


def _plain(lease: Lease, outcome: Outcome, terms: Terms) -> tuple[str, Params] | None:
    """The one statement that settles an Ack of what nothing awaits, with a small result; None of any other outcome.

    The end of a run is more than that: its children and its waits end with it; that of a message with attempts, or with
    a place, too.
    """
    if type(outcome) is not Ack or lease.flags & MORE_THAN_A_ROW:
        return None
    result = outcome.result
    if result is None and not lease.flags & STAYS:
        return ACK_AND_VANISH, (lease.seq, lease.token, 0)
    if lease.retries or lease.crashes:
        return None
    if result is None or len(result) <= payloads.INLINE_BYTES:
        ran = outcome.ran
        return ACK, (result, terms.now_ms, None if ran is None else ran[0], lease.seq, lease.token, 0)
    return None


def settle(tx: Transaction, settled: Sequence[tuple[Lease, Outcome]], terms: Terms, *, exact: bool = True) -> Settled:
    """Write a batch of outcomes, statement by statement.

    Raises StaleBatch, to be rolled back, when a lease was lost: counting the changed rows is all that the common case
    pays for that check. Not `exact`: more of them may have changed, as where triggers of somebody else's write too.
    """
    others: list[tuple[Lease, Outcome]] = []
    writes: dict[str, list[Params]] = {}
    for lease, outcome in sorted(settled, key=itemgetter(0)):  # by row: in one order everywhere
        plain = _plain(lease, outcome, terms)
        if plain is None:
            others.append((lease, outcome))
        elif plain[0] in writes:
            writes[plain[0]].append(plain[1])
        else:
            writes[plain[0]] = [plain[1]]
    if not others:
        _write(tx, writes, exact)
        return ENDED
    plan = _Plan(terms, note_causes(tx, others, terms), writes)
    for lease, outcome in others:
        plan.add(lease, outcome)
    leases = places.ending(tx, others, ENDINGS)
    # Before runs are written that begin to wait now: they would be woken by the place that they give back themselves.
    woken = places.wake_runs(tx, leases, now_ms=terms.now_ms) if leases else places.NOBODY
    if plan.runs:
        _settle_runs(tx, plan)
    _write(tx, writes, exact)
    return _finish(tx, plan, leases, woken)


def _write(tx: Transaction, writes: Mapping[str, list[Params]], exact: bool) -> None:
    for sql, rows in writes.items():
        changed = tx.executemany(sql, rows)
        if changed < len(rows) or (exact and changed > len(rows)):
            raise StaleBatch


def settle_current(tx: Transaction, settled: Sequence[tuple[Lease, Outcome]], terms: Terms) -> Settled:
    """As `settle`, for a batch that has lost leases in it: those are left out and named."""
    # Flags may have changed: something may have come that awaits it, or a limit.
    there = {
        lease.token: flags
        for lease, _ in sorted(settled, key=itemgetter(0))
        for (flags,) in tx.execute(FLAGS, (lease.seq, lease.token))
    }
    current: list[tuple[Lease, Outcome]] = []
    lost: list[Lease] = []
    for lease, outcome in settled:
        flags = there.pop(lease.token, None)
        if flags is None:
            lost.append(lease)
        else:
            current.append((lease._replace(flags=flags), outcome))
    done = settle(tx, current, terms, exact=False) if current else NOTHING
    return done._replace(lost=lost)


def _settle_runs(tx: Transaction, plan: _Plan) -> None:
    """Write the outcomes that only runs have, each with a look at what has come meanwhile. Raises StaleBatch."""
    now_ms = plan.terms.now_ms
    for lease, outcome in plan.runs:
        try:
            match outcome:
                case Suspend():
                    plan.woke |= suspend.suspend(tx, lease, outcome, now_ms=now_ms)
                case ContinueAsNew():
                    cancel_children(tx, suspend.begin_anew(tx, lease, outcome, now_ms=now_ms), now_ms=now_ms)
                    plan.woke = True
                case Park():
                    suspend.park(tx, lease, outcome, now_ms=now_ms)
                case Release(error=error):
                    crashes = 0 if suspend.note_crash(tx, lease.seq) else lease.crashes
                    plan.crashed(lease._replace(crashes=crashes), error)
        except suspend.Gone:
            raise StaleBatch from None


def _finish(tx: Transaction, plan: _Plan, leases: places.Leases, woken: places.Woken) -> Settled:
    now_ms = plan.terms.now_ms
    if plan.attempts:
        attempts.write(tx, plan.attempts)
    if plan.bodies:
        payloads.store(tx, plan.bodies)
    if plan.done:
        cursors.forget(tx, plan.done)
    for lease in plan.back:
        unique.come_back(tx, lease.seq, now_ms=now_ms)
    for lease, replacement in plan.follow_ups:
        if not tx.execute(FLAGS, (lease.seq, lease.token)):
            raise StaleBatch
        try:
            replace_message(tx, lease, replacement, now_ms=now_ms)
        except CanvasConflict as exc:  # it fails, and says why
            error = encode_error(exc)
            tx.executemany(DEAD, [(error, None, now_ms, None, lease.seq, lease.token, Flag.LINKED)])
            plan.finished = True
            plan.ends.append(End(lease.id, False, lease.group_id, error, child=bool(lease.flags & Flag.CHILD)))
    woke = propagate(tx, plan.ends, now_ms=now_ms) if plan.ends else False
    for lease in plan.ended_runs:
        woke |= end_run(tx, lease.seq, lease.id, now_ms=now_ms)
    freed = _meet_limits(tx, plan, leases, woken)
    return Settled([], plan.finished, plan.woke or woke or bool(freed), freed)


def _meet_limits(tx: Transaction, plan: _Plan, leases: places.Leases, woken: places.Woken) -> AbstractSet[str]:
    """Free places and pause keys; the queues in which something waited for a place. Raises StaleBatch.

    Behind all rows and groups, as in a claim: so no two transactions wait for each other. A place that is freed wakes
    its line at once, and a pause after it says until when the line waits all the same.
    """
    now_ms = plan.terms.now_ms
    freed = places.free(tx, leases, now_ms=now_ms, woken=woken, but={lease.seq for lease, _ in plan.runs})
    for lease, limited in plan.limited:
        if not meet(tx, lease, limited, now_ms=now_ms):
            raise StaleBatch
        if lease.flags & Flag.UNSTARTED:
            unique.come_back(tx, lease.seq, now_ms=now_ms)
    if tx.executemany(ACK_AND_VANISH, plan.vanishing) < len(plan.vanishing):
        raise StaleBatch
    return freed
