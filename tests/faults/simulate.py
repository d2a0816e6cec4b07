"""N workers and producers over a real file, in one process, with one clock and one seed; a model says what must be.

    python -m tests.faults.simulate --seed 7 --steps 10000

Each step is a verb chosen by the seed: workers stop, die and come back late, the clock jumps, the disk fails inside a
transaction. A divergence between the file and the model ends the run and names its seed and step.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from liteq.exceptions import StorageError
from liteq.message import (
    Ack,
    Batch,
    Cancel,
    DeadLetter,
    Flag,
    Group,
    Lease,
    Message,
    Outcome,
    Release,
    RetryAt,
    WorkerIdentity,
)
from liteq.states import State
from liteq.storage.driver import Durability
from liteq.testing import FakeClock

from .harness import integrity
from .model import Model
from .vfs import FaultyVFS, storage_on

__all__ = ["Diverged", "Simulation"]

VISIBILITY_S = 60
LOOK_EVERY = 50  # steps between two comparisons of the whole file
KEPT_S = 120  # finished messages stay for so long
SEEN = f"""
SELECT id, state, retries, crashes, reaps, due_ms, CASE WHEN state = 'leased' THEN deadline_ms END,
       state = 'leased' AND flags & {Flag.EARLY_ACK} <> 0 AND flags & {Flag.BEGUN} <> 0
  FROM liteq_messages
