"""The acts of an operator: each decides in its transaction, with its row of the audit, on one message and on many."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest

from liteq.exceptions import MessageNotFound, NotEligible
from liteq.message import Ack, Batch, DeadLetter, Flag, Message, RetryAt, new_id
from liteq.states import LEGAL, State
from liteq.storage.driver import Params
from liteq.storage.facades.operators.operations import Chunk, Did
from liteq.storage.operating import acting
from liteq.storage.operating.audit import Actor
from liteq.storage.operating.operations import Operation, Wanted
from liteq.storage.rows.results import Ending
from liteq.storage.sending.periodic import Entry
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, FakeWorker, Send, StateOf, chain_of

ANN = Actor("ann", "page", "they paid")


@pytest.fixture
def dead(storage: Storage, send: Send, worker: FakeWorker) -> Callable[..., str]:
    """A dead letter; keyword arguments are those of Message. Its id."""

    def dead(**fields: object) -> str:
        id_ = send(**fields)
        (lease,) = storage.claim([str(fields.get("queue", "celery"))], worker=worker.number, limit=1, visibility_s=60)
        storage.settle([(lease, DeadLetter(ERROR))])
        return id_

    return dead


def act(storage: Storage, action: str, id_: str, queues: list[str] | None = None, **arguments: Any) -> Any:
    return storage.operations.act(action, id_, by=ANN, queues=queues, arguments=arguments)


def notes(storage: Storage) -> list[tuple[Any, ...]]:
    return [(one.actor, one.action, one.target, one.queue, one.n) for one in reversed(storage.audit.page())]


# -- one message -------------------------------------------------------------------------------------------------------


def test_a_scheduled_message_is_made_due_now(
    storage: Storage, send: Send, clock: FakeClock, worker: FakeWorker
) -> None:
    id_ = send(due_ms=clock.now_ms() + 60_000, delay_ms=60_000)
    act(storage, "retry", id_)
    assert [lease.id for lease in worker.claim()] == [id_]
    assert notes(storage) == [("ann", "retry", id_, "celery", 1)]


def test_a_dead_letter_is_requeued_and_its_followers_wait_again(
    storage: Storage, worker: FakeWorker, state: StateOf
) -> None:
    storage.enqueue(Batch(chain_of("a", "b")))
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    assert state("b") is State.UPSTREAM_FAILED
    act(storage, "requeue", "a")
    assert (state("a"), state("b")) == (State.PENDING, State.BLOCKED)


def test_a_waiting_message_is_revoked(storage: Storage, send: Send, state: StateOf) -> None:
    id_ = send()
    act(storage, "revoke", id_)
    assert state(id_) is State.CANCELLED


def test_a_running_message_is_told_to_end_by_its_worker(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    worker.claim_one()
    act(storage, "terminate", id_)
    (command,) = storage.commands.after(0)
    assert command.name == "revoke"
    assert orjson.loads(command.arguments) == {"task_id": [id_], "terminate": True, "signal": "SIGTERM"}
    assert storage.commands.revoked_ids() == [id_]


def test_a_message_is_moved_to_another_queue_and_priority(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    act(storage, "move", id_, queue="mail", priority=7)
    (lease,) = worker.claim(queue="mail")
    assert (lease.id, lease.priority) == (id_, 7)
    assert worker.claim() == []


def test_a_message_gets_another_time(
    storage: Storage, send: Send, clock: FakeClock, worker: FakeWorker, state: StateOf
) -> None:
    id_ = send()
    act(storage, "run-at", id_, at_ms=clock.now_ms() + 5_000)
    assert state(id_) is State.SCHEDULED
    assert worker.claim() == []
    clock.advance(seconds=6)
    assert [lease.id for lease in worker.claim()] == [id_]


@pytest.mark.parametrize("ends", [DeadLetter(ERROR), Ack(b"1")])
def test_a_finished_message_is_deleted(
    storage: Storage, send: Send, worker: FakeWorker, state: StateOf, ends: Ack | DeadLetter
) -> None:
    id_ = send()
    storage.settle([(worker.claim_one(), ends)])
    act(storage, "delete", id_)
    assert state(id_) is None
    assert notes(storage) == [("ann", "delete", id_, "celery", 1)]


def test_a_result_that_something_waits_for_is_not_deleted(storage: Storage, worker: FakeWorker, state: StateOf) -> None:
    storage.enqueue(Batch(chain_of("a", "b")))
    storage.settle([(worker.claim_one(), Ack(b"1"))])
    with pytest.raises(NotEligible, match="may still ask"):
        act(storage, "delete", "a")
    assert state("a") is State.SUCCEEDED


@pytest.mark.parametrize("action", sorted(acting.STATES))
def test_what_is_offered_is_what_the_table_of_states_allows(action: str) -> None:
    becomes = {
        "retry": State.PENDING, "revoke": State.CANCELLED, "terminate": State.CANCELLED, "requeue": State.PENDING,
        "cancel": State.CANCELLED,
    }  # fmt: skip
    for state in acting.STATES[action]:
        assert action not in becomes or becomes[action] in LEGAL[state]


def test_what_a_state_forbids_is_refused_with_its_name_and_noted_nowhere(
    storage: Storage, send: Send, state: StateOf
) -> None:
    id_ = send()
    with pytest.raises(NotEligible, match="pending") as refused:
        act(storage, "requeue", id_)
    assert refused.value.state == "pending"
    assert state(id_) is State.PENDING
    assert storage.audit.page() == []


def test_an_end_that_was_stored_is_no_letter_that_could_run(storage: Storage, state: StateOf) -> None:
    storage.store_result("a", Ending(State.DEAD, error=ERROR))
    assert storage.dead.requeue(["a"]) == []
    with pytest.raises(NotEligible, match="its end was stored"):
        storage.operations.act("requeue", "a", by=ANN)
    assert state("a") is State.DEAD
    assert storage.dead.drop(["a"]) == 1


def test_a_dead_letter_whose_key_is_taken_stays(storage: Storage, dead: Callable[..., str], send: Send) -> None:
    id_ = dead(unique_key="k")
    send(unique_key="k")
    with pytest.raises(NotEligible, match="unique key"):
        act(storage, "requeue", id_)


def test_a_run_is_asked_for_what_only_runs_can_do(storage: Storage, send: Send) -> None:
    with pytest.raises(NotEligible, match="no run of a workflow"):
        act(storage, "resume", send())


def test_what_lies_outside_the_actors_queues_is_not_there(storage: Storage, send: Send, state: StateOf) -> None:
    id_ = send(queue="secret")
    with pytest.raises(MessageNotFound):
        act(storage, "revoke", id_, ["mail*"])
    assert state(id_) is State.PENDING
    mine = send(queue="mail")
    with pytest.raises(NotEligible, match="secret"):
        act(storage, "move", mine, ["mail*"], queue="secret")


def test_the_second_of_two_equal_requests_does_nothing(
    storage: Storage, dead: Callable[..., str], worker: FakeWorker
) -> None:
    id_ = dead()
    record = storage.reader.find(id_)
    version = acting.version(record)
    assert storage.operations.act("requeue", id_, by=ANN, version=version) is not None
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    assert storage.operations.act("requeue", id_, by=ANN, version=version) is None
    assert len(storage.audit.page()) == 1
    with pytest.raises(NotEligible, match="changed since"):
        storage.operations.act("delete", id_, by=ANN, version=version)


def test_an_edited_message_is_sent_once_and_the_old_one_stays(
    storage: Storage, dead: Callable[..., str], state: StateOf
) -> None:
    id_ = dead()
    copy = Message(new_id(), "t", b"[[2],{}]", parent_id=id_)
    assert storage.operations.send_again(id_, copy, by=ANN)
    assert not storage.operations.send_again(id_, copy, by=ANN)
    assert (state(id_), state(copy.id)) == (State.DEAD, State.PENDING)
    assert notes(storage) == [("ann", "resend", id_, "celery", 1)]


class Refused(Exception):
    """Raised in the place of a write."""


@pytest.fixture
def refuse(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let each write to a table fail."""

    def refuse(table: str) -> None:
        write = storage.driver.write

        class Failing:
            def __init__(self, tx: Any) -> None:
                self._tx = tx

            def __getattr__(self, name: str) -> Any:
                return getattr(self._tx, name)

            def executemany(self, sql: str, rows: Iterable[Params]) -> int:
                if table in sql and "SELECT" not in sql[:10]:
                    raise Refused(table)
                return int(self._tx.executemany(sql, rows))

        class Block:
            def __init__(self, *args: Any) -> None:
                self._block = write(*args)

            def __enter__(self) -> Failing:
                return Failing(self._block.__enter__())

            def __exit__(self, *error: object) -> Any:
                return self._block.__exit__(*error)

        monkeypatch.setattr(storage.driver, "write", Block)

    return refuse


