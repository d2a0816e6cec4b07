"""Runs of workflows: history under the lease, waits, wake-ups, and what is asked of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from liteq.exceptions import LeaseLost, RunConflict, RunEnded, StorageUnavailable, WorkflowError
from liteq.message import (
    Ack,
    Batch,
    ContinueAsNew,
    DeadLetter,
    Exclusion,
    Flag,
    Group,
    Hold,
    Lease,
    Message,
    Outcome,
    Park,
    Release,
    Replace,
    RetryAt,
    RunFacts,
    RunSpec,
    StepRow,
    Suspend,
)
from liteq.policy.rates import Bucket
from liteq.states import State
from liteq.storage.claiming.rates import Budget
from liteq.storage.housekeeping import retention as clearing
from liteq.storage.limits import waiting
from liteq.storage.runs import stuck
from liteq.storage.runs.executing import Slots
from liteq.storage.runs.records import Asked, Memo
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, PAYLOAD, FakeWorker, number_comes_again

CHILD = Flag.CHILD | Flag.LINKED


class Flow:
    """A run that is driven by hand: claimed, written under its lease, settled."""

    def __init__(self, storage: Storage, worker: FakeWorker, clock: FakeClock) -> None:
        self.storage, self.worker, self.clock = storage, worker, clock
        self.lease: Lease | None = None

    def start(self, id_: str = "r", payload: bytes = PAYLOAD, on_conflict: str = "fail", **spec: Any) -> str:
        flags = spec.pop("flags", 0) | Flag.RUN
        fields = {name: spec.pop(name) for name in ("due_ms", "expires_ms", "queue", "keys") if name in spec}
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


def test_a_step_that_has_run_is_recorded_in_the_space_in_reserve(flow: Flow) -> None:
    """Else it would run again for as long as the disk is full."""
    flow.start()
    hold = flow.claim()
    runs, driver = flow.storage.runs, flow.storage.driver
    assert driver.reserve()
    in_use = driver.relieve()
    assert driver.in_reserve() is in_use
    runs.checkpoint(hold, flow.step(1))
    runs.checkpoint(hold, flow.step(2, b'"' + b"x" * 2_000 + b'"'))
    assert [row.pos for row in flow.rows()] == [1, 2]


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


def test_an_event_for_an_open_wait_comes_while_the_body_runs(flow: Flow) -> None:
    """The body waits for it, or for children beside it in other branches; its row was written before."""
    flow.start()
    hold = flow.claim()
    spawn(flow, hold, 3, first=10)
    flow.suspend(flow.wait(1, "event", "go"), due_ms=flow.clock.now_ms() + 1_000)
    flow.clock.advance(seconds=1)
    (flow.lease,) = [lease for lease in flow.worker.claim() if lease.id == "r"]
    flow.storage.runs.send("r", "go", b"1")
    flow.suspend(need=3)
    assert flow.status() == "queued"


def test_an_event_that_comes_before_the_checkpoint_of_its_wait(flow: Flow) -> None:
    flow.start()
    hold = flow.claim()
    flow.storage.runs.send("r", "go", b"1")
    flow.storage.runs.checkpoint(hold, flow.wait(1, "event", "go"))
    flow.suspend()
    assert flow.status() == "queued"
    assert flow.rows()[0].output == b"1"


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


@pytest.mark.parametrize("gone", ["cancelled", "purged"])
def test_a_later_run_of_the_id_gets_no_event_of_one_that_never_began(flow: Flow, gone: str) -> None:
    flow.start()
    flow.storage.runs.send("r", "paid", b"1")
    _ = flow.storage.cancel(["r"]) if gone == "cancelled" else flow.storage.purge()
    assert flow.storage.runs.inbox("r") == []
    flow.start(on_conflict="renew")
    flow.claim()
    flow.suspend(flow.wait(1, "event", "paid"))
    assert flow.worker.claim() == []


def test_a_paused_run_that_is_cancelled_is_not_paused_any_more(flow: Flow) -> None:
    flow.start()
    flow.storage.runs.pause("r")
    flow.storage.cancel(["r"])
    assert (flow.status(), flow.storage.runs.waiting().paused) == ("cancelled", 0)
    assert not flow.storage.runs.resume("r")


def test_an_event_to_a_run_that_could_not_begin_is_told_its_status(flow: Flow) -> None:
    run = Message("r", "flow", PAYLOAD, flags=Flag.RUN | Flag.LINKED, awaits="a")
    flow.storage.enqueue(Batch([Message("a", "t", PAYLOAD, flags=Flag.LINKED), run]))
    flow.storage.cancel(["a"])
    assert flow.status() == "failed"
    with pytest.raises(RunEnded, match=r"has ended \(failed\)"):
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


def test_a_body_sees_which_of_its_calls_have_ended_by_now(flow: Flow, storage: Storage) -> None:
    flow.start()
    hold = flow.claim()
    storage.runs.checkpoint(hold, flow.step(9))
    spawn(flow, hold, 3)
    assert storage.runs.ended_since(hold, 0) == []
    children = flow.worker.claim()
    large = b'"' + b"x" * 5_000 + b'"'
    storage.settle([(children[0], Ack(large)), (children[2], DeadLetter(ERROR))])
    found = [[(row.pos, row.output, row.error, row.ended) for row in storage.runs.ended_since(hold, n)] for n in (0, 1)]
    assert found == [[(1, large, None, 1), (3, None, ERROR, 2)], [(3, None, ERROR, 2)]]


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


def test_what_a_run_has_left_running_does_not_run_again_where_its_worker_vanishes(
    flow: Flow, storage: Storage, other: FakeWorker
) -> None:
    flow.start()
    spawn(flow, flow.claim(), 1)
    (child,) = other.claim()
    flow.settle(Ack(b"1"))
    assert storage.reap([other.number]) == 1
    record = storage.reader.find(child.id)
    assert record is not None
    assert record.state is State.CANCELLED
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


LAST_COUNTS: dict[str, Any] = {"unique_key": "k", "unique": Exclusion("replace")}


@pytest.mark.parametrize(
    "outcome",
    [Replace(Batch([Message("z", "t", PAYLOAD)]), "z"), RetryAt(0, retries=0, awaits="z"), RetryAt(0)],
    ids=["its replacement", "what it runs behind", "the call that superseded it"],
)
def test_a_child_that_waits_for_another_message_hands_its_slot_on(
    flow: Flow, storage: Storage, outcome: Outcome
) -> None:
    flow.start()
    steps = [flow.step(pos, None, kind="map", ended_ms=None, child=f"r/{pos}") for pos in (1, 2)]
    first = Message("r/1", "t", PAYLOAD, flags=CHILD | Flag.UNSTARTED, **LAST_COUNTS)
    batch = Batch([first, Message("r/2", "t", PAYLOAD, flags=CHILD)])
    storage.runs.spawn(flow.claim(), steps, batch, slots=Slots("m", 1))
    flow.suspend(need=2)
    (child,) = flow.worker.claim()
    if type(outcome) is RetryAt:
        storage.enqueue(Batch([Message("z", "t", PAYLOAD, flags=Flag.UNSTARTED, **LAST_COUNTS)]))
    storage.settle([(child, outcome)])
    assert {lease.id for lease in flow.worker.claim()} == {"z", "r/2"}


def test_a_child_that_follows_an_equal_call_takes_no_slot(flow: Flow, storage: Storage) -> None:
    flow.start()
    hold = flow.claim()
    spawn(flow, hold, 3, slots=Slots("m", 1), unique_key="k")
    spawn(flow, hold, 1, first=4, slots=Slots("m", 1))
    flow.suspend(need=4)
    for name in ("r/1", "r/4"):
        (lease,) = flow.worker.claim()
        assert lease.id == name
        storage.settle([(lease, Ack(b"1"))])
    flow.claim()
    assert [row.output for row in flow.rows()] == [b"1"] * 4


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


@pytest.mark.parametrize("told", ["by a checkpoint", "by a claim", "by the deadline"])
def test_the_clean_up_after_a_cancel_may_wait(flow: Flow, told: str) -> None:
    flow.start(timeout_ms=10_000)
    hold = flow.claim()
    if told == "by a claim":
        flow.suspend(flow.wait(1, "event", "go"))
    if told == "by the deadline":
        flow.clock.advance(seconds=10)
        flow.suspend(due_ms=flow.clock.now_ms() + 1)
    else:
        flow.storage.runs.cancel(["r"])
    if told == "by a checkpoint":
        assert flow.storage.runs.checkpoint(hold, flow.step(1)) is not None
    else:
        flow.claim()
        assert flow.facts.asked is not None
    retried = flow.step(2, None, error=ERROR, attempts=1, due_ms=flow.clock.now_ms() + 20_000, ended_ms=None)
    flow.suspend(retried)
    assert flow.status() == "waiting"
    flow.clock.advance(seconds=20)
    flow.claim()
    flow.suspend(due_ms=flow.clock.now_ms() + 5_000)  # the attempt is given up: its row stays, and wakes nobody
    assert flow.status() == "waiting"


def test_a_cancel_while_it_suspends_wakes_it(flow: Flow) -> None:
    flow.start()
    flow.claim()
    flow.storage.runs.cancel(["r"])
    flow.suspend(flow.wait(1, "event", "go"))
    flow.claim()
    assert flow.facts.asked == "cancel"


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


@pytest.mark.parametrize("meanwhile", ["resume", "cancel", "pause"])
def test_a_pause_that_is_taken_back_after_it_was_told_stops_nothing(flow: Flow, meanwhile: str) -> None:
    """A step of another branch may run for minutes between the news of a pause and the run's stop."""
    runs = flow.storage.runs
    flow.start()
    hold = flow.claim()
    runs.pause("r")
    assert runs.checkpoint(hold, flow.step(1)) == Asked("pause")
    if meanwhile == "cancel":
        assert runs.cancel(["r"])
    else:
        assert runs.resume("r")
    if meanwhile == "pause":
        runs.pause("r")
    flow.settle(Park("paused"))
    assert flow.status() == ("paused" if meanwhile == "pause" else "queued")
    if meanwhile != "pause":
        flow.claim()
        assert flow.facts.asked == ("cancel" if meanwhile == "cancel" else None)


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


