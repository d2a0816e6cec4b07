"""The turn of a worker: the look that says whether it is worth a transaction, and what it yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liteq.exceptions import StorageError
from liteq.message import Lease, RunSpec
from liteq.storage.claiming import admit, claim, rates
from liteq.storage.claiming.extend import Begins, begin_some
from liteq.storage.driver import Transaction
from liteq.storage.limits.rules import Cache
from liteq.storage.steps.adopt import adopt
from liteq.utils.records import NamedTuple

__all__ = ["TaggedEvents", "Turn", "Wanted", "claim_wanted", "passes", "worth_a_claim"]

TaggedEvents = Sequence[tuple[int | None, bytes]]  # each with the token of the lease that it is about


class Turn(NamedTuple):
    """The yield of one turn of a worker: new `leases`, and those whose outcome came too late.

    `due_ms`: when the next scheduled message comes due, or one that is held may start; None when there is none, and
    where nothing was to be claimed. `command`: with new leases, the newest command that was given before them
    (`storage.commands`); else 0.
    `again`: the tokens of those that some worker had before.
    """

    leases: list[Lease]
    lost: list[Lease]
    due_ms: int | None = None
    command: int = 0
    again: Sequence[int] = ()


class Wanted(NamedTuple):
    """The messages that a worker wants in one turn, in the words of `Storage.turn`."""

    queues: Sequence[str]
    worker: int
    limit: int
    visibility_s: float
    budget: rates.Budget | None = None
    flows: Mapping[str, RunSpec] | None = None
    begins: Begins | None = None


def claim_wanted(tx: Transaction, cache: Cache, wanted: Wanted, *, now_ms: int) -> claim.Claimed:
    """Claim what is `wanted`, in the form in which it is executed."""
    queues, worker, limit, visibility_s, budget, flows, begins = wanted
    claimed = admit.claim(tx, queues, cache, budget, worker, limit, visibility_s, now_ms)
    if flows:
        claimed = claimed._replace(leases=adopt(tx, claimed.leases, flows, now_ms=now_ms))
    if begins is not None and claimed.leases:
        claimed = claimed._replace(leases=begin_some(tx, claimed.leases, begins))
    return claimed


def worth_a_claim(
    tx: Transaction, queues: Sequence[str], budget: rates.Budget | None, *, now_ms: int
) -> tuple[bool, int | None]:
    """Whether there is something to claim, and if not, when the next message comes due, or may start."""
    if budget is not None and rates.look(tx, queues, budget, now_ms=now_ms):
        return True, None
    if claim.claimable(tx, queues, now_ms=now_ms):
        return True, None
    due_ms, limits = claim.next_due(tx)
    if limits:
        due_ms = min((at for at in (due_ms, admit.worth_it(tx, queues, now_ms=now_ms)) if at is not None), default=None)
    return due_ms is not None and due_ms <= now_ms, due_ms


def passes(exc: Exception) -> bool:
    """Whether the storage has refused for a reason of its own, such as a full disk: no outcome is to blame."""
    return isinstance(exc, StorageError) and type(exc) is not StorageError