def test_nothing_is_done_that_the_audit_does_not_know(
    storage: Storage, send: Send, state: StateOf, refuse: Callable[[str], None]
) -> None:
    id_ = send()
    refuse("liteq_audit")
    with pytest.raises(Refused):
        act(storage, "revoke", id_)
    assert state(id_) is State.PENDING


# -- many --------------------------------------------------------------------------------------------------------------


def create(storage: Storage, id_: str = "op", **fields: Any) -> Operation:
    wanted = Wanted(id_, "requeue", "state:dead", b'{"take":{}}', None, "ann", "they paid", "page", 3)._replace(
        **fields
    )
    assert storage.operations.create(wanted)
    operation = storage.operations.find(id_)
    assert operation is not None
    return operation


def step(storage: Storage, operation: Operation, owner: str, ids: list[str], after: str = "m") -> Did | None:
    fence = orjson.loads(operation.cursor)["fence"]
    cursor = orjson.dumps({"fence": fence, "after": after})
    queues = None if operation.queues is None else orjson.loads(operation.queues)
    return storage.operations.step(operation.id, owner, Chunk("requeue", ids, {}, cursor, None, (), fence, queues, ANN))


def now(storage: Storage, id_: str = "op") -> Operation:
    found = storage.operations.find(id_)
    assert found is not None
    return found