def test_a_stuck_run_is_found_behind_many_that_this_code_has_tried(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stuck, "LOOKED_AT", 3)
    how: dict[str, Any] = {"worker": flow.worker.number, "limit": 10, "visibility_s": 60}
    for n in range(8):
        flow.start(f"s{n}")
    for lease in flow.worker.claim():
        flow.storage.settle([(lease, Park("stuck", ERROR, "ours" if lease.id < "s7" else "theirs"))])
    found = [flow.storage.runs.claim_stuck(["celery"], fingerprint="ours", **how) for _ in range(4)]
    assert [[lease.id for lease in leases] for leases in found if leases] == [["s7"]]


def test_a_run_of_a_paused_queue_is_neither_claimed_nor_tried_again(flow: Flow) -> None:
    flow.start()
    flow.storage.queues.pause("celery")
    assert flow.worker.claim() == []
    flow.storage.queues.resume("celery")
    flow.claim()
    flow.settle(Park("stuck", ERROR, "old"))
    how: dict[str, Any] = {"worker": flow.worker.number, "fingerprint": "new", "limit": 10, "visibility_s": 60}
    flow.storage.queues.pause("celery")
    assert flow.storage.runs.claim_stuck(["celery"], **how) == []
    flow.storage.queues.resume("celery")
    assert flow.storage.runs.claim_stuck(["celery"], **how)


