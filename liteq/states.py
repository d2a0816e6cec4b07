"""The state machine of a message: one table. The diagram in the docs is drawn from it, the lists of states in SQL are
made from it, and the conformance suite fails on a transition that it does not have (tests/conformance).

Celery's state names (`PENDING`, `STARTED`, ...) live here too: a message in the file has a `State`, a caller of
`AsyncResult.state` sees a Celery name.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

__all__ = [
    "ALL_STATES",
    "EXCEPTION_STATES",
    "EXPIRABLE",
    "FAILURE",
    "FINISHED",
    "FOLLOWED",
    "IGNORED",
    "LEGAL",
    "NONE_PRECEDENCE",
    "PENDING",
    "PRECEDENCE",
    "PRECEDENCE_LOOKUP",
    "PROPAGATE_STATES",
    "READY_STATES",
    "RECEIVED",
    "REJECTED",
    "RETRY",
    "REVOKED",
    "STARTED",
    "STORABLE",
    "SUCCESS",
    "UNFINISHED",
    "UNREADY_STATES",
    "UNSTARTED",
    "State",
    "celery_state",
    "precedence",
    "sql_list",
    "state",
]


class State(StrEnum):
    """Where a message is. The values are the literals in the file and in the partial indexes."""

    SCHEDULED = "scheduled"  # waits for its due time
    BLOCKED = "blocked"  # waits for the message or group that it awaits
    PENDING = "pending"  # may be claimed
    HELD = "held"  # a limit has no token or no place for it, or it is not the turn of its key
    LEASED = "leased"  # a worker has it, under a fencing token, until a deadline
    SUCCEEDED = "succeeded"
    DEAD = "dead"  # failed for good: a dead letter, kept with its arguments, can be replayed
    CANCELLED = "cancelled"  # revoked, or expired before it ran
    UPSTREAM_FAILED = "upstream_failed"  # will not run, because what it awaited did not succeed


LEGAL: dict[State, frozenset[State]] = {
    # promoted when due, or made due by an operator; revoked; a run that is paused
    State.SCHEDULED: frozenset({State.PENDING, State.CANCELLED, State.BLOCKED}),
    # unblocked (with a countdown: scheduled); replaced, it ends with its replacement; its upstream failed; revoked;
    # a stuck run that other code tries
    State.BLOCKED: frozenset(
        {State.PENDING, State.SCHEDULED, State.SUCCEEDED, State.UPSTREAM_FAILED, State.CANCELLED, State.LEASED}
    ),
    # claimed; held back by a rate limit; revoked; the placeholder of a group that is still being sent, put off; given
    # another time by an operator; a run that is paused, a child that waits for its slot
    State.PENDING: frozenset({State.LEASED, State.HELD, State.CANCELLED, State.SCHEDULED, State.BLOCKED}),
    # a place is free: claimed; a token of its worker's own has come; revoked; a run that is paused; postponed by a call
    # of its unique key
    State.HELD: frozenset({State.LEASED, State.PENDING, State.CANCELLED, State.BLOCKED, State.SCHEDULED}),
    # released or reaped; retried; acknowledged; failed; revoked while it ran or expired; replaced; a run that waits;
    # it met a limit outside
    State.LEASED: frozenset(
        {State.PENDING, State.SCHEDULED, State.SUCCEEDED, State.DEAD, State.CANCELLED, State.BLOCKED, State.HELD}
    ),
    State.SUCCEEDED: frozenset(),
    # replayed
    State.DEAD: frozenset({State.PENDING}),
    # what it awaits was replayed
    State.UPSTREAM_FAILED: frozenset({State.BLOCKED}),
    State.CANCELLED: frozenset(),
}

# Beside these, a caller may store another end, by `app.backend.store_result(id, ...)`, as in Celery: in the place of a
# failure, a cancellation, or an end that was stored. A message that has succeeded stays so, and none that has ended is
# cancelled. Nothing follows from a stored end, so it is no transition of the queue's. Nor is what an operator does who
# rewinds a run that has ended.
STORABLE = frozenset({State.SUCCEEDED, State.DEAD, State.CANCELLED})

FINISHED = frozenset({State.SUCCEEDED, State.DEAD, State.UPSTREAM_FAILED, State.CANCELLED})
UNFINISHED = frozenset(State) - FINISHED
UNSTARTED = UNFINISHED - {State.LEASED}
FOLLOWED = frozenset({State.SUCCEEDED, State.CANCELLED})  # a row so ended asks for no other row's result any more
EXPIRABLE = FINISHED - {State.DEAD}  # leaves when its result's time is over; a dead letter has a time of its own


def sql_list(states: Iterable[State]) -> str:
    """`states` as a list in SQL: "('pending', 'leased')", in the order in which they stand in `State`.

    The order matters: a partial index serves a query that has its condition word for word.
    """
    wanted = frozenset(states)
    return "(" + ", ".join(f"'{state.value}'" for state in State if state in wanted) + ")"


# -- the names that Celery's users know ------------------------------------------------------------------------------

PENDING = "PENDING"
RECEIVED = "RECEIVED"
STARTED = "STARTED"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
REJECTED = "REJECTED"
RETRY = "RETRY"
IGNORED = "IGNORED"

READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED})
UNREADY_STATES = frozenset({PENDING, RECEIVED, STARTED, REJECTED, RETRY})
EXCEPTION_STATES = frozenset({RETRY, FAILURE, REVOKED})
PROPAGATE_STATES = frozenset({FAILURE, REVOKED})
ALL_STATES = frozenset({PENDING, RECEIVED, STARTED, SUCCESS, FAILURE, RETRY, REVOKED})


# From the state that says most; any other name, one of a task's own, comes in the place of the None.
PRECEDENCE = (SUCCESS, FAILURE, None, REVOKED, STARTED, RECEIVED, REJECTED, RETRY, PENDING)
PRECEDENCE_LOOKUP = {name: place for place, name in enumerate(PRECEDENCE)}
NONE_PRECEDENCE = PRECEDENCE_LOOKUP[None]


def precedence(state: str) -> int:
    """The place of `state` in PRECEDENCE: the lower, the more it says."""
    return PRECEDENCE_LOOKUP.get(state, NONE_PRECEDENCE)


class state(str):  # noqa: N801 - Celery's name
    """A state's name that is compared by what it says: `state("PENDING") < state("STARTED") < state("SUCCESS")`."""

    __slots__ = ()

    def __gt__(self, other: str) -> bool:
        return precedence(self) < precedence(other)

    def __ge__(self, other: str) -> bool:
        return precedence(self) <= precedence(other)

    def __lt__(self, other: str) -> bool:
        return precedence(self) > precedence(other)

    def __le__(self, other: str) -> bool:
        return precedence(self) >= precedence(other)


def celery_state(state: State, *, retries: int = 0, started: bool = False) -> str:
    """Celery's name for `state`; `retries` tells a retry's wait from a countdown's, `started` STARTED from PENDING."""
    match state:
        case State.SUCCEEDED:
            return SUCCESS
        case State.DEAD | State.UPSTREAM_FAILED:
            return FAILURE
        case State.CANCELLED:
            return REVOKED
        case State.LEASED if started:
            return STARTED
        case State.SCHEDULED | State.PENDING | State.HELD if retries:
            return RETRY
        case _:
            return PENDING
