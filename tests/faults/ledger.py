"""The oracle: a ledger beside the database, in the words of Jepsen's queue tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from liteq.states import State
from liteq.storage.storage import Storage

__all__ = ["Ledger", "Verdict"]


class Verdict(NamedTuple):
    """How many messages were ...

    lost           accepted, and neither done nor to be done
    duplicated     acknowledged more than once
    unexpected     in the file or done, and never sent
    recovered      executed more than once, acknowledged once
    indeterminate  the call raised, and the message is there; a repeated call with the same id is accepted, not this
    """

    lost: int
    duplicated: int
    unexpected: int
    recovered: int
    indeterminate: int

    @property
    def sound(self) -> bool:
        return not (self.lost or self.duplicated or self.unexpected)


@dataclass
class Ledger:
    """The answers that callers got. The database is not asked until the verdict."""

    accepted: list[str] = field(default_factory=list)  # in the order of their commits
    raised: set[str] = field(default_factory=set)
    executed: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)

    def accept(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            self.accepted.append(id_)
            self.raised.discard(id_)

    def fail(self, ids: Iterable[str]) -> None:
        self.raised.update(ids)

    def verdict(self, present: dict[str, State]) -> Verdict:
        """`present`: every message of the file with its state; rows of acknowledged ones must have been kept."""
        accepted = set(self.accepted)
        return Verdict(
            lost=len(accepted - present.keys()),
            duplicated=sum(n > 1 for n in self.acknowledged.values()),
            unexpected=len(present.keys() - accepted - self.raised),
            recovered=sum(n > 1 for id_, n in self.executed.items() if self.acknowledged[id_] == 1),
            indeterminate=len(self.raised & present.keys()),
        )


def present(storage: Storage) -> dict[str, State]:
    """Every message of the file, by id."""
    with storage.driver.read() as tx:
        return {id_: State(state) for id_, state in tx.execute("SELECT id, state FROM liteq_messages")}