@pytest.mark.parametrize("outcome", [Release(), Release(crashed=True, error=ERROR)], ids=["given back", "crashed"])
def test_a_try_that_did_not_come_to_its_end_is_made_again(flow: Flow, outcome: Release) -> None:
    """The old code, beside it, meets the run meanwhile: the right code is not told that it has tried it."""
    how: dict[str, Any] = {"worker": flow.worker.number, "fingerprint": "new", "limit": 10, "visibility_s": 60}
    flow.start()
    flow.claim()
    flow.settle(Park("stuck", ERROR, "old"))
    (flow.lease,) = flow.storage.runs.claim_stuck(["celery"], **how)
    flow.settle(outcome)
    flow.claim()
    flow.settle(Park("stuck", ERROR, "old"))
    assert flow.storage.runs.claim_stuck(["celery"], **how)


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


def test_an_approval_that_nobody_can_decide_any_more_is_not_counted(flow: Flow) -> None:
    runs = flow.storage.runs
    flow.start()
    flow.claim()
    flow.suspend(flow.wait(1, "approval", "Go?", details=b"{}"))
    assert runs.waiting().approvals == 1
    runs.terminate(["r"])
    assert runs.waiting().approvals == 0
    assert runs.waiting().since_ms is None


# -- the verbs of messages -------------------------------------------------------------------------------------------


def test_a_message_sent_by_name_becomes_a_run_when_it_is_claimed(storage: Storage, worker: FakeWorker) -> None:
    storage.enqueue(Batch([Message("r", "flow", PAYLOAD), Message("t", "t", PAYLOAD)]))
    flows = {"flow": RunSpec(version="2", tags=("x",))}
    run, task = storage.turn((), ["celery"], worker=worker.number, limit=5, visibility_s=60, flows=flows).leases
    assert run.run is not None
    assert RunFacts._make(run.run).version == "2"
    assert task.run is None
    storage.settle([(run, Suspend([], due_ms=1 << 50))])
    assert [one.status for one in storage.runs.list(tags=["x"])] == ["waiting"]


def test_a_begun_run_does_not_expire_and_is_not_purged(flow: Flow, storage: Storage) -> None:
    flow.start(expires_ms=flow.clock.now_ms() + 10)
    flow.start("new")
    (lease,) = storage.claim(["celery"], worker=flow.worker.number, limit=1, visibility_s=60)
    assert lease.expires_ms is not None
    storage.settle([(lease, Suspend([], due_ms=flow.clock.now_ms() + 5_000))])
    assert storage.purge() == 1
    flow.clock.advance(seconds=6)
    flow.claim()
    assert flow.lease is not None
    assert flow.lease.expires_ms is None


def test_a_revoked_run_is_asked_and_not_forgotten(flow: Flow, storage: Storage) -> None:
    flow.start()
    flow.claim()
    assert storage.commands.revoke(["r"], keep_s=60).running == []
    assert storage.commands.revoked_ids() == []
    flow.settle(Release())
    flow.claim()
    assert flow.facts.asked == "cancel"


def test_a_timeout_counts_from_the_first_activation(flow: Flow) -> None:
    flow.start(timeout_ms=10_000, due_ms=flow.clock.now_ms() + 60_000)
    flow.clock.advance(seconds=60)
    flow.claim()
    assert flow.facts.deadline_ms == flow.clock.now_ms() + 10_000
    flow.suspend(flow.wait(1, "event", "go"))
    flow.clock.advance(seconds=10)
    flow.claim()
    assert flow.facts.asked == "timeout"


def test_no_more_execute_at_once_than_may(flow: Flow, storage: Storage, other: FakeWorker) -> None:
    storage.limits.declare({"task:flow": (None, 2)})
    claim = other.claim
    for n in range(4):
        flow.start(f"r{n}")
    storage.enqueue(Batch([Message("t", "t", PAYLOAD)]))
    first = claim()
    assert [lease.id for lease in first] == ["r0", "r1", "t"]
    assert claim() == []
    assert flow.status("r2") == "queued"
    storage.settle([(first[0], Suspend([], due_ms=flow.clock.now_ms() + 1_000))])  # one that waits does not count
    (third,) = claim()
    flow.clock.advance(seconds=1)
    assert claim() == []  # it has come due, and the room is taken
    storage.settle([(third, Ack(b"1"))])
    assert [lease.id for lease in claim()] == ["r0"]


def test_a_rate_holds_no_run_back_that_has_begun(flow: Flow, storage: Storage) -> None:
    bucket = Bucket(0.001)

    def claim() -> list[Lease]:
        budget = Budget(lambda task: bucket, flow.clock.monotonic())
        leases = storage.turn((), ["celery"], worker=flow.worker.number, limit=9, visibility_s=60, budget=budget).leases
        bucket.take(budget.used["flow"], flow.clock.monotonic())
        return leases

    flow.start()
    (lease,) = claim()
    flow.start("other")
    storage.settle([(lease, Release())])
    assert [lease.id for lease in claim()] == ["r"]


def test_runs_have_an_age_of_their_own(flow: Flow, storage: Storage) -> None:
    flow.start()
    hold = flow.claim()
    for pos in range(1, 6):
        storage.runs.checkpoint(hold, flow.step(pos))
    storage.runs.emit(hold, "out", flow.step(1), [b"1", b"2"])
    flow.settle(Ack(b"1"))
    flow.clock.advance(seconds=100)
    assert storage.expire(result_expires_s=10, dead_expires_s=10) == 0
    assert storage.runs.expire(1_000) == 0
    gone = [storage.runs.expire(10, limit=3) for _ in range(4)]
    assert sum(gone) == 8  # five steps, two chunks, and the message
    assert storage.runs.find("r") is None