def test_a_chunk_moves_the_cursor_counts_and_is_noted(
    storage: Storage, dead: Callable[..., str], state: StateOf
) -> None:
    ids = [dead(), dead(queue="mail")]
    operation = create(storage)
    assert storage.operations.take(operation, "me")
    did = step(storage, operation, "me", [*ids, "gone"])
    assert did is not None
    assert (did.n, did.became) == (3, {"done": 2, "it is gone": 1})  # of ids, whatever the queues of the last were
    after = now(storage)
    assert (after.done, after.skipped, orjson.loads(after.cursor)["after"]) == (2, 1, "m")
    assert [state(id_) for id_ in ids] == [State.PENDING, State.PENDING]
    assert sorted(notes(storage)[1:]) == [("ann", "requeue", "op", "celery", 1), ("ann", "requeue", "op", "mail", 1)]


def test_the_chunks_of_an_operation_are_one_row_of_the_audit(storage: Storage, dead: Callable[..., str]) -> None:
    ids = [dead(), dead()]
    operation = create(storage)
    storage.operations.take(operation, "me")
    for id_ in ids:
        step(storage, operation, "me", [id_])
    assert notes(storage)[1:] == [("ann", "requeue", "op", "celery", 2)]


@pytest.mark.parametrize("table", ["liteq_operations", "liteq_audit"])
def test_a_chunk_whose_cursor_or_audit_is_not_written_has_done_nothing(
    storage: Storage, dead: Callable[..., str], state: StateOf, refuse: Callable[[str], None], table: str
) -> None:
    id_ = dead()
    operation = create(storage)
    storage.operations.take(operation, "me")
    refuse(table)
    with pytest.raises(Refused):
        step(storage, operation, "me", [id_])
    assert state(id_) is State.DEAD


