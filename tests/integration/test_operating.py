"""Acts of an operator, by the functions that pages, the command line and programs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from liteq import LiteQ
from liteq.exceptions import MessageNotFound, NotEligible, StorageBusy
from liteq.message import Ack, DeadLetter, WorkerIdentity, new_id
from liteq.monitor import activity, operations
from liteq.monitor.access.sight import Sight
from liteq.monitor.tasks.search import BadSearch
from liteq.operating import Actor, act, bulk, offered, preview, resume_operation, runner, start, stop
from liteq.serialization import decode, encode_error
from liteq.states import State
from liteq.testing import drain

from .runs import Worker

ANN = Actor("ann", "page", "they paid")
MAIL = Sight(("mail*",))
ERROR = encode_error(ValueError("declined"))


@pytest.fixture
def tasks(app: LiteQ) -> LiteQ:
    """The tasks of these tests."""

    @app.task(name="pay")
    def pay(amount: int, card: str = "") -> int:
        return amount

    @app.task(name="login", sensitive=["password"])
    def login(name: str, password: str) -> str:
        return f"{name} {password}"

    return app


def kill(app: LiteQ, n: int = 1, queue: str = "celery") -> list[str]:
    """Send `n` tasks and let them fail for good; their ids."""
    sent = [app.send_task("pay", (k,), queue=queue).id for k in range(n)]
    fail(app, queue)
    return sent


def fail(app: LiteQ, queue: str = "celery") -> None:
    """Let what waits in a queue fail for good."""
    number = app.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    while leases := app.storage.claim([queue], worker=number, limit=1_000, visibility_s=60):
        app.storage.settle([(lease, DeadLetter(ERROR)) for lease in leases])


def state(app: LiteQ, id_: str) -> State:
    record = app.storage.reader.find(id_)
    assert record is not None
    return record.state


# -- one message -------------------------------------------------------------------------------------------------------


def test_an_act_says_what_it_did_and_how_to_do_it_in_a_shell(tasks: LiteQ) -> None:
    (id_,) = kill(tasks)
    done = act(tasks, "requeue", id_, by=ANN)
    assert done.message == f"pay {id_} was put back in its queue."
    assert done.command.endswith(f"act requeue {id_} --reason 'they paid'")
    assert state(tasks, id_) is State.PENDING
    (noted,) = activity.activity(tasks)["items"]
    assert (noted["actor"], noted["action"], noted["target"]) == ("ann", "requeue", id_)
    assert (noted["reason"], noted["source"], noted["queue"]) == ("they paid", "page", "celery")


@pytest.mark.parametrize(
    ("action", "arguments", "says"),
    [
        ("reqeue", {}, "did you mean 'requeue'"),
        ("move", {}, "takes a queue or a priority"),
        ("move", {"at": 1}, "does not take at"),
        ("move", {"priority": "high"}, "whole number"),
        ("run-at", {"at": "tomorrow"}, "is no time"),
        ("rewind", {}, "takes a step"),
    ],
)
def test_a_wrong_act_says_what_is_right(tasks: LiteQ, action: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        act(tasks, action, "x", by=ANN, **arguments)


def test_what_a_viewer_does_not_see_is_not_there(tasks: LiteQ) -> None:
    id_ = tasks.send_task("pay", (1,), queue="secret").id
    for action in ("revoke", "resend"):
        with pytest.raises(MessageNotFound):
            act(tasks, action, id_, by=ANN, see=MAIL)
    assert state(tasks, id_) is State.PENDING


def test_the_actions_offered_follow_the_state(tasks: LiteQ) -> None:
    (dead,) = kill(tasks)
    waits = tasks.send_task("pay", (1,)).id
    record = tasks.storage.reader.find
    assert offered(record(dead)) == ["requeue", "delete", "resend"]
    assert offered(record(waits)) == ["revoke", "move", "run-at", "resend"]


# -- edit and send -----------------------------------------------------------------------------------------------------


def test_an_edited_message_is_a_new_one_that_says_where_it_came_from(tasks: LiteQ) -> None:
    (id_,) = kill(tasks)
    done = act(tasks, "resend", id_, by=ANN, args=[129], new_id="new")
    copy = tasks.storage.reader.find(done.id)
    assert (copy.id, copy.parent_id, copy.queue, decode(copy.payload)) == ("new", id_, "celery", [[129], {}])
    note = orjson.loads(copy.options)["headers"]["liteq-note"]
    assert note == f"made from {id_} by ann: they paid"
    assert state(tasks, id_) is State.DEAD
    assert drain(tasks) == 1
    assert tasks.AsyncResult("new").get(timeout=1) == 129


def test_a_second_post_of_the_form_sends_nothing(tasks: LiteQ) -> None:
    (id_,) = kill(tasks)
    assert not act(tasks, "resend", id_, by=ANN, new_id="new").again
    assert act(tasks, "resend", id_, by=ANN, new_id="new").again
    assert drain(tasks) == 1


def test_arguments_that_the_task_does_not_take_are_refused(tasks: LiteQ) -> None:
    (id_,) = kill(tasks)
    with pytest.raises(ValueError, match="missing a required argument"):
        act(tasks, "resend", id_, by=ANN, args=[], kwargs={"amout": 1})
    with pytest.raises(ValueError, match="JSON array"):
        act(tasks, "resend", id_, by=ANN, args="1")


def test_an_argument_that_was_hidden_stays_what_it_was(tasks: LiteQ) -> None:
    tasks.send_task("login", ("ann", "hunter2"), task_id="old")
    done = act(tasks, "resend", "old", by=ANN, args=["bob", "***"])
    record = tasks.storage.reader.find(done.id)
    assert decode(record.payload) == [["bob", "hunter2"], {}]
    with pytest.raises(ValueError, match="write the value itself"):
        act(tasks, "resend", "old", by=ANN, args=["***", "***"])


def test_a_link_of_a_chain_is_sent_again_with_the_result_that_it_took(tasks: LiteQ) -> None:
    from liteq.canvas import chain

    pay = tasks.tasks["pay"]
    last = chain(pay.si(7), pay.s(card="4111"))()
    number = tasks.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    (lease,) = tasks.storage.claim(["celery"], worker=number, limit=1, visibility_s=60)
    tasks.storage.settle([(lease, Ack(b"7"))])
    fail(tasks)
    assert state(tasks, last.id) is State.DEAD
    done = act(tasks, "resend", last.id, by=ANN)
    assert decode(tasks.storage.reader.find(done.id).payload) == [[7], {"card": "4111"}]
    edited = act(tasks, "resend", last.id, by=ANN, args=[8])
    assert decode(tasks.storage.reader.find(edited.id).payload) == [[8], {"card": "4111"}]


def test_a_file_that_is_busy_is_asked_again(
    tasks: LiteQ, begun: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(tasks, 3)
    id_ = begun("requeue", "state:dead")
    asked: list[int] = []
    page_of = runner.page_of

    def busy(*args: Any, **options: Any) -> Any:
        asked.append(1)
        if len(asked) < 3:
            raise StorageBusy(1.0, "PID 7")
        return page_of(*args, **options)

    monkeypatch.setattr(runner, "page_of", busy)
    take(tasks, id_).run()
    assert operations.operation(tasks, id_)["done"] == 3


# -- many --------------------------------------------------------------------------------------------------------------


def test_a_preview_tells_how_many_and_why_not(tasks: LiteQ) -> None:
    ids = kill(tasks, 7) + kill(tasks, 2, "mail")
    waits = tasks.send_task("pay", (1,)).id
    seen = preview(tasks, "requeue", "task:pay")
    assert (seen.found, seen.exact, seen.eligible, seen.ineligible) == (9, True, 9, {})
    assert len(seen.sample) == 5
    assert seen.command.endswith("operations start requeue --where task:pay")
    assert preview(tasks, "requeue", "queue:mail").found == 2
    assert preview(tasks, "requeue", "task:pay", see=MAIL).found == 2
    some = preview(tasks, "requeue", ids=[*ids[:3], waits, "gone", *ids[:3]])
    assert (some.found, some.eligible, some.ineligible) == (4, 3, {"it is pending": 1})
    assert all(state(tasks, id_) is State.DEAD for id_ in ids)


def test_a_preview_tells_what_follows(tasks: LiteQ) -> None:
    from liteq.canvas import chain

    pay = tasks.tasks["pay"]
    chain(pay.si(1), pay.si(2), pay.si(3))()
    seen = preview(tasks, "revoke", "state:pending")
    assert (seen.found, seen.follows, seen.follows_exact) == (1, 2, True)


def test_an_operation_does_all_that_its_search_finds(tasks: LiteQ) -> None:
    ids, others = kill(tasks, 7), kill(tasks, 2, "mail")
    id_ = start(tasks, "requeue", "queue:celery", by=ANN, wait=True)
    told = operations.operation(tasks, id_)
    assert (told["state"], told["done"], told["skipped"], told["found"]["n"]) == ("done", 7, 0, 7)
    assert {state(tasks, one) for one in ids} == {State.PENDING}
    assert {state(tasks, one) for one in others} == {State.DEAD}
    noted = activity.activity(tasks)["items"]
    assert [(one["action"], one["target"], one["n"]) for one in noted] == [
        ("requeue", id_, 7), ("start requeue", id_, 7),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "q", "arguments"),
    [
        ("move", "state:pending queue:a", {"queue": "z"}),
        ("move", "state:pending", {"queue": "z"}),
        ("move", "state:pending queue:a", {"priority": 0}),
        ("move", "", {"queue": "z", "priority": 0}),
        ("run-at", "state:scheduled", {"at": "2100-01-01T00:00:00+00:00"}),
    ],
)
def test_what_an_operation_has_put_behind_its_mark_is_not_counted_once_more(
    tasks: LiteQ, action: str, q: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteq.operating.runner.MOST", 20)  # a page takes a few: what was moved comes in a later one
    later = {"countdown": 3_600} if action == "run-at" else {}
    ids = [tasks.send_task("pay", (n,), queue="a", priority=5, **later).id for n in range(30)]
    tasks.send_task("pay", (1,), queue="z", priority=0, **later)
    seen = preview(tasks, action, q or "task:pay", **arguments)
    id_ = start(tasks, action, q or "task:pay", by=ANN, wait=True, **arguments)
    operation = tasks.storage.operations.find(id_)
    assert operation is not None
    all_ = 31 if action == "run-at" else 30
    assert (operation.state, operation.done, operation.skipped) == ("done", all_, 0)
    assert (seen.found, operation.found) == (all_, all_)
    rows = tasks.storage.reader.find_many(ids).values()
    assert {row.queue for row in rows} == {arguments.get("queue", "a")}
    assert {row.priority for row in rows} == {arguments.get("priority", 5)}


def test_an_operation_is_started_once_by_its_id(tasks: LiteQ) -> None:
    kill(tasks, 3)
    start(tasks, "requeue", "state:dead", by=ANN, id="nonce", wait=True)
    fail(tasks)
    start(tasks, "requeue", "state:dead", by=ANN, id="nonce", wait=True)
    assert operations.operation(tasks, "nonce")["done"] == 3
    assert len(operations.operations(tasks)["items"]) == 1


@pytest.mark.parametrize(
    ("q", "options", "says"),
    [
        ("", {}, "say which messages"),
        ("stat:dead", {}, "nearest is state"),
        ("status:stcuk", {}, "unknown status"),
        ("status:stuck status:paused", {}, "status: stands there twice"),
        ("state:dead", {"rate": "fast"}, "is no rate"),
        ("state:dead", {"queue": "x"}, "does not take queue"),
    ],
)
def test_a_wrong_operation_is_not_started(tasks: LiteQ, q: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        start(tasks, "requeue", q, by=ANN, **options)
    assert operations.operations(tasks)["items"] == []


def test_a_search_that_cannot_be_read_is_a_bad_search(tasks: LiteQ) -> None:
    with pytest.raises(BadSearch):
        preview(tasks, "requeue", "stat:dead")


def take(app: LiteQ, id_: str, owner: str = "me") -> Any:
    """An operation as its runner has it before the first chunk."""
    found = app.storage.operations.find(id_)
    assert app.storage.operations.take(found, owner)
    return runner._Runner(app, app.storage.operations.find(id_), owner, lambda _s: None)


@pytest.fixture
def begun(tasks: LiteQ, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Make an operation, and leave it before its first chunk; its id."""

    def begun(action: str, q: str, **options: Any) -> str:
        with monkeypatch.context() as patched:
            patched.setattr(bulk, "_take", lambda *_args, **_options: True)
            return start(tasks, action, q, by=ANN, **options)

    return begun


