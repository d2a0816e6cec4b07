"""Deliveries as they come, and those that a worker gives back before an executor has begun them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from liteq.execution.lines import about
from liteq.execution.shown import noun_of
from liteq.message import Flag, Lease, Outcome, Release

__all__ = ["GivenBack", "recalled", "tell_received"]

logger = logging.getLogger("liteq.worker.received")

NOT_BEGUN = Release()
MOST = 10_000  # a window of leases for each of a worker's executors, many times over


class GivenBack:
    """Remembers deliveries that no executor began: another worker may take them, or this one."""

    def __init__(self) -> None:
        self._deliveries: dict[tuple[int, int, int], None] = {}

    def note(self, outcomes: Sequence[tuple[Lease, Outcome]]) -> int:
        """Remember those among `outcomes`; how many there are.

        A crash, a rejection and a task that is not known here have a reason with them: these were begun.
        """
        given_back = [lease for lease, outcome in outcomes if type(outcome) is Release and outcome == NOT_BEGUN]
        self._deliveries.update(dict.fromkeys(map(_delivery, given_back)))
        while len(self._deliveries) > MOST:
            del self._deliveries[next(iter(self._deliveries))]
        return len(given_back)

    def fresh(self, leases: list[Lease]) -> list[Lease]:
        """Those of `leases` that were not given back before; the others are forgotten: they are here again.

        A run that has a history was here, or elsewhere, before: it goes on.
        """
        if not self._deliveries:
            return [lease for lease in leases if not lease.flags & Flag.HISTORY]
        fresh = [
            lease for lease in leases if not lease.flags & Flag.HISTORY and _delivery(lease) not in self._deliveries
        ]
        for lease in leases:
            self._deliveries.pop(_delivery(lease), None)
        return fresh


def recalled(
    outcomes: Sequence[tuple[Lease, Outcome]], which: Callable[[Lease], bool]
) -> tuple[list[Lease], list[tuple[Lease, Outcome]]]:
    """The leases of `which` among those that are about to return to the queue, and the outcomes without them."""
    releases = [lease for lease, outcome in outcomes if type(outcome) is Release and not outcome.crashed]
    returning = [lease for lease in releases if which(lease)]
    tokens = {lease.token for lease in returning}
    return returning, [pair for pair in outcomes if pair[0].token not in tokens]


def tell_received(leases: Sequence[Lease]) -> None:
    """Log deliveries that have come."""
    if logger.isEnabledFor(logging.INFO):
        for one in leases:
            logger.info("%s %s[%s] received", noun_of(one), one.task, one.id, extra=about(one, "task.received"))


def _delivery(lease: Lease) -> tuple[int, int, int]:
    """One delivery of a message: a retry and a crash begin another."""
    return lease.seq, lease.retries, lease.crashes
