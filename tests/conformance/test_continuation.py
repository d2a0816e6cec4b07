"""The consequences of the end of one message: chains, groups, chords, errbacks, replacements, replays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liteq.exceptions import CanvasConflict, ChordError
from liteq.message import DEPTH_SHIFT, LATER, Ack, Batch, DeadLetter, Flag, Group, Outcome, Replace, RetryAt
from liteq.serialization import decode_error
from liteq.states import State
from liteq.storage.driver import Bell
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, PAYLOAD, FakeWorker, Run, StateOf, chain_of, chord_of, row

LINKED, INPUT, ERRBACK = Flag.LINKED, Flag.TAKES_INPUT, Flag.ON_FAILURE


# -- chains ----------------------------------------------------------------------------------------------------------


def test_a_link_runs_when_the_one_before_has_and_gets_its_result(storage: Storage, run: Run, state: StateOf) -> None:
    storage.enqueue(Batch(chain_of("a", "b", "c")))
    assert state("b") is State.BLOCKED
    assert run() == ["a", "b", "c"]
    assert run.inputs == {"a": None, "b": b'"a"', "c": b'"b"'}


def test_an_immutable_link_gets_nothing(storage: Storage, run: Run) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("b", awaits="a")]))
    run()
    assert run.inputs["b"] is None


def test_the_next_link_is_claimed_in_the_turn_that_settles_the_one_before(storage: Storage, worker: FakeWorker) -> None:
    storage.enqueue(Batch(chain_of("a", "b")))
    lease = worker.claim_one()
    turn = storage.turn([(lease, Ack(b"1"))], ["celery"], worker=worker.number, limit=1, visibility_s=60)
    assert [(x.id, x.input) for x in turn.leases] == [("b", b"1")]


@pytest.mark.parametrize(
    ("queue", "outcome"),
    [
        ("mail", Ack(b"1")),
        ("mail", DeadLetter(ERROR)),
        ("celery", RetryAt(0, queue="mail")),
        ("celery", Replace(Batch([row("x", queue="mail")]), "x")),
    ],
    ids=["follower", "errback", "retry", "replacement"],
)
def test_what_an_end_lets_start_in_a_queue_that_its_worker_does_not_serve_rings(
    storage: Storage, worker: FakeWorker, queue: str, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = row("b", ERRBACK if isinstance(outcome, DeadLetter) else 0, awaits="a", queue=queue)
    storage.enqueue(Batch([row("a", LINKED), follower]))
    lease = worker.claim_one()
    rung: list[Bell] = []
    monkeypatch.setattr(storage.driver, "ring", rung.append)
    storage.turn([(lease, outcome)], ["celery"], worker=worker.number, limit=5, visibility_s=60)
    assert Bell.WORK in rung


def test_what_an_end_lets_start_in_its_workers_own_queue_rings_for_nobody(
    storage: Storage, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has room for it, and a busy worker would wake all idle ones."""
    storage.enqueue(Batch([row("a", LINKED), row("b", awaits="a")]))
    lease = worker.claim_one()
    rung: list[Bell] = []
    monkeypatch.setattr(storage.driver, "ring", rung.append)
    turn = storage.turn([(lease, Ack(b"1"))], ["celery"], worker=worker.number, limit=5, visibility_s=60)
    assert [lease.id for lease in turn.leases] == ["b"]
    assert Bell.WORK not in rung


def test_a_countdown_of_a_link_starts_when_it_is_unblocked(
    storage: Storage, run: Run, state: StateOf, clock: FakeClock
) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("b", INPUT, awaits="a", delay_ms=10_000)]))
    clock.advance(seconds=60)
    assert run() == ["a"]
    assert state("b") is State.SCHEDULED
    clock.advance(seconds=9)
    assert run() == ["a"]
    clock.advance(seconds=1)
    assert run() == ["a", "b"]


def test_a_failed_link_ends_those_behind_it_with_its_error(storage: Storage, run: Run, state: StateOf) -> None:
    storage.enqueue(Batch(chain_of("a", "b", "c", "d")))
    assert run(b=DeadLetter(ERROR)) == ["a", "b"]
    assert [state(x) for x in "abcd"] == [
        State.SUCCEEDED,
        State.DEAD,
        State.UPSTREAM_FAILED,
        State.UPSTREAM_FAILED,
    ]
    last = storage.reader.find("d")
    assert last is not None
    assert last.error == ERROR