def test_an_operation_whose_process_died_is_continued_at_its_cursor(
    tasks: LiteQ, begun: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = kill(tasks, 30)
    id_ = begun("requeue", "state:dead")

    class Died(BaseException):
        pass

    dying = take(tasks, id_, "me")
    dying._size, rests = 10, []

    def die(did: Any) -> bool:
        rests.append(did.n)
        if len(rests) == 2:
            raise Died
        return True

    dying._rest = die
    with pytest.raises(Died):
        dying.run()
    assert operations.operation(tasks, id_)["done"] == 20
    with pytest.raises(NotEligible, match="running"):  # another process of this time would see it beat
        resume_operation(tasks, id_, by=ANN)
    tasks.clock.advance(seconds=60)
    assert operations.operation(tasks, id_)["state"] == "interrupted"
    fail(tasks)  # those that were requeued fail once more: they are not requeued twice
    resume_operation(tasks, id_, by=ANN, wait=True)
    told = operations.operation(tasks, id_)
    assert (told["state"], told["done"], told["skipped"]) == ("done", 30, 0)
    assert sorted(state(tasks, one) for one in ids) == [State.DEAD] * 20 + [State.PENDING] * 10


def test_a_page_that_takes_several_chunks_is_done_once(
    tasks: LiteQ, begun: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from liteq.storage.facades.operators import operations as facade

    class Died(BaseException):
        pass

    def die(_s: float) -> None:
        raise Died

    monkeypatch.setattr(facade, "PATIENCE_S", -1.0)  # each chunk ends after its first message
    kill(tasks, 3)
    id_ = begun("requeue", "state:dead")
    dying = take(tasks, id_)
    dying._sleep = die
    with pytest.raises(Died):
        dying.run()
    assert operations.operation(tasks, id_)["done"] == 1
    fail(tasks)
    tasks.clock.advance(seconds=60)
    resume_operation(tasks, id_, by=ANN, wait=True)
    told = operations.operation(tasks, id_)
    assert (told["state"], told["done"], told["skipped"]) == ("done", 3, 0)


def test_an_operation_whose_process_died_at_the_very_end_is_only_ended(
    tasks: LiteQ, begun: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(tasks, 3)
    id_ = begun("requeue", "state:dead")
    last = take(tasks, id_)
    with monkeypatch.context() as patched:
        patched.setattr(tasks.storage.operations, "finish", lambda *_args: None)
        last.run()
    fail(tasks)
    tasks.clock.advance(seconds=60)
    resume_operation(tasks, id_, by=ANN, wait=True)
    told = operations.operation(tasks, id_)
    assert (told["state"], told["done"], told["skipped"]) == ("done", 3, 0)


def test_a_stopped_operation_is_continued(tasks: LiteQ, begun: Callable[..., str]) -> None:
    kill(tasks, 3)
    id_ = begun("requeue", "state:dead")
    stopped = take(tasks, id_)
    stop(tasks, id_, by=ANN)
    stopped.run()
    assert operations.operation(tasks, id_)["state"] == "stopped"
    with pytest.raises(NotEligible, match="stopped"):
        stop(tasks, id_, by=ANN)
    resume_operation(tasks, id_, by=ANN, wait=True)
    assert operations.operation(tasks, id_)["done"] == 3
    with pytest.raises(NotEligible, match="done"):
        resume_operation(tasks, id_, by=ANN)


def test_what_goes_wrong_is_in_the_operations_row(
    tasks: LiteQ, begun: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(tasks, 3)
    id_ = begun("requeue", "state:dead")
    with monkeypatch.context() as patched:
        patched.setattr(runner, "page_of", lambda *_a, **_k: 1 / 0)
        resume_operation(tasks, id_, by=ANN, wait=True)
    told = operations.operation(tasks, id_)
    assert (told["state"], told["error"]) == ("failed", "ZeroDivisionError: division by zero")
    resume_operation(tasks, id_, by=ANN, wait=True)
    assert operations.operation(tasks, id_)["done"] == 3


def test_ctrl_c_leaves_an_operation_stopped_at_its_cursor(
    tasks: LiteQ, begun: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: Any, **_options: Any) -> Any:
        raise KeyboardInterrupt

    kill(tasks, 3)
    id_ = begun("requeue", "state:dead")
    with monkeypatch.context() as patched:
        patched.setattr(runner, "page_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            resume_operation(tasks, id_, by=ANN, wait=True)
    assert operations.operation(tasks, id_)["state"] == "stopped"
    resume_operation(tasks, id_, by=ANN, wait=True)
    assert operations.operation(tasks, id_)["done"] == 3


def test_messages_that_came_later_are_not_an_operations(tasks: LiteQ, begun: Callable[..., str]) -> None:
    kill(tasks, 2)
    id_ = begun("requeue", "state:dead")
    later = kill(tasks, 2)
    resume_operation(tasks, id_, by=ANN, wait=True)
    assert operations.operation(tasks, id_)["done"] == 2
    assert {state(tasks, one) for one in later} == {State.DEAD}


def test_an_operation_keeps_to_its_actors_queues_and_is_seen_within_them(tasks: LiteQ) -> None:
    kill(tasks, 2)
    kill(tasks, 3, "mail")
    mine = start(tasks, "requeue", "state:dead", by=ANN, see=MAIL, wait=True)
    assert operations.operation(tasks, mine, MAIL)["done"] == 3
    everybodys = start(tasks, "requeue", "state:dead", by=ANN, wait=True)
    assert operations.operation(tasks, everybodys, MAIL) is None
    assert [one["id"] for one in operations.operations(tasks, MAIL)["items"]] == [mine]
    with pytest.raises(MessageNotFound):
        stop(tasks, everybodys, by=ANN, see=MAIL)
    with pytest.raises(MessageNotFound):
        resume_operation(tasks, everybodys, by=ANN, see=MAIL)
    assert operations.operation(tasks, mine, Sight(("mail",))) is None  # `mail*` is more than it sees
    assert {one["queue"] for one in activity.activity(tasks, see=MAIL)["items"]} == {"mail"}


def test_a_rate_is_kept_and_an_operation_that_rests_lives(tasks: LiteQ, begun: Callable[..., str]) -> None:
    kill(tasks, 3)
    id_ = begun("requeue", "state:dead", rate="6/m")
    slept: list[float] = []
    slow = take(tasks, id_)
    slow._sleep = lambda s: slept.append(s) or tasks.clock.advance(seconds=s)
    slow.run()
    assert sum(slept) == pytest.approx(30, abs=11)  # 10 s a message, and none behind the last
    assert max(slept) <= runner.BEAT_S
    assert operations.operation(tasks, id_)["done"] == 3


def test_a_thread_does_an_operation_that_is_not_waited_for(tasks: LiteQ) -> None:
    import threading

    kill(tasks, 3)
    id_ = start(tasks, "requeue", "state:dead", by=ANN)
    for thread in threading.enumerate():
        if id_ in thread.name:
            thread.join(timeout=60)
    assert operations.operation(tasks, id_)["state"] == "done"


# -- runs --------------------------------------------------------------------------------------------------------------


def test_paused_runs_are_resumed_by_their_status(app: LiteQ, worker: Worker) -> None:
    @app.workflow
    def nightly() -> int:
        return 1

    runs = [nightly.start() for _ in range(3)]
    for run in runs[:2]:
        act(app, "pause", run.id, by=ANN)
    assert preview(app, "resume", "status:paused").eligible == 2
    id_ = start(app, "resume", f"workflow:{nightly.name} status:paused", by=ANN, wait=True)
    assert operations.operation(app, id_)["done"] == 2
    with pytest.raises(NotEligible, match="neither paused nor stuck"):
        act(app, "resume", runs[2].id, by=ANN)


def test_ended_runs_are_rewound_to_a_step_by_its_name(app: LiteQ, worker: Worker) -> None:
    done: list[str] = []

    @app.step(name="fetch")
    def fetch() -> str:
        done.append("fetch")
        return "fetched"

    @app.step(name="report")
    def report() -> str:
        done.append("report")
        return "reported"

    @app.workflow(name="nightly")
    def nightly() -> list[str]:
        return [fetch(), report()]

    runs = [nightly.start() for _ in range(2)]
    worker.run()
    done.clear()
    id_ = start(app, "rewind", "status:succeeded", by=ANN, wait=True, step="report")
    assert operations.operation(app, id_)["done"] == 2
    worker.run()
    assert done == ["report", "report"]
    with pytest.raises(NotEligible, match="no step 'fech'"):
        act(app, "rewind", runs[0].id, by=ANN, step="fech")
