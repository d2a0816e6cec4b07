"""Deliveries that a worker gave back before an executor had begun them."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.message import Flag, Lease, Outcome, Release

__all__ = ["GivenBack"]

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


def _delivery(lease: Lease) -> tuple[int, int, int]:
    """One delivery of a message: a retry and a crash begin another."""
    return lease.seq, lease.retries, lease.crashes
