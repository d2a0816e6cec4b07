"""Runs of workflows: history under the lease, waits, wake-ups, and what is asked of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from liteq.exceptions import LeaseLost, RunConflict, RunEnded
from liteq.message import (
    Ack,
    Batch,
    ContinueAsNew,
    DeadLetter,
    Flag,
    Hold,
    Lease,
    Message,
    Outcome,
    Park,
    Release,
    RunFacts,
    RunSpec,
    StepRow,
    Suspend,
)
from liteq.serialization import encode_error
from liteq.states import State
from liteq.storage.runs.executing import Slots
from liteq.storage.runs.records import Asked
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import PAYLOAD, FakeWorker

ERROR = encode_error(ValueError("no"))
CHILD = Flag.CHILD | Flag.LINKED


class Flow:
    """A run that is driven by hand: claimed, written under its lease, settled."""

    def __init__(self, storage: Storage, worker: FakeWorker, clock: FakeClock) -> None:
        self.storage, self.worker, self.clock = storage, worker, clock
        self.lease: Lease | None = None

    def start(self, id_: str = "r", payload: bytes = PAYLOAD, on_conflict: str = "fail", **spec: Any) -> str:
        flags = spec.pop("flags", 0) | Flag.RUN
        fields = {name: spec.pop(name) for name in ("due_ms", "expires_ms", "queue") if name in spec}
        event = spec.pop("event", None)
        message = Message(id_, "flow", payload, flags=flags, run=RunSpec(**spec), **fields)
        return self.storage.runs.start(message, on_conflict=on_conflict, event=event).id

    def claim(self) -> Hold:
        (self.lease,) = self.worker.claim()
        return Hold(self.lease.seq, self.lease.token, self.facts.gen)

    @property
    def facts(self) -> RunFacts:
        assert self.lease is not None
        assert self.lease.run is not None
        return RunFacts._make(self.lease.run)

    def step(self, pos: int, output: bytes | None = b"1", **fields: Any) -> StepRow:
        now_ms = self.clock.now_ms()
        ended_ms = fields.pop("ended_ms", now_ms)
        kind, name = fields.pop("kind", "step"), fields.pop("name", "s")
        return StepRow("", pos, kind, name, output=output, started_ms=now_ms, ended_ms=ended_ms, **fields)

    def wait(self, pos: int, kind: str, name: str, **fields: Any) -> StepRow:
        waited = f"{kind} {name}" if kind in ("event", "approval") else None
        fields = {"waited": waited, **fields}
        return self.step(pos, None, kind=kind, name=name, ended_ms=None, **fields)

    def settle(self, outcome: Outcome) -> None:
        assert self.lease is not None
        assert self.storage.settle([(self.lease, outcome)]) == []

    def suspend(self, *rows: StepRow, **fields: Any) -> None:
        self.settle(Suspend(list(rows), **fields))

    def rows(self) -> list[StepRow]:
        run = self.storage.runs.find("r")
        assert run is not None
        return self.storage.runs.history(run.number).steps

    def status(self, id_: str = "r") -> str:
        run = self.storage.runs.find(id_)
        return run.status if run else "gone"


@pytest.fixture
def flow(storage: Storage, worker: FakeWorker, clock: FakeClock) -> Flow:
    return Flow(storage, worker, clock)


# -- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_first_activation_has_no_history_and_a_second_has(flow: Flow) -> None:
    flow.start()
    hold = flow.claim()
    assert flow.lease is not None
    assert not flow.lease.flags & Flag.HISTORY
    assert flow.storage.runs.checkpoint(hold, flow.step(1)) is None
    flow.settle(Release())
    flow.claim()
    assert flow.lease.flags & Flag.HISTORY
    assert [row.pos for row in flow.rows()] == [1]


@pytest.mark.parametrize("output", [b"null", b"0", b'""', b"[]", b"false", b'"' + b"x" * 5_000_000 + b'"'])
def test_an_output_comes_back_as_it_was(flow: Flow, output: bytes) -> None:
    flow.start()
    flow.storage.runs.checkpoint(flow.claim(), flow.step(1, output))
    (row,) = flow.rows()
    assert row.output == output
    assert row.ended_ms == flow.clock.now_ms()


def test_a_lost_lease_writes_nothing(flow: Flow, other: FakeWorker) -> None:
    flow.start()
    late = flow.claim()
    flow.storage.reap([flow.worker.number])
    (lease,) = other.claim()
    runs = flow.storage.runs
    writes = [
        lambda: runs.checkpoint(late, flow.step(1)),
        lambda: runs.checkpoint(late, flow.step(1, b'"' + b"x" * 2_000 + b'"')),
        lambda: runs.set_state(late, "k", b"1"),
        lambda: runs.tag(late, ["t"]),
        lambda: runs.emit(late, "out", flow.step(1), [b"1"]),
        lambda: runs.record(late, flow.step(1), send=("x", "go", b"1")),
        lambda: runs.spawn(late, [flow.step(1)], Batch([])),
        lambda: runs.memo(late, "k", "s"),
        lambda: runs.compensated(late),
        lambda: runs.asked(late),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert flow.rows() == []
    assert flow.storage.runs.state("r") == {}
    assert flow.storage.runs.checkpoint(Hold(lease.seq, lease.token), flow.step(1)) is None


def test_a_row_that_has_ended_is_not_written_again(flow: Flow) -> None:
    flow.start()
    hold = flow.claim()
    flow.storage.runs.checkpoint(hold, flow.step(1, b"1"))
    assert flow.storage.runs.checkpoint(hold, flow.step(1, b"2")) is None  # it raised, and is called again
    assert [row.output for row in flow.rows()] == [b"1"]


def test_a_failed_attempt_is_overwritten_by_the_next(flow: Flow) -> None:
    flow.start()
    hold = flow.claim()
    failed = flow.step(1, None, error=ERROR, attempts=1, due_ms=flow.clock.now_ms() + 5_000, ended_ms=None)
    flow.storage.runs.checkpoint(hold, failed)
    assert [(row.attempts, row.ended_ms) for row in flow.rows()] == [(1, None)]
    flow.storage.runs.checkpoint(hold, flow.step(1, b"7", attempts=2))
    assert [(row.attempts, row.output, row.error, row.due_ms) for row in flow.rows()] == [(2, b"7", None, None)]
    assert flow.rows()[0].due_ms is None


# -- starting --------------------------------------------------------------------------------------------------------


def test_the_same_start_again_is_the_same_run(flow: Flow) -> None:
    runs = flow.storage.runs
    message = Message("r", "flow", PAYLOAD, flags=Flag.RUN)
    assert runs.start(message).new
    assert not runs.start(message).new
    with pytest.raises(RunConflict):
        flow.start(payload=b"[[1],{}]")
    with pytest.raises(ValueError, match="empty"):
        flow.start("")
    assert [run.id for run in runs.list()] == ["r"]


@pytest.mark.parametrize(("on_conflict", "alive", "ended"), [("existing", 0, 0), ("renew", 0, 1), ("replace", 1, 1)])
def test_another_start_under_the_id(flow: Flow, on_conflict: str, alive: int, ended: int) -> None:
    flow.start()
    flow.start(payload=b"[[1],{}]", on_conflict=on_conflict)
    flow.claim()
    assert flow.lease is not None
    assert flow.lease.payload == (b"[[1],{}]" if alive else PAYLOAD)
    flow.settle(Ack(b"1"))
    flow.start(payload=b"[[2],{}]", on_conflict=on_conflict)
    assert flow.status() == ("queued" if ended else "succeeded")


def test_every_door_makes_a_run(storage: Storage, worker: FakeWorker) -> None:
    def a(id_: str) -> Message:
        return Message(id_, "flow", PAYLOAD, flags=Flag.RUN | Flag.LINKED, run=RunSpec(tags=("x",)))

    storage.enqueue(Batch([a("one")]))
    storage.enqueue(Batch([a("two"), Message("three", "t", PAYLOAD, awaits="two")]))
    storage.enqueue_many([a("four")])
    assert [run.id for run in storage.runs.list(tags=["x"])] == ["four", "two", "one"]


# -- waits and wake-ups ----------------------------------------------------------------------------------------------


def test_an_event_before_the_run_before_the_wait_and_after_it(flow: Flow) -> None:
    send = flow.storage.runs.send
    send("r", "go", b"1")
    flow.start()
    flow.claim()
    flow.suspend(flow.wait(1, "event", "go"))
    flow.claim()  # it was there: the run goes on at once
    send("r", "go", b"2")
    flow.suspend(flow.wait(2, "event", "go"))
    flow.claim()
    flow.suspend(flow.wait(3, "event", "go"))
    assert flow.status() == "waiting"
    send("r", "go", b"3")
    flow.claim()
    assert [row.output for row in flow.rows()] == [b"1", b"2", b"3"]


def test_an_event_is_sent_once_by_its_mark(flow: Flow) -> None:
    flow.start()
    assert flow.storage.runs.send("r", "go", b"1", dedup="x")
    assert not flow.storage.runs.send("r", "go", b"1", dedup="x")
    flow.claim()
    flow.suspend(flow.wait(1, "event", "go"))
    flow.claim()
    assert not flow.storage.runs.send("r", "go", b"1", dedup="x")
    flow.suspend(flow.wait(2, "event", "go"))
    assert flow.status() == "waiting"
    flow.storage.runs.cancel(["r"])
    flow.claim()
    flow.settle(Ack(b"1"))
    with pytest.raises(RunEnded):
        flow.storage.runs.send("r", "go", b"1")


def test_a_wait_that_timed_out_stays_so(flow: Flow) -> None:
    flow.start()
    flow.claim()
    due_ms = flow.clock.now_ms() + 1_000
    flow.suspend(flow.wait(1, "event", "go", due_ms=due_ms), due_ms=due_ms)
    flow.clock.advance(seconds=1)
    flow.claim()
    flow.storage.runs.send("r", "go", b"1")
    (row,) = flow.rows()
    assert (row.ended_ms, row.output, row.error) == (due_ms, None, None)
    assert flow.storage.runs.steps("r")[0].status == "timed_out"
    flow.suspend(flow.wait(2, "event", "go"))
    flow.claim()
    assert [row.output for row in flow.rows()] == [None, b"1"]


def test_a_sleep_goes_on_after_a_restart(flow: Flow) -> None:
    flow.start()
    flow.claim()
    due_ms = flow.clock.now_ms() + 86_400_000
    flow.suspend(flow.wait(1, "sleep", "sleep", due_ms=due_ms), due_ms=due_ms)
    flow.clock.advance(seconds=86_399)
    assert flow.worker.claim() == []
    flow.clock.advance(seconds=1)
    flow.claim()
    assert flow.rows()[0].ended_ms == due_ms


def spawn(flow: Flow, hold: Hold, n: int, *, first: int = 1, slots: Slots | None = None, **fields: Any) -> Asked | None:
    ids = [f"r/{pos}" for pos in range(first, first + n)]
    steps = [flow.step(first + i, None, kind="spawn", ended_ms=None, child=id_) for i, id_ in enumerate(ids)]
    messages = [Message(id_, "t", PAYLOAD, flags=CHILD, parent_id="r", **fields) for id_ in ids]
    return flow.storage.runs.spawn(hold, steps, Batch(messages), slots=slots)


def test_the_end_of_a_child_wakes_its_run_once_enough_have_ended(flow: Flow, storage: Storage) -> None:
    flow.start()
    spawn(flow, flow.claim(), 3)
    children = flow.worker.claim()
    storage.settle([(children[0], Ack(b"1"))])  # while the run runs
    flow.suspend(need=3)
    assert flow.status() == "waiting"
    storage.settle([(children[1], Ack(b'"' + b"x" * 5_000 + b'"'))])
    assert flow.status() == "waiting"
    storage.settle([(children[2], DeadLetter(ERROR))])
    assert flow.status() == "queued"
    rows = flow.rows()
    assert [(row.output and len(row.output), row.error, row.ended) for row in rows] == [
        (1, None, 1), (5_002, None, 2), (None, ERROR, 3),
    ]  # fmt: skip
    flow.claim()
    assert (flow.facts.ends, flow.facts.fails) == (3, 1)


def test_a_fragile_wait_ends_with_the_first_failure(flow: Flow, storage: Storage) -> None:
    flow.start()
    spawn(flow, flow.claim(), 3)
    children = flow.worker.claim()
    flow.suspend(need=3, fragile=True)
    storage.settle([(children[1], DeadLetter(ERROR))])
    flow.claim()
    flow.suspend(need=2, fragile=True, seen=(1, 0))  # it has not looked since: the failure is news
    assert flow.status() == "queued"


def test_the_end_of_a_run_cancels_what_it_has_left_open(flow: Flow, storage: Storage) -> None:
    flow.start()
    spawn(flow, flow.claim(), 2)
    flow.settle(Ack(b"1"))
    assert [storage.reader.find(f"r/{n}").state for n in (1, 2)] == [State.CANCELLED] * 2  # type: ignore[union-attr]
    assert flow.worker.claim() == []


def test_a_limit_lets_so_many_run_and_hands_each_slot_on(flow: Flow, storage: Storage) -> None:
    flow.start()
    hold = flow.claim()
    spawn(flow, hold, 5, slots=Slots("m", 2))
    spawn(flow, hold, 2, first=6, slots=Slots("m", 2))
    flow.suspend(need=7)
    seen = []
    storage.runs.cancel(["r/3"])
    storage.cancel(["r/3"])  # one that waits for a slot has none to hand on
    while leases := flow.worker.claim():
        assert len(leases) <= 2
        if leases[0].id == "r":
            break
        seen += [lease.id for lease in leases]
        storage.settle([(lease, Ack(b"1")) for lease in leases])
    assert sorted(seen) == ["r/1", "r/2", "r/4", "r/5", "r/6", "r/7"]


def test_a_canvas_is_waited_for_by_an_alias(flow: Flow, storage: Storage) -> None:
    flow.start()
    hold = flow.claim()
    canvas = Batch(
        [
            Message("a", "t", PAYLOAD, flags=Flag.LINKED),
            Message("b", "t", PAYLOAD, awaits="a"),
            Message("r/1", "t", PAYLOAD, flags=CHILD | Flag.ALIAS, awaits="b"),
        ]
    )
    flow.storage.runs.spawn(hold, [flow.step(1, None, kind="call", ended_ms=None, child="r/1")], canvas)
    flow.suspend(need=1)
    for name in ("a", "b"):
        (lease,) = flow.worker.claim()
        assert lease.id == name
        storage.settle([(lease, Ack(b'"%s"' % name.encode()))])
    flow.claim()
    assert [row.output for row in flow.rows()] == [b'"b"']


# -- asked -----------------------------------------------------------------------------------------------------------


def test_a_cancel_is_told_by_the_next_checkpoint_which_is_recorded(flow: Flow) -> None:
    flow.start()
    hold = flow.claim()
    flow.storage.runs.cancel(["r"], reason="enough")
    assert flow.storage.runs.asked(hold) == Asked("cancel", "enough")
    assert flow.storage.runs.checkpoint(hold, flow.step(1)) == Asked("cancel", "enough")
    assert flow.storage.runs.checkpoint(hold, flow.step(2)) is None  # the clean-up
    assert [row.pos for row in flow.rows()] == [1, 2]


def test_a_cancel_before_a_spawn_sends_nothing(flow: Flow, storage: Storage) -> None:
    flow.start()
    hold = flow.claim()
    storage.runs.cancel(["r"])
    assert spawn(flow, hold, 1) == Asked("cancel")
    assert storage.reader.find("r/1") is None
    assert spawn(flow, hold, 1) is None  # in a shield


def test_a_cancel_wakes_what_waits_and_ends_what_has_not_begun(flow: Flow) -> None:
    flow.start("new")
    flow.storage.runs.cancel(["new"])
    assert flow.status("new") == "cancelled"
    flow.start()
    flow.claim()
    flow.suspend(flow.wait(1, "event", "go"))
    flow.storage.runs.cancel(["r"], reason="why")
    flow.claim()
    assert (flow.facts.asked, flow.facts.reason) == ("cancel", "why")


def test_a_pause_holds_wake_ups_back(flow: Flow) -> None:
    flow.start()
    flow.claim()
    flow.suspend(flow.wait(1, "event", "go"))
    flow.storage.runs.pause("r")
    assert flow.status() == "paused"
    flow.storage.runs.send("r", "go", b"1")
    assert flow.worker.claim() == []
    assert flow.storage.runs.resume("r")
    flow.claim()
    assert flow.rows()[0].output == b"1"
    hold = Hold(flow.lease.seq, flow.lease.token)  # type: ignore[union-attr]
    flow.storage.runs.pause("r")
    assert flow.storage.runs.checkpoint(hold, flow.step(2)) == Asked("pause")
    flow.settle(Park("paused"))
    assert flow.status() == "paused"
    flow.storage.runs.resume("r")
    assert flow.status() == "queued"


def test_a_stuck_run_is_tried_once_by_each_code(flow: Flow) -> None:
    claim = flow.storage.runs.claim_stuck

    def tried(fingerprint: str) -> bool:
        leases = claim(["celery"], worker=flow.worker.number, fingerprint=fingerprint, limit=10, visibility_s=60)
        if leases:
            (flow.lease,) = leases
        return bool(leases)

    flow.start()
    flow.claim()
    flow.settle(Park("stuck", ERROR, "old"))
    assert flow.status() == "stuck"
    assert not tried("old")
    assert tried("new")
    assert flow.status() == "running"
    flow.settle(Park("stuck", ERROR, "new"))
    assert not tried("old")
    assert not tried("new")
    assert flow.storage.runs.resume("r")
    flow.claim()


def test_a_new_generation_has_no_history(flow: Flow, storage: Storage) -> None:
    flow.start()
    hold = flow.claim()
    flow.storage.runs.checkpoint(hold, flow.step(1))
    spawn(flow, hold, 1, first=2)
    flow.settle(ContinueAsNew(b"[[2],{}]"))
    hold = flow.claim()
    assert hold.gen == 1
    assert flow.rows() == []
    assert flow.lease is not None
    assert flow.lease.payload == b"[[2],{}]"
    assert storage.reader.find("r/2").state is State.CANCELLED  # type: ignore[union-attr]
    assert storage.runs.expire(None) == 2
    assert storage.runs.expire(None) == 0


def test_a_crash_counts_against_the_step_it_happened_in(flow: Flow) -> None:
    flow.start()
    for pos in range(1, 7):
        flow.storage.runs.checkpoint(flow.claim(), flow.step(pos))
        flow.settle(Release(crashed=True))
    for _ in range(2):
        flow.claim()
        flow.settle(Release(crashed=True))
    assert flow.status() == "failed"


def test_an_approval_is_decided_once(flow: Flow) -> None:
    approve = flow.storage.runs.approve
    flow.start()
    flow.claim()
    flow.suspend(flow.wait(1, "approval", "Go?", details=b"{}"))
    assert [one.title for one in flow.storage.runs.approvals()] == ["Go?"]
    assert approve("r", "Go?", ok=True, by="b", comment="", data=None)
    assert not approve("r", "Go?", ok=True, by="c", comment="", data=None)
    flow.claim()
    assert orjson.loads(flow.rows()[0].output or b"")["by"] == "b"
    assert flow.storage.runs.approvals() == []