"""
GROUPS = "SELECT id, remaining, failed FROM liteq_groups"


class Diverged(AssertionError):
    """Raised when the file and the model differ."""


@dataclass
class Worker:
    """The leases that a simulated worker believes to hold; it may be wrong."""

    number: int
    held: list[Lease] = field(default_factory=list)


class Simulation:
    """One run. `step()` does what the seed says; the methods named like verbs may be called by hand as well."""

    def __init__(self, folder: Path, seed: int, *, workers: int = 4, faults: bool = True) -> None:
        self.seed = seed
        self.steps = 0
        self.rng = random.Random(seed)
        self.path = folder / f"simulation-{seed}.db"
        self.vfs = FaultyVFS(f"simulation-{seed}")
        self.clock = FakeClock()
        self.storage = storage_on(self.vfs.name, self.path, clock=self.clock, durability=Durability.RELAXED)
        self.storage.migrate()
        self.model = Model(self.clock.now_ms())
        self.faults = faults
        self._ids = self._workers = 0
        self.workers = [self._new_worker() for _ in range(workers)]
        self.dead: list[int] = []
        self.sent: list[Batch] = []
        self.settled = 0
        self.raised = 0

    def close(self) -> None:
        self.storage.close()
        self.vfs.unregister()

    # -- one step ----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Do one thing, and look at the whole now and then."""
        self.steps += 1
        self.rng.choices(list(self._verbs), list(self._verbs.values()))[0](self)
        if self.steps % LOOK_EVERY == 0:
            self.compare()

    def run(self, steps: int) -> None:
        """Raises Diverged, which names the seed."""
        try:
            for _ in range(steps):
                self.step()
            self.drain()
        except Diverged as exc:
            raise Diverged(f"seed {self.seed}, step {self.steps}: {exc}") from exc

    def _apply(self, real: Callable[[], Any], modelled: Callable[[Model], Any]) -> Any:
        """Do a thing to both, where the disk may fail meanwhile; what the two returned must be equal.

        A call that raised has been done, or not: the model follows whichever the file shows, and None is returned.
        """
        self.model.now_ms = self.clock.now_ms()
        if not (self.faults and self.rng.random() < 0.02):
            got, wanted = real(), modelled(self.model)
            if got != wanted:
                raise Diverged(f"returned {got}, the model says {wanted}")
            return got
        before = copy.deepcopy(self.model)
        self.vfs.arm(
            self.rng.choice(["EIO on write", "ENOSPC", "short write", "EIO on read"]), self.rng.randrange(1, 8)
        )
        try:
            got = real()
        except StorageError:
            self.raised += 1
            self.vfs.disarm()
            modelled(self.model)
            if self._differences() is None:
                return None  # it had committed
            self.model = before
            self.compare()
            return None
        self.vfs.disarm()
        wanted = modelled(self.model)
        if got != wanted:
            raise Diverged(f"returned {got}, the model says {wanted}")
        return got

    # -- verbs -------------------------------------------------------------------------------------------------------

    def send(self) -> None:
        """A new message or canvas; now and then one that was sent before, as a caller does whose call raised."""
        if self.sent and self.rng.random() < 0.1:
            batch = self.rng.choice(self.sent[-20:])
            if any(m.id not in self.model.rows for m in batch.messages):
                return  # its time is over: it would be a new one
        else:
            batch = self.rng.choice([self._single, self._single, self._chain, self._chord, self._caught])()
            self.sent.append(batch)
            del self.sent[:-20]
        self._apply(lambda: self.storage.enqueue(batch), lambda model: model.enqueue(batch))

    def claim(self) -> None:
        worker = self.rng.choice(self.workers)
        limit = self.rng.randrange(1, 8)
        leases: list[Lease] = []

        def real() -> list[str]:
            leases[:] = self.storage.claim(["celery"], worker=worker.number, limit=limit, visibility_s=VISIBILITY_S)
            return [lease.id for lease in leases]

        if self._apply(real, lambda model: model.claim(worker.number, limit, VISIBILITY_S * 1000)) is not None:
            worker.held += leases
            if leases and not self.model.grant({lease.id: lease.token for lease in leases}):
                raise Diverged(f"a fencing token was given out twice, or went back: {leases}")
            for lease in leases:
                if lease.flags & Flag.EARLY_ACK and self.rng.random() < 0.5:
                    self._begin(lease)

    def _begin(self, lease: Lease) -> None:
        self._apply(lambda: bool(self.storage.leases.begin([lease])), lambda model: model.begin(lease.id, lease.token))

    def settle(self) -> None:
        worker = self.rng.choice(self.workers)
        leases = self.rng.sample(worker.held, self.rng.randrange(len(worker.held) + 1))
        if not leases:
            return
        settled = [(lease, self._outcome()) for lease in leases]
        done = self._apply(
            lambda: {lease.id for lease in self.storage.settle(settled)},
            lambda model: model.settle([(lease.id, lease.token, outcome) for lease, outcome in settled]),
        )
        if done is not None:  # else the worker keeps them, and will settle them again
            worker.held = [lease for lease in worker.held if lease not in leases]
            self.settled += len(leases)

    def beat(self) -> None:
        worker = self.rng.choice(self.workers)
        held = worker.held

        def real() -> set[str]:
            return {lease.id for lease in self.storage.heartbeat(worker.number, held, visibility_s=VISIBILITY_S)[1]}

        pairs = [(lease.id, lease.token) for lease in held]
        lost = self._apply(real, lambda model: model.extend(pairs, VISIBILITY_S * 1000))
        worker.held = [lease for lease in held if lease.id not in (lost or ())]

    def die(self) -> None:
        """A worker is gone with all that it holds; another takes its place."""
        worker = self.rng.choice(self.workers)
        self.workers.remove(worker)
        self.dead.append(worker.number)
        self.workers.append(self._new_worker())

    def reap(self) -> None:
        dead, self.dead = self.dead, []
        self.model.now_ms = self.clock.now_ms()
        self.storage.reap(dead)
        self.model.reap(dead)

    def advance(self) -> None:
        self.clock.advance(self.rng.choice([0.001, 1, 5, 30, 61]))

    def cancel(self) -> None:
        if self.model.rows:
            id_ = self.rng.choice(list(self.model.rows))
            self._apply(lambda: (self.storage.cancel([id_]), None)[1], lambda model: model.cancel([id_]))

    def replay(self) -> None:
        dead = [id_ for id_, row in self.model.rows.items() if row.state is State.DEAD]
        if dead:
            id_ = self.rng.choice(dead)
            self._apply(lambda: (self.storage.dead.requeue([id_]), None)[1], lambda model: self._replayed(model, id_))

    def _replayed(self, model: Model, id_: str) -> None:
        """Errbacks that are to be called again are copies; their ids, and their order, are told by the file."""
        known = set(model.rows)
        model.replay([id_])
        with self.storage.driver.read() as tx:
            rows = tx.execute("SELECT id, awaits FROM liteq_messages ORDER BY seq")
        found = {id_: awaits for id_, awaits in rows if id_ not in known}
        names: dict[str, str] = {}
        for row in [row for row in model.rows.values() if row.id not in known and found]:
            awaits = names.get(row.awaits or "", row.awaits)
            names[row.id] = next(id_ for id_, awaited in found.items() if awaited == awaits)
            del found[names[row.id]]
        model.rename(names)
        copies = [id_ for id_, _ in rows if id_ not in known]
        for copy_id, seq in zip(copies, sorted(model.rows[id_].seq for id_ in copies), strict=True):
            model.rows[copy_id].seq = seq

    def expire(self) -> None:
        """Old results leave: of the file, and then of the model, where nobody can miss them."""
        self.compare()
        now_ms = self.clock.now_ms()
        self.storage.expire(result_expires_s=KEPT_S, dead_expires_s=2 * KEPT_S)
        with self.storage.driver.read() as tx:
            left = {id_ for (id_,) in tx.execute("SELECT id FROM liteq_messages")}
            groups = {id_ for (id_,) in tx.execute("SELECT id FROM liteq_groups")}
        gone = self.model.rows.keys() - left
        for id_ in gone:
            if not self.model.may_expire(id_, now_ms - KEPT_S * 1000, now_ms - 2 * KEPT_S * 1000):
                raise Diverged(f"{self.model.rows[id_]} left too early")
        for id_ in gone:
            del self.model.rows[id_]
        for id_ in self.model.groups.keys() - groups:
            if self.model.groups[id_].remaining:
                raise Diverged(f"group {id_} left before it was done")
            del self.model.groups[id_]

    def checkpoint(self) -> None:
        self.storage.driver.fold_log()

    _verbs: ClassVar[dict[Callable[[Simulation], None], int]] = {
        send: 20, claim: 30, settle: 30, beat: 5, die: 1, reap: 4, advance: 12, cancel: 2, replay: 2, expire: 1,
        checkpoint: 1,
    }  # fmt: skip

    # -- the end, and the comparison ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """Everything ends: whatever happened, nothing may wait for ever."""
        self.faults = False
        for _ in range(10_000):
            if not any(row.state not in FINAL for row in self.model.rows.values()):
                break
            self.clock.advance(61)
            self.reap()
            self.claim()
            for worker in self.workers:
                if worker.held:
                    settled: list[tuple[Lease, Outcome]] = [(lease, Ack(b"1")) for lease in worker.held]
                    self.model.now_ms = self.clock.now_ms()
                    self.storage.settle(settled)
                    self.model.settle([(lease.id, lease.token, outcome) for lease, outcome in settled])
                    worker.held = []
        self.compare()
        stuck = [row for row in self.model.rows.values() if row.state not in FINAL]
        if stuck:
            raise Diverged(f"{len(stuck)} messages wait for ever: {stuck[0]}")
        self.storage.close()
        if integrity(self.path) != "ok":
            raise Diverged("the file is damaged")

    def compare(self) -> None:
        """Raises Diverged."""
        difference = self._differences()
        if difference is not None:
            raise Diverged(difference)

    def _differences(self) -> str | None:
        with self.storage.driver.read() as tx:
            rows = {id_: tuple(seen) for id_, *seen in tx.execute(SEEN)}
            groups = {id_: tuple(seen) for id_, *seen in tx.execute(GROUPS)}
        wanted = {id_: row.seen for id_, row in self.model.rows.items()}
        if rows != wanted:
            id_ = min(id_ for id_ in rows.keys() | wanted.keys() if rows.get(id_) != wanted.get(id_))
            return f"message {id_} is {rows.get(id_)}, the model says {wanted.get(id_)}: {self.model.rows.get(id_)}"
        counters = {id_: (c.remaining, c.failed) for id_, c in self.model.groups.items()}
        if groups != counters:
            id_ = min(id_ for id_ in groups.keys() | counters.keys() if groups.get(id_) != counters.get(id_))
            return f"group {id_} is {groups.get(id_)}, the model says {counters.get(id_)}"
        return None

    # -- what is sent and settled ------------------------------------------------------------------------------------

    def _new_worker(self) -> Worker:
        self._workers += 1
        me = WorkerIdentity(f"worker-{self._workers}", "w", "host", "boot", 1, "1")
        return Worker(self.storage.register_worker(me))

    def _id(self) -> str:
        self._ids += 1
        return f"m{self._ids:08}"

    def _message(self, **fields: Any) -> Message:
        priority = self.rng.choice([0, 0, 0, 5])
        return Message(**{"id": self._id(), "task": "t", "payload": b"[[],{}]", "priority": priority, **fields})

    def _single(self) -> Batch:
        fields: dict[str, Any] = {}
        kind = self.rng.random()
        if kind < 0.2:
            fields["due_ms"] = self.clock.now_ms() + self.rng.choice([-1000, 500, 40_000])
        elif kind < 0.3:
            fields["unique_key"] = self.rng.choice("abc")
        elif kind < 0.4:
            fields["flags"] = Flag.EARLY_ACK
        return Batch([self._message(**fields)])

    def _chain(self) -> Batch:
        """Links of which each awaits the one before; some with a countdown."""
        links = [self._message(flags=Flag.LINKED, unique_key=self._key())]
        for _ in range(self.rng.randrange(1, 4)):
            fields = {"delay_ms": self.rng.choice([None, None, 2_000]), "unique_key": self._key()}
            links.append(self._message(awaits=links[-1].id, flags=int(Flag.LINKED | Flag.TAKES_INPUT), **fields))
        return Batch(links)

    def _key(self) -> str | None:
        """Perhaps a key that other messages have, too."""
        return self.rng.choice("abc") if self.rng.random() < 0.15 else None

    def _chord(self) -> Batch:
        """Members, one of which may be a group of its own; a body, and an errback on it."""
        group = Group(self._id(), self.rng.randrange(2, 5))
        linked = Flag.LINKED
        members = [
            self._message(group_id=group.id, position=i, flags=linked, unique_key=self._key())
            for i in range(group.size)
        ]
        groups = [group]
        if self.rng.random() < 0.3:
            inner = Group(self._id(), 2, group_id=group.id, position=group.size - 1)
            inside = [self._message(group_id=inner.id, position=i, flags=linked) for i in range(2)]
            members, groups = [*members[:-1], *inside], [group, inner]
        body = self._message(awaits=group.id, flags=int(Flag.LINKED | Flag.TAKES_INPUT), unique_key=self._key())
        errback = self._message(awaits=body.id, flags=int(Flag.ON_FAILURE | Flag.TAKES_INPUT))
        return Batch([*members, body, errback], groups)

    def _caught(self) -> Batch:
        """A message with an errback of two links, and a follower."""
        first = self._message(flags=Flag.LINKED)
        errback = self._message(awaits=first.id, flags=int(Flag.ON_FAILURE | Flag.LINKED))
        behind = self._message(awaits=errback.id)
        return Batch([first, errback, behind, self._message(awaits=first.id)])

    def _outcome(self) -> Outcome:
        kind = self.rng.random()
        if kind < 0.62:
            return Ack(b"1" if self.rng.random() < 0.8 else None)
        if kind < 0.74:
            return RetryAt(self.clock.now_ms() + self.rng.choice([-1, 1_000, 90_000]), b"{}")
        if kind < 0.82:
            return DeadLetter(b'{"type": "ValueError", "message": "no"}')
        if kind < 0.9:
            return Release()
        if kind < 0.97:
            return Release(crashed=True)
        return Cancel()


FINAL = frozenset({State.SUCCEEDED, State.DEAD, State.UPSTREAM_FAILED, State.CANCELLED})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(Path(folder), options.seed, workers=options.workers)
        began = time.monotonic()
        try:
            simulation.run(options.steps)
        except Diverged as exc:
            print(exc)
            return 1
        finally:
            simulation.close()
        took = time.monotonic() - began
    print(
        f"seed {options.seed}: {options.steps:,} steps in {took:.1f} s ({options.steps / took:,.0f}/s), "
        f"{simulation.settled:,} settled, {simulation.raised:,} calls raised, no divergence"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
