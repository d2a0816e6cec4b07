"""The oracle of the drill with hosts: what must hold when all is at rest, whatever has befallen whom.

What was accepted is done, with its result. No token was given out twice, no lease ended well twice, and each execution
but one has a reason: its lease ended otherwise, or the server that knew of it crashed. Such a server may have forgotten
several leases of one message: a claim is no promise, and waits neither for the disk nor for the standby. A lease is
taken from its worker only when nothing was heard of it for a whole lease, by the server's clock, or its process was
seen to be gone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from liteq.serialization import decode
from liteq.states import State
from liteq.storage.storage import Storage

from .hosts_audit import Lease, read_leases
from .oracle import AT_REST, ORACLE

__all__ = ["Befallen", "troubles"]

NEGATIVE = "SELECT id, remaining FROM liteq_groups WHERE remaining < 0"
EARLY_S = 0.2  # between a time that a statement of a verb was given, and that of its trigger


class Befallen(NamedTuple):
    """A fault: of which kind, on which host ("": of the server), from when to when (s since the epoch)."""

    what: str
    host: str
    began_s: float
    ended_s: float


class Start(NamedTuple):
    """An execution, or a step of a run, that has begun."""

    kind: str
    id: str
    token: int
    host: str


def troubles(storage: Storage, folder: Path, befallen: Sequence[Befallen], *, lease_s: float) -> list[str]:
    """The faults that are found, in sentences."""
    leases, starts = read_leases(storage), list(_starts(folder / "ledger"))
    crashes = sum(one.what == "server" for one in befallen)
    return [
        *_of_the_rows(storage),
        *_of_the_accepted(storage, folder),
        *_of_tokens(starts),
        *_of_executions(starts, leases, crashes),
        *_of_leases(leases, befallen, lease_s),
    ]


def _of_the_rows(storage: Storage) -> Iterator[str]:
    with storage.driver.read() as tx:
        for name, sql in {**ORACLE, **AT_REST, "a group below zero": NEGATIVE}.items():
            if rows := tx.execute(sql):
                yield f"{name}: {len(rows)}, {rows[:3]}"


def _of_the_accepted(storage: Storage, folder: Path) -> Iterator[str]:
    for path in folder.glob("producer-*[0-9]"):
        text = path.read_text()
        lines = [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
        found = storage.reader.find_many([id_ for _, id_, _ in lines])
        for _, id_, value in lines:
            row = found.get(id_)
            if row is None or row.state is not State.SUCCEEDED:
                yield f"accepted and not done: {id_}, {row and row.state}"
            elif decode(row.result or b"null") != int(value):
                yield f"{id_} has the result {row.result!r} in place of {value}"


def _starts(ledger: Path) -> Iterator[Start]:
    for line in ledger.read_text().splitlines():
        what, kind, id_, token, host, _ = line.split()
        if what == "start":
            yield Start(kind, id_, int(token), host)


def _of_tokens(starts: Sequence[Start]) -> Iterator[str]:
    by_token: dict[int, list[Start]] = defaultdict(list)
    for start in starts:
        if not start.kind.startswith("step-"):
            by_token[start.token].append(start)
    for token, found in by_token.items():
        if len(found) > 1:
            yield f"token {token} was given out {len(found)} times: {found}"


def _of_executions(starts: Sequence[Start], leases: Sequence[Lease], crashes: int) -> Iterator[str]:
    """Each execution of a message, and each start of a step, but for one needs a lease that did not end well.

    A lease that the server has forgotten in a crash counts as such.
    """
    unwell: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for lease in leases:
        unwell[lease.id] += any(lease.when(what) for what in ("reaped", "crashed", "back"))
        asked[lease.id] += bool(lease.when("retried"))
    known = {(lease.id, lease.token) for lease in leases}
    forgotten = Counter(
        (start.kind, start.id)
        for start in starts
        if not start.kind.startswith("step-") and (start.id, start.token) not in known
    )
    for (kind, id_), n in Counter((start.kind, start.id) for start in starts).items():
        lost = forgotten[kind, id_]
        if lost and not crashes:
            yield f"{kind} of {id_} began {lost} times under a lease that the server does not know"
        again = n - lost - 1 - (0 if kind.startswith("step-") else asked[id_])
        if again > unwell[id_] + crashes:
            yield (
                f"{kind} of {id_} began {n} times, {lost} of them forgotten, {unwell[id_]} leases ended otherwise, the "
                f"server {crashes} times"
            )


def _of_leases(leases: Sequence[Lease], befallen: Sequence[Befallen], lease_s: float) -> Iterator[str]:
    ends: Counter[str] = Counter()
    for lease in leases:
        ends[lease.id] += len(lease.when("ended"))
        for at_s in lease.when("reaped"):
            early = at_s < lease.kept_s + lease_s - EARLY_S
            if early and not (_was_killed(lease, at_s, befallen) or _was_away(lease, befallen)):
                yield f"a live one's lease was taken {at_s - lease.kept_s:.1f} s after it was kept: {lease}"
    for id_, n in ends.items():
        if n > 1:
            yield f"{id_} ended {n} times"


def _was_killed(lease: Lease, at_s: float, befallen: Sequence[Befallen]) -> bool:
    """Whether the worker of `lease` was killed by then: on its own host others see that at once."""
    return any(
        one.host == lease.host and one.what in {"worker killed", "host killed"}
        and lease.entered_s <= one.ended_s and one.began_s <= at_s
        for one in befallen
    )  # fmt: skip


def _was_away(lease: Lease, befallen: Sequence[Befallen]) -> bool:
    """Whether its worker may have begun to claim or to keep it before it stood still, or was cut off.

    The lease counts from then: a worker names its end in what it sends. What was sent into a cable that was pulled
    comes through after as long again at most.
    """
    return any(
        one.host == lease.host and one.what in {"frozen", "cut"}
        and one.began_s <= at_s <= 2 * one.ended_s - one.began_s
        for one in befallen for at_s in (*lease.when("claimed"), lease.kept_s)
    )  # fmt: skip
