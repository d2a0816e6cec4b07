"""The verb *settle*: leases end, each with its outcome and its consequences, in one transaction.

Each write carries the lease's fencing token. A lease whose token is no longer current is lost: its outcome is thrown
away, since another worker has, or will have, the message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter
from typing import Protocol

from liteq.exceptions import CanvasConflict, TaskRevokedError
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
    Release,
    Replace,
    RetryAt,
    Suspend,
)
from liteq.serialization import encode_error
from liteq.storage.canvases.cancel import is_revoked
from liteq.storage.canvases.continuation import propagate
from liteq.storage.canvases.follow import waits_for
from liteq.storage.driver import Bell, Driver, Params, Promise, Transaction
from liteq.storage.kept import children, cursors
from liteq.storage.limits import places
from liteq.storage.limits.meeting import meet
from liteq.storage.rows import payloads
from liteq.storage.sending import unique
from liteq.storage.sending.enqueue import is_there, stand_behind
from liteq.storage.settling.endings import LEFT_ALONE, cancel_children, end_run
from liteq.storage.settling.outcomes import (
    ACK,
    ACK_AND_VANISH,
    CONCERNS_OTHERS,
    ENDINGS,
    FLAGS,
    MORE_THAN_A_ROW,
    STAYS,
    Plan,
)
from liteq.storage.settling.telling import leave_word
from liteq.storage.settling.terms import ENDED, NOTHING, Settled, Terms, note_causes, replace_message
from liteq.storage.statistics import attempts
from liteq.storage.steps import suspend
from liteq.storage.steps.wake import give_back

__all__ = ["NOTHING", "Settle", "Settled", "StaleBatch", "acknowledge", "one_wakes", "settle", "settle_current"]


AGAIN = frozenset({RetryAt, Release, Limited, Replace})
REVOKED = encode_error(TaskRevokedError("revoked"))


class Settle(Protocol):
    """`settle`, or `settle_current`."""

    def __call__(self, tx: Transaction, settled: Sequence[tuple[Lease, Outcome]], terms: Terms, /) -> Settled: ...


class StaleBatch(Exception):
    """Raised when at least one lease of a batch was lost: those that were not are to be settled without it."""


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
    if lease.retries or lease.crashes or outcome.children is not None:
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
    for n, (lease, outcome) in enumerate(others):
        if type(outcome) in AGAIN and not lease.flags & Flag.RUN:
            others[n] = lease, _last(tx, lease, outcome, terms.now_ms)
    plan = Plan(terms, note_causes(tx, others, terms), writes)
    for lease, outcome in others:
        if type(outcome) is Release and outcome.crashed and not lease.flags & Flag.RUN and terms.gives_up(lease):
            told = leave_word(tx, lease.seq, lease.id, now_ms=terms.now_ms)
            plan.add(lease._replace(flags=lease.flags | Flag.LINKED) if told else lease, outcome)
        else:
            plan.add(lease, outcome)
    leases = places.ending(tx, others, ENDINGS)
    # Before runs are written that begin to wait now: they would be woken by the place that they give back themselves.
    woken = places.wake_runs(tx, leases, now_ms=terms.now_ms) if leases else places.NOBODY
    if plan.runs:
        _settle_runs(tx, plan)
    _write_planned(tx, plan, exact)
    if plan.follow_ups or plan.behind:
        _put_behind(tx, plan, exact)
    return _finish(tx, plan, leases, woken)


def _last(tx: Transaction, lease: Lease, outcome: Outcome, now_ms: int) -> Outcome:
    """The outcome of a task that was to go on: the end, where its run has let go of it meanwhile, or it was revoked.

    A worker sees that a task which is retried was revoked, and not that its replacement was, which has other ids.
    """
    if lease.flags & Flag.LINKED:  # a run may have started it, or the canvas that it is a part of
        for (flags,) in tx.execute(FLAGS, (lease.seq, lease.token)):
            if flags & Flag.ASKED:
                return Cancel(LEFT_ALONE)
    return Cancel(REVOKED) if type(outcome) is Replace and is_revoked(tx, lease.id, now_ms=now_ms) else outcome


def _write(tx: Transaction, writes: Mapping[str, list[Params]], exact: bool) -> None:
    for sql, rows in writes.items():
        changed = tx.executemany(sql, rows)
        if changed < len(rows) or (exact and changed > len(rows)):
            raise StaleBatch


def _write_planned(tx: Transaction, plan: Plan, exact: bool) -> None:
    """Write the rows of `plan` and what stands beside them; it may gather more then. Raises StaleBatch."""
    _write(tx, plan.writes, exact)
    if plan.attempts:
        attempts.write(tx, plan.attempts)
    if plan.bodies:
        payloads.store(tx, plan.bodies)
    if plan.children:
        children.store(tx, plan.children)
    if plan.done:
        cursors.forget(tx, plan.done)
    for lease in plan.back:
        unique.come_back(tx, lease.seq, now_ms=plan.terms.now_ms)
    plan.forget_written()


def _put_behind(tx: Transaction, plan: Plan, exact: bool) -> None:
    """Write the messages that await something from now on; those that cannot have failed, and say why.

    Replacements first: a message may run again behind a part of one. Raises StaleBatch.
    """
    now_ms = plan.terms.now_ms
    cannot: list[tuple[Lease, CanvasConflict]] = []
    for lease, replacement in plan.follow_ups:
        if not tx.execute(FLAGS, (lease.seq, lease.token)):
            raise StaleBatch
        try:
            replace_message(tx, lease, replacement, now_ms=now_ms)
        except CanvasConflict as exc:
            cannot.append((lease, exc))
    put: list[tuple[Lease, str]] = []
    for lease, retry in plan.behind:
        node = retry.awaits or ""
        before = _in_its_way(tx, lease.id, node)
        if before is None:
            plan.retry(lease, retry)
            _write_planned(tx, plan, exact)  # at once: the next one may be meant to run behind this one
            put.append((lease, node))
        else:
            cannot.append((lease, CanvasConflict(f"{lease.id} cannot run after {before}: it would wait for ever")))
    for lease, conflict in cannot:
        rows = tx.execute(FLAGS, (lease.seq, lease.token))  # as they are now: it may have been linked above
        if not rows:
            raise StaleBatch
        plan.add(lease._replace(flags=rows[0][0]), DeadLetter(encode_error(conflict)))
    _write_planned(tx, plan, exact)
    for lease, node in put:
        plan.elsewhere |= give_back(tx, lease.awaits, now_ms=now_ms)
        stand_behind(tx, node, now_ms=now_ms)


def _in_its_way(tx: Transaction, id_: str, node: str) -> str | None:
    """The reason why the message `id_` cannot run after `node`; None where it can."""
    if node == id_:
        return "itself"
    if not is_there(tx, node):
        return f"{node!r}, which is not in the queue"
    return f"{node!r}, which runs after it" if waits_for(tx, node, {id_}) else None


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


def _settle_runs(tx: Transaction, plan: Plan) -> None:
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
                    plan.woke |= suspend.park(tx, lease, outcome, now_ms=now_ms)
                case Release(error=error):
                    crashes = 0 if suspend.note_crash(tx, lease.seq) else lease.crashes
                    plan.crashed(lease._replace(crashes=crashes), error)
        except suspend.Gone:
            raise StaleBatch from None


def _finish(tx: Transaction, plan: Plan, leases: places.Leases, woken: places.Woken) -> Settled:
    now_ms = plan.terms.now_ms
    freed = plan.elsewhere | propagate(tx, plan.ends, now_ms=now_ms) if plan.ends else plan.elsewhere
    woke = plan.woke
    for lease in plan.ended_runs:
        woke |= end_run(tx, lease.seq, lease.id, now_ms=now_ms)
    freed = freed | _meet_limits(tx, plan, leases, woken)
    return Settled([], plan.finished, woke or bool(freed), freed)


def _meet_limits(tx: Transaction, plan: Plan, leases: places.Leases, woken: places.Woken) -> AbstractSet[str]:
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