@pytest.mark.parametrize("outcome", [Ack(b"1"), DeadLetter(ERROR)], ids=["ended", "failed"])
def test_a_look_for_old_runs_goes_through_all_that_stays_a_piece_at_a_time(
    flow: Flow, storage: Storage, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    for n in range(5):
        storage.enqueue(Batch([Message(f"stays{n}", "t", PAYLOAD)]))
        storage.settle([(flow.worker.claim_one(), outcome)])
        flow.clock.advance(seconds=1)
    flow.start()
    flow.claim()
    flow.settle(outcome)
    flow.clock.advance(seconds=100)
    write, begun = storage.driver.write, list[object]()

    def counted(*args: Any, **options: Any) -> Any:
        begun.append(args)
        return write(*args, **options)

    monkeypatch.setattr(clearing, "LOOKED_AT", 2)
    monkeypatch.setattr(storage.driver, "write", counted)
    assert storage.runs.expire(10) == 1
    assert len(begun) == 2, "of three messages each, the last of which is the run"
    assert storage.runs.expire(10) == 0
    assert sum(one.n for one in storage.reader.counts()) == 5


def test_a_look_for_old_runs_that_may_stay_now_is_one_look(
    flow: Flow, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.start()
    flow.claim()
    flow.settle(Ack(b"1"))
    for n in range(3):
        flow.clock.advance(seconds=1)
        storage.enqueue(Batch([Message(f"stays{n}", "t", PAYLOAD)]))
        storage.settle([(flow.worker.claim_one(), Ack(b"1"))])
    flow.clock.advance(seconds=100)
    monkeypatch.setattr(clearing, "LOOKED_AT", 2)
    assert storage.runs.expire(10) == 1
    looks = [storage.driver.write]

    def once(*args: Any, **options: Any) -> Any:
        return looks.pop()(*args, **options)

    monkeypatch.setattr(storage.driver, "write", once)
    assert storage.runs.expire(None) == 0


@pytest.mark.parametrize("wake", ["event", "time"])
def test_a_reaped_run_goes_on(flow: Flow, storage: Storage, other: FakeWorker, wake: str) -> None:
    flow.start()
    flow.claim()
    flow.suspend(flow.wait(1, "event", "go", due_ms=flow.clock.now_ms() + 1_000))
    if wake == "event":
        storage.runs.send("r", "go", b"1")
    else:
        flow.clock.advance(seconds=1)
    flow.claim()
    storage.reap([flow.worker.number])
    (lease,) = other.claim()
    assert lease.id == "r"
    assert flow.rows()[0].ended_ms is not None


# -- again -----------------------------------------------------------------------------------------------------------


def failed(flow: Flow) -> None:
    """Three steps, of which the third has failed, and so the run."""
    flow.start()
    hold = flow.claim()
    for pos in (1, 2):
        flow.storage.runs.checkpoint(hold, flow.step(pos))
        flow.clock.advance(seconds=1)
    flow.storage.runs.checkpoint(hold, flow.step(3, None, error=ERROR))
    flow.settle(DeadLetter(ERROR))


def test_the_events_of_a_failed_run_are_kept_as_long_as_it_is(flow: Flow) -> None:
    flow.start()
    flow.storage.runs.send("r", "go", b"1")
    flow.clock.advance(seconds=100)
    flow.claim()
    flow.settle(DeadLetter(ERROR))
    assert flow.storage.runs.expire(50) == 0, "it came long ago, and the run has only failed now"
    assert flow.storage.runs.retry("r")
    assert [name for name, _ in flow.storage.runs.inbox("r")] == ["go"]
    flow.claim()
    flow.settle(DeadLetter(ERROR))
    flow.clock.advance(seconds=50)
    assert flow.storage.runs.expire(50) > 0
    with flow.storage.driver.read() as tx:
        assert tx.execute("SELECT 1 FROM liteq_inbox") == []


@pytest.mark.parametrize("how", ["retried", "rewound"])
def test_a_later_run_of_the_id_gets_no_event_of_one_that_failed_and_was_deleted(flow: Flow, how: str) -> None:
    """The number of the last row that was deleted may come again."""
    runs = flow.storage.runs
    flow.start()
    runs.send("r", "go", b"1")
    flow.claim()
    flow.settle(DeadLetter(ERROR))
    assert runs.delete(["r"]) == 1
    flow.start()
    flow.claim()
    flow.settle(DeadLetter(ERROR) if how == "retried" else Park("paused"))
    _ = runs.retry("r") if how == "retried" else runs.rewind("r", 1)
    assert runs.inbox("r") == []


def test_the_events_of_a_failed_run_are_exported_with_it(flow: Flow) -> None:
    runs = flow.storage.runs
    flow.start()
    runs.send("r", "go", b"1")
    flow.claim()
    flow.settle(DeadLetter(ERROR))
    document = runs.export("r")
    flow.start("later")  # so that the imported one has another number
    assert runs.delete(["r"]) == 1
    assert runs.bring(document) == "r"
    assert runs.inbox("r") == []
    assert runs.retry("r")
    assert [name for name, _ in runs.inbox("r")] == ["go"]


def test_a_failed_run_goes_on_at_the_step_that_failed(flow: Flow) -> None:
    failed(flow)
    assert flow.status() == "failed"
    assert flow.storage.runs.retry("r")
    flow.claim()
    assert [row.pos for row in flow.rows()] == [1, 2]
    flow.settle(Ack(b"1"))
    assert not flow.storage.runs.retry("r")


def test_a_dead_letter_that_is_a_run_goes_on_too(flow: Flow, storage: Storage) -> None:
    failed(flow)
    storage.enqueue(Batch([Message("t", "t", PAYLOAD)]))
    (task,) = flow.worker.claim()
    storage.settle([(task, DeadLetter(ERROR))])
    assert storage.dead.requeue(["r", "t", "none"]) == ["r", "t"]
    assert [row.pos for row in flow.rows()] == [1, 2]


def test_a_compensated_run_is_not_retried(flow: Flow, storage: Storage) -> None:
    flow.start()
    storage.runs.compensated(flow.claim())
    flow.settle(DeadLetter(ERROR))
    assert storage.dead.requeue(["r"]) == []
    with pytest.raises(WorkflowError, match="undone"):
        flow.storage.runs.retry("r")


def test_a_fork_keeps_the_steps_before_and_leaves_the_original(flow: Flow) -> None:
    failed(flow)
    assert flow.storage.runs.fork("r", 2, new="f") == "f"
    fork = flow.storage.runs.find("f")
    assert fork is not None
    assert fork.forked_from == "r"
    flow.claim()
    assert flow.facts.seed == "r"
    assert [row.pos for row in flow.storage.runs.history(fork.number).steps] == [1]
    assert flow.status() == "failed"
    with pytest.raises(RunConflict):
        flow.storage.runs.fork("r", 2, new="f")
    with pytest.raises(ValueError, match="no step 99 of 'r': it has 3; to keep them all, name 4"):
        flow.storage.runs.fork("r", 99, new="g")
    assert flow.storage.runs.find("g") is None


def test_a_rewound_run_goes_on_behind_the_steps_before(flow: Flow) -> None:
    failed(flow)
    flow.storage.runs.rewind("r", 2)
    flow.claim()
    assert [row.pos for row in flow.rows()] == [1]
    with pytest.raises(WorkflowError, match="running"):
        flow.storage.runs.rewind("r", 1)
    flow.settle(Ack(b"1"))
    flow.storage.runs.rewind("r", 1)
    assert flow.status() == "queued"


def test_a_rewind_sends_its_children_anew_and_gives_events_back(flow: Flow, storage: Storage) -> None:
    flow.start()
    hold = flow.claim()
    spawn(flow, hold, 1)
    flow.clock.advance(seconds=1)
    flow.suspend(flow.wait(2, "event", "go"))
    storage.runs.send("r", "go", b"1")
    storage.runs.pause("r")
    storage.runs.rewind("r", 1)
    (run,) = [lease for lease in flow.worker.claim() if lease.id == "r"]
    flow.lease = run
    spawn(flow, Hold(run.seq, run.token), 1)
    flow.suspend(flow.wait(2, "event", "go"), need=1)
    assert flow.status() == "queued"
    assert [lease.id for lease in flow.worker.claim()] == ["r", "r/1"]


def test_an_exported_run_comes_back_stuck(flow: Flow) -> None:
    flow.start(tags=("x",))
    hold = flow.claim()
    runs = flow.storage.runs
    runs.checkpoint(hold, flow.step(1, b'"' + b"x" * 5_000 + b'"'))
    runs.set_state(hold, "k", b"1")
    document = runs.export("r")
    with pytest.raises(RunConflict):
        runs.bring(document)
    runs.terminate(["r"])
    assert runs.delete(["r"]) == 1
    assert runs.bring(document) == "r"
    assert flow.status() == "stuck"
    assert runs.export("r")["steps"] == document["steps"]
    assert runs.state("r") == {"k": b"1"}
    assert [run.id for run in runs.list(tags=["x"])] == ["r"]


def test_a_run_whose_result_is_asked_for_is_not_deleted(flow: Flow) -> None:
    run = Message("r", "flow", PAYLOAD, flags=Flag.RUN | Flag.LINKED, group_id="g")
    other = Message("o", "t", PAYLOAD, flags=Flag.LINKED, group_id="g", position=1)
    body = Message("b", "t", PAYLOAD, flags=Flag.TAKES_INPUT, awaits="g")
    flow.storage.enqueue(Batch([run, other, body], [Group("g", 2)]))
    first, second = flow.worker.claim()
    flow.storage.settle([(first, Ack(b"1"))])
    assert flow.storage.runs.delete(["r"]) == 0
    flow.storage.settle([(second, Ack(b"2"))])
    assert flow.worker.claim_one().input == b"[1,2]"


# -- the memo --------------------------------------------------------------------------------------------------------


def test_one_run_computes_for_all(flow: Flow, storage: Storage, other: FakeWorker) -> None:
    memo = storage.runs.memo
    for name in ("r", "s"):
        flow.start(name)
    first, second = flow.worker.claim()
    one, two = (Hold(lease.seq, lease.token) for lease in (first, second))
    assert memo(one, "k", "llm") == (None, True, None)
    assert memo(two, "k", "llm") == (None, False, None)
    waits = flow.step(1, None, waited="memo k", name="llm", due_ms=flow.clock.now_ms() + 30_000, ended_ms=None)
    storage.settle([(second, Suspend([waits]))])
    assert flow.status("s") == "waiting"
    assert storage.runs.find("s").waiting_for == ("memo llm",)  # type: ignore[union-attr]
    storage.runs.checkpoint(one, flow.step(1, b"42", name="llm"), memo=Memo("k", 1_000))
    (second,) = other.claim()
    assert memo(Hold(second.seq, second.token), "k", "llm") == (b"42", False, None)
    assert storage.runs.memo_stats() == [("llm", 1, 0, 2, None, 0)]
    flow.clock.advance(seconds=1)
    assert memo(one, "k", "llm") == (None, True, None)


@pytest.mark.parametrize("end", ["crash", "drop", "fails", "suspends"])
def test_a_claimant_that_goes_frees_the_memo(flow: Flow, storage: Storage, end: str) -> None:
    flow.start("r")
    flow.start("s")
    first, second = flow.worker.claim()
    one, two = (Hold(lease.seq, lease.token) for lease in (first, second))
    storage.runs.memo(one, "k", "llm")
    waits = flow.step(1, None, waited="memo k", name="llm", due_ms=flow.clock.now_ms() + 30_000, ended_ms=None)
    if end == "drop":
        storage.settle([(second, Suspend([waits]))])
        storage.runs.drop_memo(one, "k")
        assert flow.status("s") == "queued"
        return
    if end == "fails":
        storage.settle([(second, Suspend([waits]))])
        storage.settle([(first, DeadLetter(ERROR))])
        assert flow.status("s") == "queued"
        return
    outcome = Release(crashed=True) if end == "crash" else Suspend([], due_ms=flow.clock.now_ms() + 5_000)
    storage.settle([(first, outcome)])
    assert storage.runs.memo(two, "k", "llm") == (None, True, None)


# -- transactions, streams -------------------------------------------------------------------------------------------


def test_a_steps_rows_and_its_checkpoint_are_one_commit(flow: Flow, storage: Storage) -> None:
    with storage.driver.write() as tx:
        tx.execute("DROP TABLE IF EXISTS stock")  # of the same server, by another way to it
        tx.execute("CREATE TABLE stock (n INTEGER)")
    flow.start()
    hold = flow.claim()
    with pytest.raises(ZeroDivisionError), storage.runs.transaction(hold) as step:
        step.execute("INSERT INTO stock VALUES (?)", [1])
        step.checkpoint(flow.step(1))
        raise ZeroDivisionError
    assert flow.rows() == []
    with pytest.raises(WorkflowError, match="without its checkpoint"), storage.runs.transaction(hold) as step:
        step.execute("INSERT INTO stock VALUES (2)")
    with storage.runs.transaction(hold) as step:
        step.execute("INSERT INTO stock VALUES (3)")
        step.enqueue(Batch([Message("mail", "t", PAYLOAD)]))
        assert step.execute("SELECT n FROM stock") == [(3,)]
        assert step.checkpoint(flow.step(1)) is None
    with storage.runs.transaction(hold) as step, pytest.raises(WorkflowError, match="COMMIT"):
        step.execute(" commit")
    storage.reap([flow.worker.number])
    with pytest.raises(LeaseLost), storage.runs.transaction(hold) as step:
        step.execute("INSERT INTO stock VALUES (4)")
    with storage.driver.read() as tx:
        assert tx.execute("SELECT n FROM stock") == [(3,)]
    assert storage.reader.find("mail") is not None


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT\n", "-- the end\nCOMMIT", "/* ; */ commit", "; COMMIT", "ABORT", "START TRANSACTION",
        "PREPARE TRANSACTION 'x'", "UPDATE stock SET n = 1; COMMIT", "SELECT ''''; /* ' */ END",
    ],
)  # fmt: skip
def test_a_step_does_not_end_its_transaction(flow: Flow, storage: Storage, sql: str) -> None:
    flow.start()
    hold = flow.claim()
    with storage.runs.transaction(hold) as step, pytest.raises(WorkflowError, match="leave it out"):
        step.execute(sql)