def test_a_cancelled_link_ends_those_behind_it(storage: Storage, run: Run, state: StateOf) -> None:
    storage.enqueue(Batch(chain_of("a", "b", "c")))
    storage.cancel(["b"])
    assert run() == ["a"]
    assert (state("b"), state("c")) == (State.CANCELLED, State.UPSTREAM_FAILED)


def test_a_row_behind_something_that_has_finished_runs_at_once(storage: Storage, run: Run, state: StateOf) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("x", LINKED)]))
    run(x=DeadLetter(ERROR))
    storage.enqueue(Batch([row("b", INPUT, awaits="a"), row("y", INPUT, awaits="x")]))
    assert run() == ["a", "x", "b"]
    assert run.inputs["b"] == b'"a"'
    assert state("y") is State.UPSTREAM_FAILED


# -- groups and chords -----------------------------------------------------------------------------------------------


def test_a_chords_body_runs_once_all_members_have_with_their_results_in_order(
    storage: Storage, run: Run, worker: FakeWorker
) -> None:
    storage.enqueue(chord_of(3))
    first, second, third = worker.claim(3)
    storage.settle([(third, Ack(b"3")), (first, Ack(b"1"))])
    assert worker.claim() == []
    storage.settle([(second, Ack(b"2"))])
    assert run() == ["body"]
    assert run.inputs["body"] == b"[1,2,3]"


def test_a_chord_of_a_thousand(storage: Storage, run: Run) -> None:
    storage.enqueue(chord_of(1_000))
    assert run()[-1] == "body"
    assert len(run.order) == 1_001
    group = storage.reader.find_group("g")
    assert group is not None
    assert (group.remaining, group.failed) == (0, 0)


def test_the_results_of_a_large_group_are_read_by_whoever_executes(storage: Storage, worker: FakeWorker) -> None:
    """Joined in the worker's own process, they took three times their size of that which all others depend on."""
    large = b'"' + b"x" * 150_000 + b'"'
    storage.enqueue(chord_of(2))
    members = worker.claim()
    storage.settle([(lease, Ack(large)) for lease in members])
    (body,) = worker.claim()
    assert body.input == LATER
    assert storage.reader.input_of(body.awaits or "") == b"[" + large + b"," + large + b"]"


def test_a_group_in_a_group_gives_a_list_in_a_list(storage: Storage, run: Run) -> None:
    storage.enqueue(
        Batch(
            [
                row("a", LINKED, group_id="outer", position=0),
                row("b", LINKED, group_id="inner", position=0),
                row("c", LINKED, group_id="inner", position=1),
                row("body", INPUT, awaits="outer"),
            ],
            [Group("outer", 2), Group("inner", 2, group_id="outer", position=1)],
        )
    )
    run()
    assert run.inputs["body"] == b'["a",["b","c"]]'


def test_a_chord_of_chains_of_chords(storage: Storage, run: Run) -> None:
    batch = chord_of(2, body="inner-body")
    messages = [
        replace(m, flags=LINKED | INPUT, group_id="outer", position=0) if m.id == "inner-body" else m
        for m in batch.messages
    ]
    last = row("z", LINKED, group_id="outer", position=1)
    storage.enqueue(Batch([*messages, last, row("body", INPUT, awaits="outer")], [*batch.groups, Group("outer", 2)]))
    run()
    assert run.inputs["inner-body"] == b'["m0","m1"]'
    assert run.inputs["body"] == b'["inner-body","z"]'


def test_a_failed_member_fails_the_body_once_all_have_finished(
    storage: Storage, run: Run, state: StateOf, worker: FakeWorker
) -> None:
    storage.enqueue(chord_of(3))
    first, second, third = worker.claim(3)
    storage.settle([(second, DeadLetter(ERROR))])
    assert state("body") is State.BLOCKED
    storage.settle([(first, Ack(b"1")), (third, Ack(b"1"))])
    body = storage.reader.find("body")
    assert body is not None
    assert body.state is State.UPSTREAM_FAILED
    assert body.error is not None
    doc = decode_error(body.error)
    assert doc.type == ChordError.__name__
    assert "m1" in doc.message
    assert "ValueError" in doc.message


