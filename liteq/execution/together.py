"""Batches as leases: messages of one task that are executed together go through a pool as one lease.

That one, the first of them with Flag.BATCH, is in the hands of no storage: a pool gives the outcomes of its members.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from liteq.message import Flag, Lease, Outcome, Release
from liteq.policy.batches import BatchTerms
from liteq.serialization import decode
from liteq.serialization.content import ENVELOPE

__all__ = ["ALONE", "Each", "Kind", "Kinds", "in_batches", "members_of", "terms_in", "together"]

logger = logging.getLogger("liteq.execution")

Kind = tuple[str, str | None]  # messages of one task, and one key: those may be in one batch
ALONE = "alone"  # in the options of a message that is to be executed in no batch with others


class Each(Release):
    """The outcome of a batch: that of each member, in their order.

    A pool takes it apart. To the storage it would be what it inherits from: the lease goes back.
    """

    __slots__ = ("outcomes",)

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


def together(members: Sequence[Lease]) -> Lease:
    """One lease for all of `members`; of one, that one itself."""
    first = members[0]
    if len(members) == 1:
        return first
    early = Flag.EARLY_ACK if any(one.flags & Flag.EARLY_ACK for one in members) else 0
    return first._replace(payload=b"", flags=first.flags | Flag.BATCH | early, run=tuple(map(tuple, members)))


def members_of(lease: Lease) -> list[Lease]:
    """The messages that `lease` stands for: itself, where it is no batch."""
    if lease.flags & Flag.BATCH and lease.run is not None:
        return [Lease._make(one) for one in lease.run]
    return [lease]


class Kinds:
    """Tells which leases may be executed together. `terms_of`: those of a task by its name, None: it has no batches.

    `read` fetches the arguments of a message that are too large for its row.
    """

    def __init__(self, terms_of: Callable[[str], BatchTerms | None], read: Callable[[Lease], Lease]) -> None:
        self._terms_of = terms_of
        self._read = read
        self._known: dict[str, BatchTerms | None] = {}
        self._warned: set[str] = set()

    def forget(self) -> None:
        """Look the terms of tasks up again: they may have been changed."""
        self._known.clear()

    def terms(self, task: str) -> BatchTerms | None:
        """The terms of a task; None: it takes no batches."""
        try:
            return self._known[task]
        except KeyError:
            terms = self._known[task] = self._terms_of(task)
            return terms

    def of(self, lease: Lease) -> Kind | None:
        """The kind of a message; None of one that is executed alone.

        So is one that was there when a process died: it may be to blame, and is not to take others along once more.
        """
        terms = self.terms(lease.task)
        if terms is None or terms.size == 1 or lease.crashes or lease.flags & (Flag.ALONE | Flag.RUN):
            return None
        if lease.options is not None and ALONE in decode(lease.options):
            return None
        if terms.key is None:
            return lease.task, None
        try:
            return lease.task, self._key(lease, terms)
        except Exception as exc:  # noqa: BLE001 - arguments may be anything
            if lease.task not in self._warned:
                self._warned.add(lease.task)
                text = "%s[%s], and its like, run alone: there is no batch_key for it: %.300s"
                logger.warning(text, lease.task, lease.id, exc)
            return None

    def _key(self, lease: Lease, terms: BatchTerms) -> str | None:
        """The key of a message by its arguments, where these are plain JSON: objects are made where it is executed."""
        assert terms.key is not None
        payload = lease.payload or self._read(lease).payload
        if payload[:1] == ENVELOPE:
            raise TypeError("its arguments are pickled, compressed or encrypted")
        args, kwargs = decode(payload)
        return terms.key(args, kwargs)


def in_batches(leases: Iterable[Lease], kinds: Kinds) -> Iterator[Lease]:
    """`leases` in batches that are as large as they may be; what is executed alone as it is."""
    filling: dict[Kind, list[Lease]] = {}
    for lease in leases:
        kind = kinds.of(lease)
        if kind is None:
            yield lease
            continue
        members = filling.setdefault(kind, [])
        members.append(lease)
        terms = kinds.terms(lease.task)
        if terms is not None and len(members) >= terms.size:
            yield together(filling.pop(kind))
    for members in filling.values():
        yield together(members)


def terms_in(tasks: Any) -> Callable[[str], BatchTerms | None]:
    """The terms of the tasks of a registry, by name."""

    def terms_of(name: str) -> BatchTerms | None:
        task = tasks.get(name)
        return getattr(task, "batch_terms", None)  # workflows have none

    return terms_of
