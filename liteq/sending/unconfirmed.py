"""Ids that callers chose, of calls that raised: such a call may have been written all the same.

Repeated with its id it is the same call, and makes one message. Any other call under an id that was used before is a
new one: once that message has finished, it runs again, as in Celery (ADR 0014). The storage cannot tell these apart;
the process that got the error can.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from liteq.exceptions import (
    BadMessage,
    ImproperlyConfigured,
    ReadOnly,
    StorageBusy,
    StorageConflict,
    StorageDenied,
    StorageFull,
)

__all__ = ["UnconfirmedIds"]

KEPT = 10_000
NOTHING_WRITTEN = (
    BadMessage, ImproperlyConfigured, ReadOnly,
    StorageBusy, StorageConflict, StorageDenied, StorageFull,
)  # fmt: skip
"""Errors that come before the commit, or in its place."""


class UnconfirmedIds:
    """The last `KEPT` ids whose sending raised."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    @contextmanager
    def sending(self, ids: Iterable[str]) -> Iterator[set[str]]:
        """Send messages under `ids` in this block; those of them under which a finished message is to run again."""
        ids = list(ids)
        try:
            yield {id_ for id_ in ids if id_ not in self._ids}
        except NOTHING_WRITTEN:  # the next call under such an id is no repetition
            raise
        except BaseException:
            self._add(ids)
            raise
        for id_ in ids:
            self._ids.pop(id_, None)

    def _add(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            self._ids[id_] = None
            self._ids.move_to_end(id_)
        while len(self._ids) > KEPT:
            self._ids.popitem(last=False)
