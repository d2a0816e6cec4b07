"""Ids that callers chose and that this process has sent: what is sent under one of them again is a new call.

A call that raised may be repeated with its id, and makes one message. One that returned, and is repeated, is meant to
run once more, as a frozen signature or a `task_id=` of one's own does in Celery. The storage cannot tell these
apart; the process can.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

__all__ = ["AcceptedIds"]

KEPT = 10_000


class AcceptedIds:
    """The last `KEPT` of them."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def known(self, ids: Iterable[str]) -> list[str]:
        """Those of `ids` that were sent before."""
        return [id_ for id_ in ids if id_ in self._ids]

    def add(self, ids: Iterable[str]) -> None:
        """Remember `ids`: they are in the file."""
        for id_ in ids:
            self._ids[id_] = None
            self._ids.move_to_end(id_)
        while len(self._ids) > KEPT:
            self._ids.popitem(last=False)