def test_a_chunk_that_takes_long_ends_early_and_says_where(
    storage: Storage, dead: Callable[..., str], clock: FakeClock, state: StateOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [dead() for _ in range(5)]
    operation = create(storage)
    storage.operations.take(operation, "me")
    act = acting.act

    def slow(*args: Any, **options: Any) -> None:
        act(*args, **options)
        clock.advance(seconds=0.02)

    monkeypatch.setattr(acting, "act", slow)
    did = step(storage, operation, "me", ids)
    assert did is not None
    assert (did.n, did.became) == (2, {"done": 2})
    assert orjson.loads(now(storage).cursor)["handled"] == ids[:2]
    assert [state(id_) for id_ in ids] == [State.PENDING] * 2 + [State.DEAD] * 3


def test_an_owner_that_was_taken_for_dead_acts_no_more(
    storage: Storage, dead: Callable[..., str], state: StateOf
) -> None:
    id_ = dead()
    operation = create(storage)
    storage.operations.take(operation, "late")
    assert storage.operations.take(now(storage), "new")
    assert step(storage, operation, "late", [id_]) is None
    assert state(id_) is State.DEAD
    storage.operations.finish("op", "late")
    assert now(storage).state == "running"


def test_of_two_that_continue_it_one_does(storage: Storage) -> None:
    operation = create(storage)
    assert storage.operations.take(operation, "one")
    assert not storage.operations.take(operation, "two")
    assert now(storage).owner == "one"


def test_an_operation_stops_after_its_chunk_and_is_continued_at_its_cursor(
    storage: Storage, dead: Callable[..., str], state: StateOf
) -> None:
    first, second = dead(), dead()
    operation = create(storage)
    storage.operations.take(operation, "me")
    step(storage, operation, "me", [first], after="first")
    assert storage.operations.stop("op", by=ANN)
    assert step(storage, operation, "me", [second]) is None
    stopped = now(storage)
    assert (stopped.state, stopped.owner, state(second)) == ("stopped", None, State.DEAD)
    assert storage.operations.take(stopped, "other", by=ANN)
    assert orjson.loads(now(storage).cursor)["after"] == "first"
    assert not storage.operations.stop("no such", by=ANN)


def test_a_message_that_failed_once_more_is_not_requeued_twice(
    storage: Storage, dead: Callable[..., str], worker: FakeWorker, state: StateOf
) -> None:
    id_ = dead()
    operation = create(storage)
    storage.operations.take(operation, "me")
    step(storage, operation, "me", [id_])
    storage.settle([(worker.claim_one(), DeadLetter(ERROR))])
    did = step(storage, operation, "me", [id_])
    assert did is not None
    assert did.became == {"it has run since the operation began": 1}
    assert state(id_) is State.DEAD


def test_a_retried_message_that_waits_once_more_is_not_made_due_twice(
    storage: Storage, send: Send, clock: FakeClock, worker: FakeWorker, state: StateOf
) -> None:
    id_ = send(due_ms=clock.now_ms() + 60_000)
    operation = create(storage, kind="retry")
    storage.operations.take(operation, "me")
    fence = orjson.loads(operation.cursor)["fence"]
    chunk = Chunk("retry", [id_], {}, operation.cursor, None, (), fence, None, ANN)
    storage.operations.step("op", "me", chunk)
    storage.settle([(worker.claim_one(), RetryAt(clock.now_ms() + 60_000, ERROR))])
    did = storage.operations.step("op", "me", chunk)
    assert did is not None
    assert did.became["done"] == 0
    assert state(id_) is State.SCHEDULED


def test_an_operation_acts_within_its_actors_queues_alone(
    storage: Storage, dead: Callable[..., str], state: StateOf
) -> None:
    mine, other = dead(queue="mail"), dead(queue="secret")
    operation = create(storage, queues=b'["mail*"]')
    storage.operations.take(operation, "me")
    did = step(storage, operation, "me", [mine, other])
    assert did is not None
    assert did.became == {"done": 1, "it is gone": 1}
    assert (state(mine), state(other)) == (State.PENDING, State.DEAD)


def test_an_operation_of_the_same_id_is_there_once(storage: Storage) -> None:
    create(storage)
    wanted = Wanted("op", "delete", "", b"{}", None, "eve", "", "page", 0)
    assert not storage.operations.create(wanted)
    assert now(storage).kind == "requeue"
    assert len(storage.audit.page()) == 1


def test_a_failed_operation_can_be_continued_and_one_that_is_done_cannot(storage: Storage) -> None:
    storage.operations.take(create(storage), "me")
    storage.operations.finish("op", "me", error="OSError: disk")
    failed = now(storage)
    assert (failed.state, failed.error, failed.finished_ms) == ("failed", "OSError: disk", None)
    assert storage.operations.take(failed, "me")
    storage.operations.finish("op", "me")
    done = now(storage)
    assert (done.state, done.finished_ms) == ("done", storage.clock.now_ms())
    assert not storage.operations.take(done, "me")


def test_what_follows_messages_is_counted_along_their_edges(storage: Storage, send: Send) -> None:
    storage.enqueue(Batch(chain_of("a", "b", "c")))
    assert storage.operations.behind(["a"], limit=10) == 2
    assert storage.operations.behind(["a"], limit=1) == 1
    assert storage.operations.behind([send()], limit=10) == 0


def test_a_look_says_what_is_not_eligible_and_why(storage: Storage, dead: Callable[..., str], send: Send) -> None:
    looked = storage.operations.look("requeue", [dead(), send(), "gone"])
    assert [why for _, why in looked] == ["", "it is pending"]


# -- limits ------------------------------------------------------------------------------------------------------------


def test_an_act_on_a_limit_is_noted_where_it_changes_something(storage: Storage) -> None:
    limits = storage.limits
    limits.set("queue:mail", "5/m", by=ANN)
    limits.set("user:*", concurrent=2)
    limits.pause("user:*", 60, by=ANN)
    assert limits.resume("user:*", by=ANN)
    assert not limits.resume("user:*", by=ANN)
    assert limits.delete("queue:mail", by=ANN)
    assert not limits.delete("queue:mail", by=ANN)
    assert notes(storage) == [
        ("ann", "limit set", "queue:mail", "mail", 1), ("ann", "limit pause", "user:*", None, 1),
        ("ann", "limit resume", "user:*", None, 1), ("ann", "limit delete", "queue:mail", "mail", 1),
    ]  # fmt: skip


def test_no_limit_is_changed_that_the_audit_does_not_know(storage: Storage, refuse: Callable[[str], None]) -> None:
    storage.limits.set("api", "5/m")
    storage.limits.pause("api", 60)
    before = storage.limits.list()
    refuse("liteq_audit")
    for act_ in (
        lambda: storage.limits.set("api", "9/m", by=ANN), lambda: storage.limits.pause("api", 600, by=ANN),
        lambda: storage.limits.resume("api", by=ANN), lambda: storage.limits.delete("api", by=ANN),
    ):  # fmt: skip
        with pytest.raises(Refused):
            act_()
    assert storage.limits.list() == before


# -- schedules ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def entry(storage: Storage) -> str:
    storage.schedules.put([Entry("often", "s", b"{}", b"{}", 5)])
    return "often"


def test_an_entry_may_be_paused_from_the_first(storage: Storage) -> None:
    entry = Entry("often", "s", b"{}", b"{}", 5, enabled=False)
    for written in (entry, entry._replace(source="t", enabled=True)):  # a pause outlives a change
        storage.schedules.put([written])
        assert storage.schedules.due()[0] == []
    storage.schedules.enable("often", enabled=True, next_due_ms=5)
    assert storage.schedules.put([entry._replace(source="t")]) == 1
    assert storage.schedules.due()[0] == []


def run_now(storage: Storage, name: str, id_: str) -> bool:
    return storage.schedules.run_now(name, Batch([Message(id_, "t", b"[[],{}]")]), last_id=id_, by=ANN, queue="mail")


def test_an_act_on_a_schedule_is_noted_where_there_is_one(storage: Storage, entry: str) -> None:
    for name in (entry, "none"):
        storage.schedules.enable(name, enabled=False, next_due_ms=5, by=ANN, queue="mail")
        storage.schedules.enable(name, enabled=True, next_due_ms=5, by=ANN)
        run_now(storage, name, f"run of {name}")
    storage.schedules.enable(entry, enabled=False, next_due_ms=5)
    assert notes(storage) == [
        ("ann", "schedule pause", "often", "mail", 1), ("ann", "schedule resume", "often", None, 1),
        ("ann", "schedule run", "often", "mail", 1),
    ]  # fmt: skip


def test_nothing_becomes_of_a_schedule_that_the_audit_does_not_know(
    storage: Storage, entry: str, state: StateOf, refuse: Callable[[str], None]
) -> None:
    refuse("liteq_audit")
    with pytest.raises(Refused):
        storage.schedules.enable(entry, enabled=False, next_due_ms=5, by=ANN)
    with pytest.raises(Refused):
        run_now(storage, entry, "run")
    found = storage.schedules.find(entry)
    assert found is not None
    assert found.enabled
    assert state("run") is None


# -- the audit, marks --------------------------------------------------------------------------------------------------


def test_the_audit_is_read_newest_first_a_page_at_a_time(storage: Storage) -> None:
    for n in range(3):
        storage.audit.note(ANN, "pause", f"q{n}", queue=f"q{n}")
    first = storage.audit.page(limit=2)
    assert [one.target for one in first] == ["q2", "q1"]
    assert [one.target for one in storage.audit.page(after=first[-1].id)] == ["q0"]
    assert [one.reason for one in storage.audit.of_target("q1")] == ["they paid"]


def test_old_acts_marks_and_operations_leave_in_chunks(storage: Storage, clock: FakeClock) -> None:
    for _ in range(3):
        storage.audit.note(ANN, "pause", "q")
    storage.audit.mark("v1")
    storage.operations.take(create(storage), "me")
    storage.operations.finish("op", "me")
    clock.advance(seconds=100)
    storage.audit.note(ANN, "resume", "q")
    before_ms = clock.now_ms() - 50_000
    assert storage.audit.expire(before_ms, limit=2) == 4
    assert storage.audit.expire(before_ms) == 2
    assert [one.action for one in storage.audit.page()] == ["resume"]
    assert storage.audit.marks(0, clock.now_ms()) == []
    assert storage.operations.find("op") is None


def test_an_operation_that_can_be_continued_does_not_leave(storage: Storage, clock: FakeClock) -> None:
    create(storage)
    clock.advance(seconds=100)
    storage.audit.expire(clock.now_ms())
    assert storage.operations.find("op") is not None


def test_marks_are_read_by_their_time(storage: Storage, clock: FakeClock) -> None:
    start = clock.now_ms()
    for label in ("v1", "v2"):
        storage.audit.mark(label)
        clock.advance(seconds=1)
    assert [one.label for one in storage.audit.marks(start, clock.now_ms())] == ["v1", "v2"]
    assert [one.label for one in storage.audit.marks(start + 1, clock.now_ms())] == ["v2"]
    assert [one.label for one in storage.audit.marks(start, clock.now_ms(), limit=1)] == ["v2"]


def test_a_purge_notes_how_many_it_deleted(storage: Storage, send: Send) -> None:
    for _ in range(3):
        send(queue="mail")
    assert storage.operations.purge(["mail"], by=ANN) == 3
    assert notes(storage) == [("ann", "purge", "mail", "mail", 3)]


def test_a_held_message_is_let_go(storage: Storage, send: Send, state: StateOf) -> None:
    id_ = send()
    with storage.driver.write() as tx:
        tx.execute("UPDATE liteq_messages SET state = 'held' WHERE id = ?", (id_,))
    act(storage, "retry", id_)
    assert state(id_) is State.PENDING


def test_a_run_that_has_begun_is_not_woken(storage: Storage, send: Send, clock: FakeClock) -> None:
    id_ = send(due_ms=clock.now_ms() + 60_000, flags=Flag.RUN | Flag.HISTORY)
    with pytest.raises(NotEligible, match="woken by what it waits for"):
        act(storage, "retry", id_)