def test_a_broken_chain_in_a_header_does_not_hang_the_chord(storage: Storage, run: Run, state: StateOf) -> None:
    chained = [
        row("a", LINKED),
        row("b", LINKED | INPUT, awaits="a", group_id="g", position=0),
        row("c", LINKED, group_id="g", position=1),
    ]
    storage.enqueue(Batch([*chained, row("body", INPUT, awaits="g")], [Group("g", 2)]))
    run(a=DeadLetter(ERROR))
    assert (state("b"), state("body")) == (State.UPSTREAM_FAILED, State.UPSTREAM_FAILED)


def test_two_members_in_one_batch_and_a_purged_one_count_the_same(
    storage: Storage, run: Run, state: StateOf, worker: FakeWorker
) -> None:
    storage.enqueue(chord_of(3))
    leases = worker.claim(2)
    storage.purge()
    storage.settle([(lease, Ack(b"1")) for lease in leases])
    assert state("body") is State.UPSTREAM_FAILED


# -- errbacks --------------------------------------------------------------------------------------------------------


def test_an_errback_runs_on_failure_with_the_error(storage: Storage, run: Run) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT, awaits="a")]))
    assert run(a=DeadLetter(ERROR)) == ["a", "err"]
    assert run.inputs["err"] == ERROR


def test_an_errback_of_what_was_purged_is_heard_of(storage: Storage, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK, awaits="a")]))
    rung: list[Bell] = []
    with monkeypatch.context() as patch:
        patch.setattr(storage.driver, "ring", rung.append)
        assert storage.purge() == 1
    assert Bell.WORK in rung
    assert run() == ["err"]


def test_an_errback_vanishes_on_success(storage: Storage, run: Run, state: StateOf) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT, awaits="a")]))
    assert run() == ["a"]
    assert state("err") is None


def test_whatever_stands_behind_an_errback_vanishes_with_it(storage: Storage, run: Run) -> None:
    members = [row(f"m{i}", LINKED | ERRBACK | INPUT, awaits="a", group_id="g", position=i) for i in range(2)]
    behind = [row("body", LINKED | INPUT, awaits="g"), row("after", INPUT, awaits="body")]
    storage.enqueue(Batch([row("a", LINKED), *members, *behind], [Group("g", 2)]))
    run()
    assert [(c.state, c.n) for c in storage.reader.counts()] == [(State.SUCCEEDED, 1)]
    assert storage.reader.find_group("g") is None


def test_only_the_link_that_broke_calls_its_errback(storage: Storage, run: Run, state: StateOf) -> None:
    errbacks = [row(f"err-{x}", ERRBACK | INPUT, awaits=x) for x in "ab"]
    storage.enqueue(Batch([row("a", LINKED), row("b", LINKED | INPUT, awaits="a"), *errbacks]))
    assert run(a=DeadLetter(ERROR)) == ["a", "err-a"]
    assert state("err-b") is State.UPSTREAM_FAILED


def test_a_link_that_runs_after_a_replay_calls_its_own_errback(storage: Storage, run: Run, state: StateOf) -> None:
    errbacks = [row(f"err-{x}", ERRBACK | INPUT | LINKED, awaits=x) for x in "ab"]
    storage.enqueue(Batch([*chain_of("a", "b", "c"), *errbacks, row("after", INPUT, awaits="err-b")]))
    run(a=DeadLetter(ERROR))
    storage.dead.requeue(["a"])
    assert run(b=DeadLetter(ERROR)) == ["a", "err-a", "a", "b", "err-b", "after"]
    storage.dead.requeue(["b"])
    assert run()[6:] == ["b", "c"]


BEHIND_ERRBACKS = [("err", "next"), ("next", "last")]


