"""A finished row stays until everything that may take its result has finished: one condition, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from liteq.message import Ack, Batch, DeadLetter, Flag, Group, Release, Replace, RetryAt, RunSpec
from liteq.serialization import decode_error, encode_error
from liteq.states import State
from liteq.storage.rows.results import Ending
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, FakeWorker, Run, StateOf, chain_of, chord_of, row

LINKED, INPUT, ERRBACK = Flag.LINKED, Flag.TAKES_INPUT, Flag.ON_FAILURE
A_DAY_S = 86_400


def nested() -> Batch:
    """A chord whose header has a group of its own."""
    inner = [row(f"m{i}", LINKED, group_id="inner", position=i) for i in range(2)]
    outer = row("m2", LINKED, group_id="g", position=1)
    return Batch([*inner, outer, row("body", INPUT, awaits="g")], [Group("g", 2), Group("inner", 2, group_id="g")])


SHAPES = {
    "a chord": lambda: chord_of(2),
    "a chord in a chord": nested,
    "a chain": lambda: Batch(chain_of("m0", "body")),
}


def forget(storage: Storage, clock: FakeClock) -> None:
    storage.forget(["m0", "m1", "m2"])


def retention(storage: Storage, clock: FakeClock) -> None:
    clock.advance(seconds=A_DAY_S)
    while storage.expire(result_expires_s=60, dead_expires_s=A_DAY_S * 2):
        pass


def send_again(storage: Storage, clock: FakeClock) -> None:
    storage.enqueue(Batch([row("m0")]), again=["m0"])
    storage.cancel(["m0"])


def waits(run: Run) -> None:
    pass


def runs(run: Run) -> None:
    run.held = run.worker.claim(1)  # type: ignore[attr-defined]


def crashed(run: Run) -> None:
    (body,) = run.worker.claim(1)
    run.storage.settle([(body, Release(crashed=True))])


def died(run: Run) -> None:
    run(body=DeadLetter(ERROR))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("takes_away", [forget, retention, send_again])
@pytest.mark.parametrize("body", [waits, runs, crashed, died])
def test_the_input_of_a_row_stays_until_it_has_finished(
    storage: Storage, run: Run, clock: FakeClock, shape: str, takes_away: Callable[..., None], body: Callable[..., None]
) -> None:
    batch = SHAPES[shape]()
    storage.enqueue(batch)
    storage.settle([(lease, Ack(f'"{lease.id}"'.encode())) for lease in run.worker.claim(3)])
    body(run)
    takes_away(storage, clock)
    if body is died:
        assert storage.dead.requeue(["body"]) == ["body"]
    elif body is runs:
        storage.settle([(lease, Release()) for lease in run.held])  # type: ignore[attr-defined]
    run()
    assert run.inputs["body"] == {"a chord": b'["m0","m1"]', "a chain": b'"m0"'}.get(shape, b'[["m0","m1"],"m2"]')


def test_what_has_finished_whole_may_go(storage: Storage, run: Run) -> None:
    storage.enqueue(nested())
    run()
    assert storage.forget(["m0", "m1", "m2", "body"]) == 4


def test_a_dead_letter_stays_while_an_errback_takes_its_error(storage: Storage, run: Run, clock: FakeClock) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT, awaits="a", delay_ms=A_DAY_S * 5_000)]))
    run(a=DeadLetter(ERROR))
    assert storage.dead.drop(["a"]) == 0
    clock.advance(seconds=A_DAY_S * 4)
    storage.expire(result_expires_s=60, dead_expires_s=60)
    clock.advance(seconds=A_DAY_S * 2)
    run()
    assert run.inputs["err"] == ERROR
    assert storage.dead.drop(["a"]) == 1


def test_a_job_whose_follower_is_a_dead_letter_runs_again_and_the_dead_letter_keeps_its_input(
    storage: Storage, run: Run
) -> None:
    storage.enqueue(Batch(chain_of("job", "after")))
    run(job=Ack(b'"old"'), after=DeadLetter(ERROR))
    storage.enqueue(Batch([row("job")]), again=["job"])
    run(job=Ack(b'"new"'))
    assert run.order == ["job", "after", "job"]
    storage.dead.requeue(["after"])
    run()
    assert run.inputs["after"] == b'"old"'


# -- replays ---------------------------------------------------------------------------------------------------------


def test_a_replay_whose_followers_key_was_taken_goes_on_and_the_follower_follows(
    storage: Storage, run: Run, clock: FakeClock
) -> None:
    first, second = chain_of("a", "b")
    storage.enqueue(Batch([first, replace(second, unique_key="K")]))
    run(a=DeadLetter(ERROR))
    storage.enqueue(Batch([row("holder", unique_key="K", due_ms=storage.clock.now_ms() + 1000)]))
    assert storage.dead.requeue(["a"]) == ["a"]
    assert run() == ["a", "a"]
    clock.advance(seconds=2)
    assert run() == ["a", "a", "holder"]
    follower = storage.reader.find("b")
    assert follower is not None
    assert (follower.state, follower.result) == (State.SUCCEEDED, b'"holder"')


@pytest.mark.parametrize("key", [None, "K"])
def test_what_is_behind_a_replayed_dead_letter_is_not_too_late(
    storage: Storage, run: Run, clock: FakeClock, key: str | None
) -> None:
    first, second = chain_of("a", "b")
    late = {"expires_ms": clock.now_ms() + 60_000}
    storage.enqueue(Batch([replace(first, **late), replace(second, unique_key=key, **late)]))
    run(a=DeadLetter(ERROR))
    clock.advance(seconds=A_DAY_S)
    storage.dead.requeue(["a"])
    assert {r.id: r.expires_ms for r in storage.reader.find_many(["a", "b"]).values()} == {"a": None, "b": None}


def test_a_replay_that_fails_again_calls_its_errbacks_again(storage: Storage, run: Run) -> None:
    errback = [row("err", LINKED | ERRBACK | INPUT, awaits="a"), row("behind", INPUT, awaits="err")]
    storage.enqueue(Batch([row("a", LINKED), *errback]))
    run(a=DeadLetter(ERROR))
    for _ in range(2):
        storage.dead.requeue(["a"])
        run(a=DeadLetter(ERROR))
    assert run.order == ["a", "err", "behind"] * 3


def test_an_errback_that_is_called_again_has_its_budget_and_its_tags(storage: Storage, run: Run) -> None:
    """Of the former nothing is spent yet."""
    spec = RunSpec(tags=("nightly",), budget=(("cost", 250, None, 0.8, 0),))
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | Flag.RUN, awaits="a", run=spec)]))
    run(a=DeadLetter(ERROR))
    storage.dead.requeue(["a"])
    run(a=DeadLetter(ERROR))
    with storage.driver.read() as tx:
        budgets = tx.execute("SELECT what, most, spent, soft FROM liteq_run_budgets")
        tags = tx.execute("SELECT tag FROM liteq_run_tags")
    assert (budgets, tags) == ([("cost", 250, 0, 0.8)] * 2, [("nightly",)] * 2)


def test_the_fork_of_an_errback_is_not_called_again_with_it(storage: Storage, run: Run) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT | Flag.RUN, awaits="a", run=RunSpec())]))
    run(a=DeadLetter(ERROR))
    with storage.driver.write() as tx:
        tx.execute(f"UPDATE liteq_messages SET flags = flags | {Flag.HISTORY} WHERE id = 'err'")
    storage.runs.fork("err", 1, new="f")
    run()
    storage.dead.requeue(["a"])
    run(a=DeadLetter(ERROR))
    assert run.order == ["a", "err", "err", "a", "err"]


def test_an_errback_that_keeps_no_result_is_called_again_too(storage: Storage, run: Run, clock: FakeClock) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT | Flag.IGNORE_RESULT, awaits="a")]))
    run(a=DeadLetter(ERROR), err=Ack(None))
    clock.advance(seconds=A_DAY_S)
    storage.expire(result_expires_s=60, dead_expires_s=None)
    storage.dead.requeue(["a"])
    run(a=DeadLetter(ERROR), err=Ack(None))
    assert run.order == ["a", "err", "a", "err"]


def test_a_canvas_whose_errback_is_called_again_is_the_one_that_was_sent(storage: Storage, run: Run) -> None:
    """Its sender, whose call has raised, say, sends it once more after the requeue."""
    canvas = Batch([row("a", LINKED), row("b", INPUT, awaits="a"), row("err", ERRBACK | INPUT, awaits="a")])
    storage.enqueue(canvas)
    run(a=DeadLetter(ERROR))
    storage.dead.requeue(["a"])
    assert [str(id_) for id_ in storage.enqueue(canvas)] == ["a", "b", "err"]
    run()
    assert run.order == ["a", "err", "a", "b"]


def test_an_errback_that_was_retried_is_called_again_at_once(
    storage: Storage, run: Run, worker: FakeWorker, clock: FakeClock
) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT, awaits="a")]))
    run(a=DeadLetter(ERROR), err=RetryAt(clock.now_ms() + 60_000, delay_ms=60_000))
    clock.advance(seconds=60)
    run()
    storage.dead.requeue(["a"])
    run(a=DeadLetter(ERROR))
    assert run.order == ["a", "err", "err", "a", "err"]


def test_a_requeued_errback_is_called_again_at_once(
    storage: Storage, run: Run, worker: FakeWorker, clock: FakeClock
) -> None:
    """The delay of a retry before its death is over."""
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT, awaits="a")]))
    run(a=DeadLetter(ERROR), err=RetryAt(clock.now_ms() + 60_000, delay_ms=60_000))
    clock.advance(seconds=60)
    run(err=DeadLetter(ERROR))
    storage.dead.requeue(["err"])
    run()
    storage.dead.requeue(["a"])
    run(a=DeadLetter(ERROR))
    assert run.order == ["a", "err", "err", "err", "a", "err"]


def test_a_group_as_an_errback_is_called_again_whole(storage: Storage, run: Run) -> None:
    members = [row(f"e{i}", LINKED | ERRBACK | INPUT, awaits="a", group_id="g", position=i) for i in range(2)]
    storage.enqueue(Batch([row("a", LINKED), *members, row("body", INPUT, awaits="g")], [Group("g", 2)]))
    run(a=DeadLetter(ERROR))
    storage.dead.requeue(["a"])
    run(a=DeadLetter(ERROR))
    assert run.order == ["a", "e0", "e1", "body"] * 2


def test_an_errback_of_a_body_is_called_again_too(storage: Storage, run: Run) -> None:
    batch = chord_of(2)
    body = replace(batch.messages[-1], flags=INPUT | LINKED)
    storage.enqueue(Batch([*batch.messages[:-1], body, row("err", ERRBACK | INPUT, awaits="body")], batch.groups))
    run(m0=DeadLetter(ERROR))
    storage.dead.requeue(["m0"])
    run(m0=DeadLetter(ERROR))
    assert run.order == ["m0", "m1", "err", "m0", "err"]


def test_a_replay_that_succeeds_needs_its_errback_no_more(storage: Storage, run: Run) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT, awaits="a")]))
    run(a=DeadLetter(ERROR))
    storage.dead.requeue(["a"])
    run()
    assert run.order == ["a", "err", "a"]
    assert [(count.state, count.n) for count in storage.reader.counts()] == [(State.SUCCEEDED, 2)], (
        "as it ran the first time"
    )


def test_an_errback_that_waits_while_its_task_is_replayed_has_the_error(
    storage: Storage, run: Run, clock: FakeClock
) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT, awaits="a", delay_ms=5_000)]))
    run(a=DeadLetter(ERROR))
    storage.dead.requeue(["a"])
    clock.advance(seconds=6)
    run()
    assert run.inputs["err"] == ERROR


def test_an_errback_of_a_body_that_waits_while_a_member_is_replayed_has_the_error(
    storage: Storage, run: Run, clock: FakeClock
) -> None:
    batch = chord_of(2)
    body = replace(batch.messages[-1], flags=INPUT | LINKED)
    errback = row("err", ERRBACK | INPUT, awaits="body", delay_ms=5_000)
    storage.enqueue(Batch([*batch.messages[:-1], body, errback], batch.groups))
    run(m0=DeadLetter(ERROR))
    storage.dead.requeue(["m0"])
    clock.advance(seconds=6)
    run()
    given = run.inputs["err"]
    assert given is not None
    assert "m0 raised ValueError" in decode_error(given).message


# -- what is large ---------------------------------------------------------------------------------------------------


def size_of(storage: Storage) -> int:
    with storage.driver.read() as tx:
        return int(tx.execute("SELECT sum(length(coalesce(error, ''))) FROM liteq_messages")[0][0])


def test_an_error_is_stored_once_however_many_fail_because_of_it(storage: Storage, run: Run) -> None:
    large = encode_error(ValueError("x" * 16_000), "a traceback")
    members = [row(f"m{i}", LINKED | INPUT, awaits="a", group_id="g", position=i) for i in range(100)]
    storage.enqueue(Batch([row("a", LINKED), *members, row("body", INPUT, awaits="g")], [Group("g", 100)]))
    run(a=DeadLetter(large))
    assert size_of(storage) < len(large) + 101 * 700
    assert {record.error for record in storage.reader.find_many([m.id for m in members]).values()} == {large}
    assert {record.error for record in storage.reader.find_finished([m.id for m in members]).values()} == {large}


def test_the_error_of_a_group_is_stored_once_too(storage: Storage, run: Run) -> None:
    members = [row(f"m{i}", LINKED, group_id="g", position=i) for i in range(2)]
    bodies = [row(f"b{i}", LINKED | INPUT, awaits="g") for i in range(50)]
    storage.enqueue(Batch([*members, *bodies, row("last", INPUT, awaits="b7")], [Group("g", 2)]))
    large = encode_error(ValueError("x" * 16_000))
    run(m1=DeadLetter(large))
    assert size_of(storage) < 4 * len(large)
    errors = {record.error for record in storage.reader.find_many([*[m.id for m in bodies], "last"]).values()}
    assert len(errors) == 1
    assert b"x" * 16_000 in (errors.pop() or b"")


@pytest.mark.parametrize("how", ["purged", "dropped", "old"])
def test_what_ended_because_of_what_has_gone_is_not_behind_the_next_of_its_id(
    storage: Storage, worker: FakeWorker, state: StateOf, clock: FakeClock, how: str
) -> None:
    storage.enqueue(Batch(chain_of("a", "b")))
    if how == "purged":
        assert storage.purge() == 1
    else:
        storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
        clock.advance(seconds=A_DAY_S)
        storage.dead.drop(["a"]) if how == "dropped" else storage.expire(result_expires_s=None, dead_expires_s=60)
    assert state("a") is None
    storage.enqueue(Batch(chain_of("a", "c")), again=["a"])
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    assert storage.dead.requeue(["a"]) == ["a"]
    assert (state("b"), state("c")) == (State.UPSTREAM_FAILED, State.BLOCKED)


def test_the_errback_of_what_is_forgotten_is_not_called_for_the_next_of_its_id(
    storage: Storage, worker: FakeWorker
) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK, awaits="a")]))
    for outcome in (DeadLetter(ERROR), Ack(b"1")):
        storage.settle([(worker.claim_one(), outcome)])
    assert storage.forget(["a"]) == 1
    storage.enqueue(Batch([row("a", LINKED)]), again=["a"])
    for _ in range(2):
        storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
        assert storage.dead.requeue(["a"]) == ["a"]
    assert [lease.id for lease in worker.claim()] == ["a"]


def test_where_the_error_is_gone_its_head_is_left(storage: Storage, run: Run) -> None:
    storage.enqueue(Batch(chain_of("a", "b")))
    run(a=DeadLetter(encode_error(ValueError("x" * 16_000))))
    assert storage.dead.drop(["a"]) == 1
    left = storage.reader.find("b")
    assert left is not None
    assert left.error is not None
    assert b"xxx" in left.error


def test_a_large_result_that_is_stored_again_leaves_no_body_behind(storage: Storage) -> None:
    for result in (b'"' + b"x" * 5_000 + b'"', b'"' + b"y" * 6_000 + b'"', b"1"):
        assert storage.store_result("m", Ending(State.SUCCEEDED, result=result))
        found = storage.reader.find("m")
        assert found is not None
        assert found.result == result
    assert storage.forget(["m"]) == 1
    with storage.driver.read() as tx:
        assert tx.execute("SELECT count(*) FROM liteq_bodies") == [(0,)]


# -- revoked ---------------------------------------------------------------------------------------------------------


def test_what_has_replaced_itself_is_cancelled_with_its_replacement(
    storage: Storage, run: Run, worker: FakeWorker
) -> None:
    storage.enqueue(Batch([row("a")]))
    members = [row(f"m{i}", LINKED | INPUT, awaits="first", group_id="g", position=i) for i in range(2)]
    replacement = Batch([row("first", LINKED), *members, row("last", LINKED, awaits="g")], [Group("g", 2)])
    storage.settle([(worker.claim_one(), Replace(replacement, "last"))])
    worker.claim_one()
    assert storage.cancel(["a"]) == ["first"], "what runs is to be stopped by the worker"
    rest = ["a", "m0", "m1", "last"]
    assert {r.id: r.state for r in storage.reader.find_many(rest).values()} == dict.fromkeys(rest, State.CANCELLED)


def test_a_replacement_that_waits_is_cancelled_whole(storage: Storage, run: Run, worker: FakeWorker) -> None:
    storage.enqueue(Batch([row("a")]))
    storage.settle([(worker.claim_one(), Replace(Batch(chain_of("x", "y", "z")), "z"))])
    assert storage.cancel(["a"]) == []
    assert {r.id: r.state for r in storage.reader.find_many(list("axyz")).values()} == dict.fromkeys(
        "axyz", State.CANCELLED
    )


# -- at most once ----------------------------------------------------------------------------------------------------


def test_what_runs_at_most_once_and_never_began_goes_back(storage: Storage, run: Run, worker: FakeWorker) -> None:
    """A worker that vanishes holds more than it runs."""
    storage.enqueue(Batch([row("begun", Flag.EARLY_ACK), row("waiting", Flag.EARLY_ACK)]))
    first, _ = worker.claim(2)
    assert storage.leases.begin([first])
    storage.reap([worker.number])
    states = {record.id: record.state for record in storage.reader.find_many(["begun", "waiting"]).values()}
    assert states == {"begun": State.DEAD, "waiting": State.PENDING}
    assert not storage.leases.begin([first]), "its lease is over"


def test_whatever_was_begun_runs_at_most_once_and_what_is_behind_it_is_told(
    storage: Storage, run: Run, worker: FakeWorker
) -> None:
    """Of a message that its sender would have run again; one that is not begun, of the same worker, is."""
    names = ["a", "b"]
    errbacks = [row(f"{n}-errback", Flag.ON_FAILURE | Flag.TAKES_INPUT, awaits=n) for n in names]
    storage.enqueue(
        Batch([row(n, Flag.LINKED) for n in names] + [row(f"{n}-next", awaits=n) for n in names] + errbacks)
    )
    first, second = worker.claim(2)
    (begun,) = storage.leases.begin([first])
    assert begun == first._replace(flags=first.flags | Flag.BEGUN)
    storage.reap([worker.number])
    dead = storage.reader.find("a")
    assert dead is not None
    assert dead.state is State.DEAD
    assert dead.error is not None
    error = decode_error(dead.error)
    assert (error.type, "acknowledged early" in error.message) == ("WorkerLostError", True)
    assert sorted(run()) == ["a-errback", "b", "b-next"]
    failed = storage.reader.find("a-next")
    assert failed is not None
    assert failed.state is State.UPSTREAM_FAILED
    assert storage.leases.begin([first, second]) == [], "their leases are over"


@pytest.mark.parametrize("knows", [True, False], ids=["its lease knows", "its lease of before"])
def test_what_was_begun_and_is_released_as_crashed_has_failed(
    storage: Storage, worker: FakeWorker, knows: bool
) -> None:
    storage.enqueue(Batch([row("a")]))
    before = worker.claim()
    begun = storage.leases.begin(before)
    storage.settle([(lease, Release(crashed=True)) for lease in (begun if knows else before)])
    dead = storage.reader.find("a")
    assert dead is not None
    assert dead.state is State.DEAD
    assert dead.error is not None
    assert "acknowledged early" in decode_error(dead.error).message


def test_a_lease_tells_how_often_a_worker_vanished_with_it(storage: Storage, worker: FakeWorker) -> None:
    storage.enqueue(Batch([row("a"), row("b")]))
    assert [lease.reaps for lease in worker.claim()] == [0, 0]
    for n in (1, 2):
        storage.reap([worker.number])
        leases = worker.claim()
        assert [lease.reaps for lease in leases] == [n, n]
        assert storage.leases.find(leases[0].seq, leases[0].token) == leases[0]
    storage.settle([(lease, RetryAt(0)) for lease in leases])
    assert worker.claim_one().reaps == 2


def test_what_vanished_too_often_says_how_often_and_by_which_setting(storage: Storage, worker: FakeWorker) -> None:
    storage.enqueue(Batch([row("a")]))
    for _ in range(storage.max_reaps):
        worker.claim_one()
        storage.reap([worker.number])
    dead = storage.reader.find("a")
    assert dead is not None
    assert dead.error is not None
    message = decode_error(dead.error).message
    assert message == f"the worker that held it vanished, {storage.max_reaps} times in all (max_reaps)"


def test_what_is_replayed_has_not_begun(storage: Storage, worker: FakeWorker, other: FakeWorker) -> None:
    """Nor has its errback, which is called once more."""
    storage.enqueue(Batch([row("a", Flag.EARLY_ACK | LINKED), row("err", Flag.EARLY_ACK | ERRBACK, awaits="a")]))
    for _ in "a", "err":
        (lease,) = storage.leases.begin(worker.claim())
        storage.settle([(lease, DeadLetter(ERROR))])
    storage.dead.requeue(["a"])
    (lease,) = worker.claim()
    storage.reap([worker.number])
    (lease,) = other.claim()
    storage.settle([(lease, DeadLetter(ERROR))])
    assert len(other.claim()) == 1
    storage.reap([other.number])
    assert [(count.state, count.n) for count in storage.reader.counts()] == [(State.DEAD, 2), (State.PENDING, 1)]


def test_a_retry_has_not_begun(storage: Storage, worker: FakeWorker) -> None:
    storage.enqueue(Batch([row("a", Flag.EARLY_ACK)]))
    lease = worker.claim_one()
    storage.leases.begin([lease])
    storage.settle([(lease, RetryAt(0))])
    worker.claim_one()
    storage.reap([worker.number])
    assert [(count.state, count.n) for count in storage.reader.counts()] == [(State.PENDING, 1)]
