"""Races of what a run waits for against its suspensions, crashes and cancels: nothing is lost, nothing comes twice.

A body of a few calls is replayed by hand. Between any two of its writes, and before it is settled, anything may happen
from outside: an event, the end of a child, time, a crash, another worker. The seed of a round that fails reproduces it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from liteq.exceptions import LeaseLost
from liteq.message import (
    Ack,
    Batch,
    Cancel,
    DeadLetter,
    Flag,
    Hold,
    Lease,
    Message,
    Outcome,
    Park,
    Release,
    RunFacts,
    StepRow,
    Suspend,
)
from liteq.states import FINISHED
from liteq.storage.runs.executing import Slots
from liteq.storage.runs.records import Asked
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, PAYLOAD, FakeWorker

KINDS = ("step", "event", "timed", "sleep", "gather", "race", "both", "both")
Rows = dict[int, StepRow]


class Told(Exception):
    """Raised in a body that is to end, or to stop: it was asked."""


class Round:
    """One run with a random body, and the world around it."""

    def __init__(self, storage: Storage, worker: FakeWorker, clock: FakeClock, seed: int, *, cancels: bool) -> None:
        self.storage, self.worker, self.clock = storage, worker, clock
        self.random = Random(seed)
        self.id = f"r{seed}"
        self.body = [self.random.choice(KINDS) for _ in range(self.random.randint(2, 6))]
        self.cancels = cancels
        self.sent: list[bytes] = []
        self.executed: list[int] = []  # the places of steps, each time one was recorded
        self.crashes = 0
        self.children: list[Lease] = []
        self.winners: set[tuple[int, int]] = set()
        storage.max_reaps = 1_000  # it is not to be given up here
        self.chaos = 40  # things that may still happen by chance
        storage.runs.start(Message(self.id, "flow", PAYLOAD, flags=Flag.RUN))

    # -- the world ---------------------------------------------------------------------------------------------------

    def maybe(self) -> None:
        """Let something happen, or nothing."""
        while self.chaos > 0 and self.random.random() < 0.5:
            self.chaos -= 1
            self.random.choice([self.send_ahead, self.end_child, self.end_child, self.tick, self.ask, self.freeze])()

    def send(self) -> None:
        if self.storage.reader.find(self.id).state not in FINISHED:  # type: ignore[union-attr]
            payload = str(len(self.sent)).encode()
            self.sent.append(payload)
            self.storage.runs.send(self.id, "go", payload)

    def send_ahead(self) -> None:
        """Send an event, but seldom one that nobody waits for yet."""
        if self.random.random() < (0.1 if len(self.sent) > len(self.received()) else 0.5):
            self.send()

    def end_child(self) -> None:
        self.children += self.worker.claim(1, queue="children")
        if self.children:
            lease = self.children.pop(self.random.randrange(len(self.children)))
            self.storage.settle([(lease, Ack(b"1") if self.random.random() < 0.8 else DeadLetter(ERROR))])

    def tick(self) -> None:
        self.clock.advance(seconds=self.random.choice([0.5, 1, 3]))

    def ask(self) -> None:
        runs = self.storage.runs
        if self.cancels and self.random.random() < 0.3:
            runs.cancel([self.id])
        elif self.random.random() < 0.3:
            runs.pause(self.id)
        else:
            runs.resume(self.id)

    def freeze(self) -> None:
        """All workers stand still until their leases have run out."""
        if self.random.random() < 0.2:
            self.clock.advance(seconds=61)
            self.storage.reap()

    # -- the body ----------------------------------------------------------------------------------------------------

    def play(self) -> str:
        """Let the run go on until it has ended; its status."""
        for _ in range(500):
            record = self.storage.runs.find(self.id)
            assert record is not None
            if record.status in ("succeeded", "cancelled"):
                return record.status
            self.storage_is_sound()
            self.maybe()
            for lease in self.worker.claim(1):
                self.activate(lease)
            self.help_on()
        raise AssertionError(f"{self.id} rests: {self.storage.runs.find(self.id)} {self.storage.runs.steps(self.id)}")

    def help_on(self) -> None:
        """Once chance is used up: what is still missing comes."""
        if self.chaos > 0:
            return
        record = self.storage.runs.find(self.id)
        if record is not None and record.status == "paused":
            self.storage.runs.resume(self.id)
        if record is not None and record.status == "waiting":
            if "event go" in record.waiting_for:
                self.send()
            elif "timer" in record.waiting_for:
                self.clock.advance(seconds=5)
        self.end_child()

    def storage_is_sound(self) -> None:
        """Nobody waits for what is there."""
        with self.storage.driver.read() as tx:
            lost = tx.execute(
                "SELECT 1 FROM liteq_steps AS s JOIN liteq_messages AS m ON m.seq = s.run"
                " JOIN liteq_inbox AS i ON i.run_id = m.id AND i.taken = 0 AND s.waited = 'event ' || i.name"
                " WHERE m.id = ? AND s.ended_ms IS NULL AND m.state IN ('blocked', 'scheduled')",
                (self.id,),
            )
            late = tx.execute(
                "SELECT 1 FROM liteq_runs AS r JOIN liteq_messages AS m ON m.seq = r.run"
                " WHERE m.id = ? AND m.state IN ('blocked', 'scheduled') AND r.parked IS NULL"
                "   AND (r.need <= 0 OR r.news = 1)",
                (self.id,),
            )
        assert (lost, late) == ([], [])

    def activate(self, lease: Lease) -> None:
        assert lease.run is not None
        facts = RunFacts._make(lease.run)
        hold = Hold(lease.seq, lease.token)
        history = self.storage.runs.history(lease.seq)
        rows = {row.pos: row for row in history.steps}
        seen = (history.facts.ends, history.facts.fails)
        try:
            if facts.asked == "pause":
                raise Told(facts.asked)
            outcome = self.run_body(hold, rows, seen, facts.asked is not None)
        except Told as told:
            outcome = Park("paused") if told.args == ("pause",) else Cancel(ERROR)
        except LeaseLost:
            return
        self.maybe()
        if self.chaos > 0 and self.random.random() < 0.15:
            self.crashes += 1
            self.chaos -= 1
            self.storage.settle([(lease, Release())])
            return
        self.storage.settle([(lease, outcome)])

    def run_body(self, hold: Hold, rows: Rows, seen: tuple[int, int], asked: bool) -> Outcome:
        for n, kind in enumerate(self.body):
            outcome = self.call(kind, 10 * n, hold, rows, seen, asked)
            if outcome is not None:
                return outcome
        return Ack(b"1")

    def call(
        self, kind: str, pos: int, hold: Hold, rows: Rows, seen: tuple[int, int], asked: bool
    ) -> Outcome | None:  # fmt: skip
        if kind in ("gather", "race"):
            return self.gather(pos, hold, rows, seen, asked, race=kind == "race")
        if kind == "both":
            return self.both(pos, hold, rows, seen, asked)
        row = rows.get(pos)
        if row is not None and row.ended_ms is not None:
            return None
        if asked:
            raise Told
        self.maybe()
        now_ms = self.clock.now_ms()
        if kind == "step":
            told = self.storage.runs.checkpoint(hold, self.row(pos, "step", output=b"1", ended_ms=now_ms))
            self.executed.append(pos)
            self.told(told)
            return None
        due_ms = row.due_ms if row is not None else None if kind == "event" else now_ms + 2_000
        waited = None if kind == "sleep" else "event go"
        name = "sleep" if kind == "sleep" else "event"
        waits = [] if row is not None else [self.row(pos, name, due_ms=due_ms, waited=waited)]
        return Suspend(waits, due_ms=due_ms, seen=seen)

    def gather(
        self, pos: int, hold: Hold, rows: Rows, seen: tuple[int, int], asked: bool, *, race: bool
    ) -> Outcome | None:  # fmt: skip
        places = range(pos, pos + 4)
        if pos not in rows:
            if asked:
                raise Told
            self.maybe()
            steps = [self.row(place, "spawn", child=f"{self.id}/{place}") for place in places]
            children = [
                Message(f"{self.id}/{place}", "t", PAYLOAD, queue="children", flags=Flag.CHILD | Flag.LINKED)
                for place in places
            ]
            slots = Slots(str(pos), 2) if self.random.random() < 0.5 else None
            self.told(self.storage.runs.spawn(hold, steps, Batch(children), slots=slots))
            return Suspend([], need=1 if race else 4, seen=seen)
        ended = [rows[place] for place in places if rows[place].ended_ms is not None]
        if race and ended:
            self.winners.add((pos, min(ended, key=lambda row: row.ended or 0).pos))
        if len(ended) == 4 or (race and ended):
            return None
        if asked:
            raise Told
        return Suspend([], need=1 if race else 4 - len(ended), seen=seen)

    def both(self, pos: int, hold: Hold, rows: Rows, seen: tuple[int, int], asked: bool) -> Outcome | None:
        """Two branches: children, and an event."""
        event = rows.get(pos + 5)
        came = event is not None and event.ended_ms is not None
        children = self.gather(pos, hold, rows, seen, asked, race=False)
        if children is None and came:
            return None
        if asked:
            raise Told
        self.maybe()
        if event is not None and not came and self.random.random() < 0.5:
            self.send()  # into the open row, while the body runs
        waits = [] if event is not None else [self.row(pos + 5, "event", waited="event go")]
        need = self.random.choice([1, children.need]) if isinstance(children, Suspend) else 0  # it may look early
        return Suspend(waits, need=need, seen=seen)

    def told(self, asked: Asked | None) -> None:
        if asked is not None:
            raise Told(asked.what)

    def row(self, pos: int, kind: str, **fields: object) -> StepRow:
        return StepRow("", pos, kind, "go", started_ms=self.clock.now_ms(), **fields)  # type: ignore[arg-type]

    # -- what must hold ----------------------------------------------------------------------------------------------

    def received(self) -> list[bytes]:
        rows = self.storage.runs.steps(self.id)
        return [step.row.output for step in rows if step.row.kind == "event" and step.row.output is not None]

    def check(self, status: str) -> None:
        assert status == "succeeded" or self.cancels
        assert self.received() == self.sent[: len(self.received())]  # in their order, none lost, none twice
        assert len(set(self.executed)) == len(self.executed), "a completed step ran again"
        assert len({pos for pos, _ in self.winners}) == len(self.winners), "a race had two winners"
        for place in self.storage.runs.steps(self.id):
            child = place.row.child and self.storage.reader.find(place.row.child)
            assert not child or child.state in FINISHED or child.id in {lease.id for lease in self.children}
        self.storage.settle([(lease, Ack(b"1")) for lease in self.children])


def rounds(play: Callable[[int], None], n: int, first: int) -> None:
    for seed in range(first, first + n):
        try:
            play(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize("cancels", [False, True])
def test_nothing_that_a_run_waits_for_is_lost(
    storage: Storage, worker: FakeWorker, clock: FakeClock, cancels: bool
) -> None:
    def play(seed: int) -> None:
        one = Round(storage, worker, clock, seed, cancels=cancels)
        one.check(one.play())

    rounds(play, 25, 0)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("cancels", [False, True])
def test_nothing_is_lost_in_a_thousand_rounds(
    storage: Storage, worker: FakeWorker, clock: FakeClock, cancels: bool
) -> None:
    def play(seed: int) -> None:
        one = Round(storage, worker, clock, seed, cancels=cancels)
        one.check(one.play())

    rounds(play, 1_000, 1_000)
