"""Conversations of agents: one transaction a method."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade
from liteq.storage.kept import conversations as _conversations
from liteq.storage.kept.conversations import Entry, Record

__all__ = ["Conversations"]


class Conversations(Facade):
    """Records of conversations, and the entries that they lead to."""

    def find(self, id_: str) -> Record | None:
        """The record of a conversation; None where there is none."""
        with self._driver.read() as tx:
            return _conversations.find(tx, id_)

    def list(self, *, scope: str | None = None, limit: int | None = None) -> list[Record]:
        """Records, those that were saved last first."""
        with self._driver.read() as tx:
            return _conversations.listing(tx, scope, limit)

    def entry(self, id_: str) -> Entry | None:
        """One entry; None where there is none."""
        with self._driver.read() as tx:
            return _conversations.entry(tx, id_)

    def history(self, tip: str, *, limit: int | None = None) -> Sequence[Entry]:
        """The entries that lead to `tip`, the oldest first."""
        with self._driver.read() as tx:
            return _conversations.history(tx, tip, limit)

    def write(
        self, record: Record, tips: Sequence[str], entries: Sequence[Entry], *, expected: str | None, head: str | None
    ) -> bool:
        """Store a record and its new entries, all or nothing; False where the one there is not of `expected`."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _conversations.write(tx, record, tips, entries, expected=expected, head=head)

    def delete(self, id_: str, *, expected: str) -> bool:
        """Delete a conversation, with what only it leads to; False where the one there is not of `expected`."""
        with self._driver.write(Promise.REMOVED) as tx:
            return _conversations.delete(tx, id_, expected=expected)