def test_an_errback_that_may_not_be_called_any_more_leaves(storage: Storage, run: Run, clock: FakeClock) -> None:
    errbacks = [row(f"err-{x}", ERRBACK | INPUT | LINKED, awaits=x) for x in "ab"]
    behind = [
        row(f"{one}-{x}", INPUT | LINKED, awaits=f"{before}-{x}") for x in "ab" for before, one in BEHIND_ERRBACKS
    ]
    storage.enqueue(Batch([*chain_of("a", "b"), *errbacks, *behind]))
    run(a=DeadLetter(ERROR), **{"err-a": DeadLetter(ERROR)})
    clock.advance(seconds=61)
    while storage.expire(result_expires_s=60, dead_expires_s=60):
        pass
    assert storage.reader.counts() == []


def test_a_chord_whose_header_failed_calls_the_bodys_errback(storage: Storage, run: Run) -> None:
    batch = chord_of(2)
    body = replace(batch.messages[-1], flags=INPUT | LINKED)
    storage.enqueue(Batch([*batch.messages[:-1], body, row("err", ERRBACK | INPUT, awaits="body")], batch.groups))
    assert run(m0=DeadLetter(ERROR)) == ["m0", "m1", "err"]
    given = run.inputs["err"]
    assert given is not None
    assert decode_error(given).type == ChordError.__name__


def deep(depth: int) -> int:
    return depth << DEPTH_SHIFT


def test_a_chord_that_was_never_begun_leaves_its_bodys_errback_alone(
    storage: Storage, run: Run, state: StateOf
) -> None:
    members = [row(f"m{i}", LINKED | INPUT | deep(1), awaits="a", group_id="g", position=i) for i in range(2)]
    errbacks = [row("err", ERRBACK | INPUT, awaits="a"), row("late", ERRBACK | INPUT, awaits="body")]
    storage.enqueue(
        Batch([row("a", LINKED), *members, row("body", LINKED | INPUT, awaits="g"), *errbacks], [Group("g", 2)])
    )
    assert run(a=DeadLetter(ERROR)) == ["a", "err"]
    (body,) = storage.reader.find_many(["body"]).values()
    assert (body.state, body.error) == (State.UPSTREAM_FAILED, ERROR)


def test_a_chain_that_broke_in_a_header_is_a_failure_of_the_header(storage: Storage, run: Run) -> None:
    header = [row("x", LINKED | deep(1)), row("y", LINKED | INPUT | deep(1), awaits="x", group_id="g")]
    storage.enqueue(
        Batch(
            [*header, row("body", LINKED | INPUT, awaits="g"), row("err", ERRBACK | INPUT, awaits="body")],
            [Group("g", 1)],
        )
    )
    assert run(x=DeadLetter(ERROR)) == ["x", "err"]


# -- replace ---------------------------------------------------------------------------------------------------------


def test_a_replaced_message_finishes_as_its_replacement(storage: Storage, run: Run, state: StateOf) -> None:
    storage.enqueue(Batch(chain_of("a", "b")))
    run(a=Replace(Batch(chain_of("x", "y")), awaits="y"))
    assert run.order == ["a", "x", "y", "b"]
    assert run.inputs["b"] == b'"y"'
    replaced = storage.reader.find("a")
    assert replaced is not None
    assert (replaced.state, replaced.result) == (State.SUCCEEDED, b'"y"')


def test_a_message_replaced_by_a_group_gives_its_list(storage: Storage, run: Run) -> None:
    storage.enqueue(Batch(chain_of("a", "b")))
    members = [row(f"m{i}", LINKED, group_id="g", position=i) for i in range(2)]
    run(a=Replace(Batch(members, [Group("g", 2)]), awaits="g"))
    assert run.inputs["b"] == b'["m0","m1"]'


def test_a_replaced_member_still_counts_in_its_group(storage: Storage, run: Run, state: StateOf) -> None:
    storage.enqueue(chord_of(2))
    run(m0=Replace(Batch([row("x")]), awaits="x"))
    assert run.inputs["body"] == b'["x","m1"]'


