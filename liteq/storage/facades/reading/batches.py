"""Batches that ran, one transaction a method."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade
from liteq.storage.statistics import batches as _batches
from liteq.storage.statistics.batches import Began

__all__ = ["Batches"]


class Batches(Facade):
    """Which messages were executed together, for a week."""

    def note(self, batches: Sequence[Began]) -> None:
        """Write batches that have begun."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _batches.note(tx, batches)

    def of(self, message_id: str) -> Began | None:
        """The batch in which a message was executed last; None where it was executed alone, or that is long ago."""
        with self._driver.read(alone=True) as tx:
            return _batches.of(tx, message_id)