def test_words_that_end_a_transaction_may_stand_where_they_mean_nothing(flow: Flow, storage: Storage) -> None:
    flow.start()
    hold = flow.claim()
    with storage.runs.transaction(hold) as step:
        assert step.execute("SELECT '; COMMIT' -- ; COMMIT") == [("; COMMIT",)]
        assert step.execute('SELECT 1 AS "; END" /* ; ROLLBACK */;') == [(1,)]
        if storage.driver.one_machine:
            step.execute("CREATE TABLE trodden (n INTEGER)")
            step.execute("CREATE TRIGGER treads AFTER INSERT ON trodden BEGIN DELETE FROM trodden; END")
        step.checkpoint(flow.step(1))


def test_a_step_whose_transaction_was_rolled_back_is_not_recorded(flow: Flow, storage: Storage) -> None:
    if not storage.driver.one_machine:
        pytest.skip("it rolls a transaction back by its own words alone")
    with storage.driver.write() as tx:
        tx.execute("CREATE TABLE stock (n INTEGER PRIMARY KEY)")
    flow.start()
    hold = flow.claim()
    with pytest.raises(WorkflowError, match="OR ABORT"), storage.runs.transaction(hold) as step:
        step.execute("INSERT INTO stock VALUES (1)")
        with pytest.raises(Exception, match="UNIQUE"):
            step.execute("INSERT OR ROLLBACK INTO stock VALUES (1)")
        step.checkpoint(flow.step(1))
    assert flow.rows() == []
    with storage.runs.transaction(hold) as step:
        step.execute("INSERT INTO stock VALUES (1)")
        step.checkpoint(flow.step(1))
    with storage.driver.read() as tx:
        assert tx.execute("SELECT n FROM stock") == [(1,)]