def test_a_failed_replacement_fails_what_it_replaced(storage: Storage, run: Run, state: StateOf) -> None:
    storage.enqueue(Batch([*chain_of("a", "b"), row("err", ERRBACK | INPUT, awaits="a")]))
    run(a=Replace(Batch([row("x")]), awaits="x"), x=DeadLetter(ERROR))
    assert (state("a"), state("b")) == (State.UPSTREAM_FAILED, State.UPSTREAM_FAILED)
    assert run.order == ["a", "x", "err"]


REPLACED = Replace(Batch([row("x")]), awaits="x")
ANOTHER = RetryAt(0, task="another", payload=PAYLOAD, retries=0)
BEHIND_ANOTHER = replace(ANOTHER, awaits="z")


@pytest.mark.parametrize("end", [Ack(b"1"), DeadLetter(ERROR)], ids=["succeeds", "fails"])
def test_an_errback_that_replaces_itself_is_called_once(
    storage: Storage, worker: FakeWorker, state: StateOf, end: Outcome
) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT, awaits="a")]))
    for outcome in (DeadLetter(ERROR), Replace(Batch([row("x")]), awaits="x"), end):
        storage.settle([(worker.claim_one(), outcome)])
    assert worker.claim() == []
    assert state("err") is (State.SUCCEEDED if type(end) is Ack else State.UPSTREAM_FAILED)


@pytest.mark.parametrize("end", [Ack(b"1"), DeadLetter(ERROR)], ids=["succeeds", "fails"])
def test_an_errback_that_is_another_message_is_no_errback_of_what_it_awaits(
    storage: Storage, worker: FakeWorker, state: StateOf, end: Outcome
) -> None:
    storage.enqueue(Batch([row("a", LINKED), row("err", ERRBACK | INPUT, awaits="a"), row("z")]))
    for outcome in (DeadLetter(ERROR), BEHIND_ANOTHER, end):
        storage.settle([(worker.claim_one(), outcome)])
    assert [lease.id for lease in worker.claim()] == (["err"] if type(end) is Ack else [])
    assert state("err") is (State.LEASED if type(end) is Ack else State.UPSTREAM_FAILED)


@pytest.mark.parametrize("outcome", [REPLACED, ANOTHER, BEHIND_ANOTHER], ids=["replaced", "another", "behind another"])
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_canvas_of_which_a_task_is_another_now_is_the_standing_one(
    storage: Storage, worker: FakeWorker, run: Run, name: str, outcome: Outcome
) -> None:
    """`c` is sent alone, behind what is there."""
    sent = [Batch(chain_of("a", "b")), Batch([row("c", INPUT, awaits="b", parent_id="b")])]
    for batch in [Batch([row("z")]), *sent]:
        storage.enqueue(batch)
    changed = False
    while not changed:
        leases = worker.claim()
        changed = name in {lease.id for lease in leases}
        storage.settle([(lease, outcome if lease.id == name else Ack(b"1")) for lease in leases])
    assert [storage.enqueue(batch) for batch in sent] == [["a", "b"], ["c"]]
    behind = "another" if outcome is not REPLACED else "x"
    assert run() == [behind, *"abc"["abc".index(name) + 1 :]]


def test_what_is_another_now_does_not_stand_for_what_is_behind_something_else(storage: Storage, run: Run) -> None:
    storage.enqueue(Batch(chain_of("a", "b")))
    storage.enqueue(Batch([row("z")]))
    run(b=ANOTHER)
    assert storage.enqueue(Batch([row("b", INPUT, awaits="a")])) == ["b"]
    with pytest.raises(CanvasConflict, match="'b'"):
        storage.enqueue(Batch([row("b", INPUT, awaits="z")]))


@pytest.mark.parametrize("awaits", ["none", "a", "b"], ids=["what is not there", "itself", "what is behind it"])
def test_what_would_wait_for_ever_fails_and_says_so(
    storage: Storage, worker: FakeWorker, run: Run, state: StateOf, awaits: str
) -> None:
    storage.enqueue(Batch([*chain_of("a", "b"), row("err", ERRBACK, awaits="a")]))
    again = replace(ANOTHER, payload=b"[[5],{}]", awaits=awaits)
    assert storage.settle([(worker.claim_one(), again)]) == []
    found = storage.reader.find("a")
    assert found is not None
    assert (found.state, found.task, found.retries, state("b")) == (State.DEAD, "a", 0, State.UPSTREAM_FAILED)
    assert "it would wait for ever" in decode_error(found.error or b"").message
    assert [one.outcome for one in storage.attempts("a")] == ["failed"]
    assert run() == ["err"]


def test_of_two_that_would_run_behind_each_other_one_fails(
    storage: Storage, worker: FakeWorker, state: StateOf
) -> None:
    storage.enqueue(Batch([row("a"), row("b")]))
    a, b = worker.claim()
    assert storage.settle([(a, replace(ANOTHER, awaits="b")), (b, replace(ANOTHER, awaits="a"))]) == []
    assert (state("a"), state("b")) == (State.UPSTREAM_FAILED, State.DEAD)


def test_a_message_may_run_again_behind_what_replaces_another_in_the_same_settlement(
    storage: Storage, worker: FakeWorker, run: Run
) -> None:
    storage.enqueue(Batch([row("a"), row("b")]))
    a, b = worker.claim()
    assert storage.settle([(a, replace(ANOTHER, awaits="x")), (b, REPLACED)]) == []
    assert run() == ["x", "another"]
    assert run.inputs["another"] == b'"x"'


@pytest.mark.parametrize("behind", [True, False])
def test_what_cannot_be_replaced_gives_its_place_back(
    storage: Storage, worker: FakeWorker, state: StateOf, behind: bool
) -> None:
    storage.limits.set("task:a", concurrent=1)
    storage.enqueue(Batch(chain_of("a", "b")))
    circle = replace(ANOTHER, awaits="a") if behind else Replace(Batch([row("b", INPUT, awaits="a")]), awaits="b")
    assert storage.settle([(worker.claim_one(), circle)]) == []
    assert (state("a"), state("b")) == (State.DEAD, State.UPSTREAM_FAILED)
    assert storage.limits.get("task:a").running == 0


# -- replay, retention -----------------------------------------------------------------------------------------------


def test_a_replayed_dead_letter_resumes_its_workflow(storage: Storage, run: Run, state: StateOf) -> None:
    batch = chord_of(2)
    body = replace(batch.messages[-1], flags=INPUT | LINKED)
    after = row("after", INPUT, awaits="body")
    storage.enqueue(Batch([*batch.messages[:-1], body, after], batch.groups))
    run(m0=DeadLetter(ERROR), m1=DeadLetter(ERROR))
    assert state("after") is State.UPSTREAM_FAILED
    storage.dead.requeue(["m0"])
    assert (state("body"), state("after")) == (State.BLOCKED, State.BLOCKED)
    run()
    assert state("body") is State.UPSTREAM_FAILED, "m1 is still dead"
    storage.dead.requeue(["m1"])
    run()
    assert run.inputs["body"] == b'["m0","m1"]'
    assert state("after") is State.SUCCEEDED


def test_a_result_stays_as_long_as_a_later_row_may_take_it(
    storage: Storage, run: Run, state: StateOf, clock: FakeClock, worker: FakeWorker
) -> None:
    storage.enqueue(chord_of(2))
    first, _second = worker.claim(2)
    storage.settle([(first, Ack(b"1"))])
    clock.advance(seconds=1_000)
    storage.expire(result_expires_s=1, dead_expires_s=None)
    assert storage.forget(["m0"]) == 0
    assert state("m0") is State.SUCCEEDED


def test_a_finished_workflow_leaves_whole(storage: Storage, run: Run, clock: FakeClock) -> None:
    storage.enqueue(chord_of(3))
    storage.enqueue(Batch(chain_of("a", "b", "c")))
    run()
    clock.advance(seconds=1_000)
    while storage.expire(result_expires_s=1, dead_expires_s=1):
        pass
    assert storage.reader.counts() == []
    assert storage.reader.find_group("g") is None


def test_the_members_of_a_group_are_known(storage: Storage) -> None:
    storage.enqueue(chord_of(2))
    assert [(m.position, m.kind, m.id) for m in storage.reader.group_members("g")] == [
        (0, "task", "m0"),
        (1, "task", "m1"),
    ]