def test_a_step_whose_connection_is_lost_before_its_checkpoint_has_not_failed(
    flow: Flow, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_lost(*_: object) -> None:
        raise StorageUnavailable("the server closed the connection")

    flow.start()
    hold = flow.claim()
    with pytest.raises(StorageUnavailable), storage.runs.transaction(hold) as step:
        step.execute("SELECT 1")
        with monkeypatch.context() as patch:
            patch.setattr(type(step._tx), "execute", is_lost)
            step.checkpoint(flow.step(1))
    assert flow.rows() == []


def test_chunks_of_a_repeated_step_bear_a_higher_attempt(flow: Flow) -> None:
    runs = flow.storage.runs
    flow.start()
    hold = flow.claim()
    assert runs.emit(hold, "out", flow.step(1), [b"1", b"2"]) == 1
    assert runs.emit(hold, "out", flow.step(1), [b"3"], 1) == 1
    assert runs.emit(hold, "out", flow.step(2), [b"4"]) == 1
    assert runs.emit(hold, "out", flow.step(1), [b"5"]) == 2
    chunks, ended = flow.storage.streams.chunks("r", "out", after=1)
    assert [tuple(chunk) for chunk in chunks] == [(2, 1, b"2"), (3, 1, b"3"), (4, 1, b"4"), (5, 2, b"5")]
    assert not ended
    flow.settle(Ack(b"1"))
    assert flow.storage.streams.chunks("r", "out", after=5) == ([], True)


def test_a_list_of_runs_by_name_status_and_tags_the_newest_first(flow: Flow) -> None:
    for n in range(5):
        flow.start(f"r{n}", tags=("all", f"t{n % 2}"))
    runs = flow.storage.runs
    runs.cancel(["r3"])
    runs.pause("r2")
    assert [run.id for run in runs.list()] == ["r4", "r3", "r2", "r1", "r0"]
    assert [run.id for run in runs.list(limit=2, after="r3")] == ["r2", "r1"]
    assert [run.id for run in runs.list(name="flow", status="queued")] == ["r4", "r1", "r0"]
    assert [run.id for run in runs.list(status="paused")] == ["r2"]
    assert [run.id for run in runs.list(tags=["all", "t1"], limit=1, after="r3")] == ["r1"]
    assert runs.list(["r1", "gone"], status="queued")[0].id == "r1"
    assert runs.list(name="other") == []
    with pytest.raises(ValueError, match="unknown status"):
        runs.list(status="done")


def test_what_executes_is_among_the_steps(flow: Flow) -> None:
    flow.start()
    hold = flow.claim()
    flow.storage.runs.checkpoint(hold, flow.step(1, marks=b'["p"]'))
    now = {"scope": "", "pos": 2, "kind": "step", "name": "long", "key": None, "started_ms": flow.clock.now_ms() + 1}
    flow.storage.runs.show([(hold.run, hold.token, orjson.dumps([now])), (hold.run, 0, b"[]")])
    assert [(step.n, step.row.name, step.status) for step in flow.storage.runs.steps("r")] == [
        (1, "s", "done"), (2, "long", "running"),
    ]  # fmt: skip
    assert flow.storage.runs.needed_marks() == [("flow", "patch", "p", 1), ("flow", "version", "1", 1)]
    assert flow.storage.runs.history(hold.run).marks == {"p"}


def test_a_number_that_comes_again_finds_no_history(flow: Flow, storage: Storage) -> None:
    flow.start(tags=("x",))
    hold = flow.claim()
    runs = storage.runs
    runs.checkpoint(hold, flow.step(1, b'"' + b"x" * 5_000 + b'"'))
    runs.set_state(hold, "k", b"1")
    runs.emit(hold, "out", flow.step(1), [b"1"])
    flow.settle(Ack(b"1"))
    storage.forget(["r"])
    number_comes_again(storage, hold.run)
    flow.start()
    assert flow.claim().run == hold.run
    chunks, _ = storage.streams.chunks("r", "out")
    assert (flow.rows(), runs.state("r"), chunks, runs.list(tags=["x"])) == ([], {}, [], [])


def test_an_event_goes_to_the_present_generation(flow: Flow) -> None:
    flow.start()
    flow.claim()
    flow.suspend(flow.wait(1, "event", "go"), due_ms=flow.clock.now_ms() + 1_000)
    flow.clock.advance(seconds=1)
    flow.claim()  # another branch goes on, and begins anew
    flow.settle(ContinueAsNew(b"[[2],{}]"))
    flow.claim()
    flow.storage.runs.send("r", "go", b"1")
    flow.suspend(flow.wait(1, "event", "go"))
    assert [row.output for row in flow.rows()] == [b"1"]


# -- among others ----------------------------------------------------------------------------------------------------


def test_a_run_in_a_chain_has_its_input_at_each_activation_and_hands_its_result_on(
    flow: Flow, storage: Storage
) -> None:
    run = Message("r", "flow", PAYLOAD, flags=Flag.RUN | Flag.LINKED | Flag.TAKES_INPUT, awaits="a")
    last = Message("z", "t", PAYLOAD, flags=Flag.TAKES_INPUT, awaits="r")
    storage.enqueue(Batch([Message("a", "t", PAYLOAD, flags=Flag.LINKED), run, last]))
    (first,) = flow.worker.claim()
    storage.settle([(first, Ack(b"7"))])
    for pos in (1, 2):
        flow.claim()
        assert flow.lease is not None
        assert flow.lease.input == b"7"
        flow.suspend(flow.wait(pos, "event", "go"))
        storage.enqueue(Batch([Message(f"late{pos}", "t", PAYLOAD, awaits="a")]))  # "a" has ended: nobody else is told
        assert [lease.id for lease in flow.worker.claim()] == [f"late{pos}"]
        storage.runs.send("r", "go", b"1")
    flow.claim()
    flow.settle(Ack(b"8"))
    (after,) = flow.worker.claim()
    assert (after.id, after.input) == ("z", b"8")


def test_an_errback_that_is_a_run_and_waits_stays_when_what_it_is_for_succeeds_at_last(
    flow: Flow, storage: Storage
) -> None:
    errback = Message("r", "flow", PAYLOAD, flags=Flag.RUN | Flag.ON_FAILURE, awaits="a")
    storage.enqueue(Batch([Message("a", "t", PAYLOAD, flags=Flag.LINKED), errback]))
    (first,) = flow.worker.claim()
    storage.settle([(first, DeadLetter(ERROR))])
    flow.claim()
    flow.suspend(flow.wait(1, "event", "go"))
    storage.dead.requeue(["a"])
    (again,) = flow.worker.claim()
    storage.settle([(again, Ack(b"1"))])
    assert flow.status() == "waiting"


def test_a_run_settles_beside_a_lease_that_is_lost(flow: Flow, storage: Storage, other: FakeWorker) -> None:
    storage.enqueue(Batch([Message("t", "t", PAYLOAD)]))
    (lost,) = other.claim()
    storage.reap([other.number])
    storage.cancel(["t"])
    flow.start()
    flow.claim()
    assert flow.lease is not None
    suspended = (flow.lease, Suspend([flow.wait(1, "event", "go")]))
    assert storage.settle([(lost, Ack(b"1")), suspended]) == [lost]
    assert flow.status() == "waiting"
    assert storage.settle([suspended]) == [flow.lease]


# -- intents ---------------------------------------------------------------------------------------------------------


def test_an_intent_stands_until_the_end_of_its_step_is_known(flow: Flow) -> None:
    flow.start()
    runs, hold = flow.storage.runs, flow.claim()
    assert runs.intent(hold, ("", 1)) is None
    assert runs.begin_intent(hold, ("", 1), "charge", "k1", 1) is None
    assert runs.in_doubt() == [], "it is being executed"
    flow.settle(Release(crashed=True))
    assert runs.in_doubt() == ["r"]
    hold = flow.claim()
    assert runs.in_doubt() == ["r"]
    intent = runs.intent(hold, ("", 1))
    assert intent is not None
    assert intent[:3] == ("charge", "k1", 1)
    assert runs.begin_intent(hold, ("", 1), "charge", "k1", 2) is None
    assert runs.in_doubt() == []
    assert runs.checkpoint(hold, flow.step(1), intent=True) is None
    assert runs.intent(hold, ("", 1)) is None
    assert [row.pos for row in flow.rows()] == [1]


def test_an_intent_is_of_a_lease_and_obeys_what_is_asked(flow: Flow, other: FakeWorker) -> None:
    flow.start()
    runs, hold = flow.storage.runs, flow.claim()
    runs.cancel(["r"], reason="enough")
    assert runs.begin_intent(hold, ("", 1), "charge", "k1", 1) == Asked("cancel", "enough")
    assert runs.intent(hold, ("", 1)) is None
    assert runs.begin_intent(hold, ("", 1), "charge", "k1", 1) is None, "it is told once"
    flow.storage.reap([flow.worker.number])
    other.claim()
    for write in (
        lambda: runs.begin_intent(hold, ("", 1), "charge", "k1", 2),
        lambda: runs.end_intent(hold, ("", 1)),
        lambda: runs.checkpoint(hold, flow.step(1), intent=True),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert runs.in_doubt() == ["r"]


def test_a_doubt_goes_along_with_an_exported_run(flow: Flow) -> None:
    flow.start()
    runs, hold = flow.storage.runs, flow.claim()
    runs.begin_intent(hold, ("=k", 0), "charge", "k1", 2)
    flow.settle(Release(crashed=True))
    document = runs.export("r")
    runs.terminate(["r"])
    runs.delete(["r"])
    assert runs.in_doubt() == []
    runs.bring(document)
    assert runs.in_doubt() == ["r"]
    runs.resume("r")
    intent = runs.intent(flow.claim(), ("=k", 0))
    assert intent is not None
    assert intent[:3] == ("charge", "k1", 2)


def test_a_budget_goes_along_with_an_exported_run(flow: Flow) -> None:
    flow.start(budget=(("requests", 3, None, 0.8, 1),))
    runs = flow.storage.runs
    flow.claim()
    flow.settle(Release(crashed=True))
    document = runs.export("r")
    runs.terminate(["r"])
    runs.delete(["r"])
    runs.bring(document)
    assert runs.export("r")["budget"] == document["budget"]
    assert [row[:2] for row in document["budget"]] == [["requests", 3]]


def test_a_run_that_is_imported_is_under_the_limits_of_its_keys(flow: Flow) -> None:
    flow.start(keys='[null,"api:eu"]')
    runs = flow.storage.runs
    document = runs.export("r")
    runs.terminate(["r"])
    runs.delete(["r"])
    flow.storage.limits.pause("api:eu", 60.0)
    runs.bring(document)
    assert runs.resume("r")
    assert flow.worker.claim() == []
    assert flow.storage.limits.resume("api:eu")
    flow.claim()


def test_a_run_that_is_over_is_in_no_doubt_and_a_number_that_comes_again_finds_none(flow: Flow) -> None:
    flow.start()
    runs, hold = flow.storage.runs, flow.claim()
    runs.begin_intent(hold, ("", 1), "charge", "k1", 1)
    flow.settle(DeadLetter(ERROR))
    assert runs.in_doubt() == ["r"], "it may be retried"
    runs.terminate(["r"])
    runs.retry("r")
    hold = flow.claim()
    runs.begin_intent(hold, ("", 1), "charge", "k1", 2)
    flow.settle(Ack(b"1"))
    assert runs.in_doubt() == []
    runs.delete(["r"])
    number_comes_again(flow.storage, hold.run)
    flow.start("r2")
    again = flow.claim()
    assert runs.intent(again, ("", 1)) is None


def test_the_steps_of_runs_that_have_ended_stand_in_no_line_for_a_limit(flow: Flow) -> None:
    runs, driver = flow.storage.runs, flow.storage.driver
    holds = []
    for n in range(17):  # more than are looked at for one that wakes
        flow.start(f"r{n}")
        holds.append(flow.claim())
        flow.suspend(flow.wait(1, "step", "s", waited="limit api", due_ms=flow.clock.now_ms() + 30_000))
    with driver.read() as tx:
        assert waiting.how_many(tx, "api", holds[-1].run) == 16
    runs.terminate([f"r{n}" for n in range(16)])
    with driver.write() as tx:
        assert waiting.how_many(tx, "api", holds[-1].run) == 0
        assert waiting.wake_first(tx, "api", now_ms=flow.clock.now_ms()) == "celery"
    assert flow.claim() == holds[-1]._replace(token=flow.lease.token)  # type: ignore[union-attr]
