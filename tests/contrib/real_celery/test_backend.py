"""The result backend on a liteq file: the end of a task is one transaction, under its lease."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liteq.exceptions import StorageBusy, StorageError, StorageFull
from liteq.states import State

from .shop import NEEDS_CELERY, Shop

pytestmark = NEEDS_CELERY


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.close()


def begun(shop: Shop) -> Any:
    """Claim the next task of the shop as a worker does; Celery's request of it."""
    from celery.app.task import Context

    connection = shop.app.connection()
    message = connection.SimpleQueue("celery").get_nowait()
    args, kwargs, embed = message.payload
    return Context({**message.headers, "properties": message.properties, "args": args, "kwargs": kwargs, **embed},
                   delivery_info=message.delivery_info)  # fmt: skip


def begun_again(request: Any) -> Any:
    """The same request as another process has it."""
    from celery.app.task import Context

    return Context({name: value for name, value in vars(request).items() if not name.startswith("_liteq")})


def waiting(shop: Shop) -> list[str]:
    return [one.task for one in shop.liteq.storage.reader.messages(State.PENDING)]


def test_what_comes_next_is_written_with_the_end_or_not_at_all(shop: Shop) -> None:
    result = shop.send("boom", link_error=shop.sig("errback"), chain=[shop.sig("add", 1, task_id="rest")])
    request = begun(shop)
    worker = shop.liteq.storage.reader.workers()[0]
    shop.liteq.storage.reap([worker.id], expired=False)  # its lease is over: somebody else has the task
    shop.app.backend.mark_as_failure(result.id, KeyError("late"), request=request)
    assert waiting(shop) == ["shop.boom"]
    assert shop.record("rest") is None
    request = begun(shop)
    shop.app.backend.mark_as_failure(result.id, KeyError("now"), request=request)
    assert waiting(shop) == ["shop.errback"]
    assert (shop.record("rest").state, result.state) == (State.UPSTREAM_FAILED, "FAILURE")
    assert shop.app.AsyncResult("rest").state == "FAILURE"


def test_no_errback_is_called_for_what_another_run_has_or_has_settled(shop: Shop) -> None:
    """Celery before 5.7 takes a task for lost whose process has stored its success and died then."""
    told = []

    @shop.app.task(name="shop.told_here", shared=False)
    def told_here(request: Any, exc: Any, traceback: Any, what: Any = None) -> None:
        told.append(exc)

    result = shop.send("add", 1, 1, link_error=told_here.s())
    request = begun(shop)
    request.errbacks = [told_here.s(object())]  # no row can carry it: it would be called here
    shop.app.backend.mark_as_done(result.id, 2, begun_again(request))
    shop.app.backend.mark_as_failure(result.id, OSError("its process died"), request=request)
    assert (waiting(shop), result.get(timeout=60)) == ([], 2)
    result = shop.send("add", 1, 1, link_error=told_here.s())
    shop.app.backend.mark_as_failure(result.id, KeyError("no"), request=begun(shop))
    assert (told, waiting(shop)) == ([], ["liteq.errback"])


def test_an_errback_whose_arguments_are_no_json_is_called_at_once(shop: Shop) -> None:
    told = []

    @shop.app.task(name="shop.told_with", shared=False)
    def told_with(request: Any, exc: Any, traceback: Any, what: Any) -> None:
        told.append((type(exc), what))

    result, odd = shop.send("add", 1, 1), object()
    request = begun(shop)
    request.errbacks = [told_with.s(odd)]
    shop.app.backend.mark_as_failure(result.id, KeyError("no"), request=request)
    assert (told, waiting(shop), result.state) == ([(KeyError, odd)], [], "FAILURE")


def test_a_lost_lease_stores_no_result(shop: Shop) -> None:
    result = shop.send("add", 1, 1)
    stale = begun(shop)
    shop.liteq.storage.reap([shop.liteq.storage.reader.workers()[0].id], expired=False)
    fresh = begun(shop)
    shop.app.backend.mark_as_done(result.id, "stale", stale)
    assert result.state == "PENDING"
    shop.app.backend.mark_as_done(result.id, "fresh", fresh)
    assert result.get(timeout=60) == "fresh"


@pytest.mark.parametrize(
    ("serializer", "compression"), [("pickle", None), ("msgpack", None), ("json", "zlib"), ("yaml", None)]
)
def test_results_in_other_forms(shop: Shop, serializer: str, compression: str | None) -> None:
    from celery.backends.base import Backend

    if serializer in ("msgpack", "yaml"):
        pytest.importorskip(serializer)
    if compression and not hasattr(Backend, "supports_result_compression"):
        pytest.skip("this Celery has no result_compression")
    shop.app.conf.update(
        result_serializer=serializer, result_compression=compression, accept_content=["json", serializer]
    )
    result = shop.send("add", 1, 1)
    shop.app.backend.mark_as_done(result.id, {"a": [1, "x"]}, begun(shop))
    assert result.get(timeout=60) == {"a": [1, "x"]}
    assert shop.record(result.id).result[:1] == b"\x01"


def test_states_of_ids_that_no_worker_runs(shop: Shop) -> None:
    backend = shop.app.backend
    backend.store_result("done", {"n": 1}, "SUCCESS")
    backend.store_result("failed", ValueError("no"), "FAILURE", traceback="in line 1")
    backend.store_result("own", {"percent": 3}, "PROGRESS")
    result = shop.app.AsyncResult
    assert (result("done").get(timeout=60), result("own").state, result("own").info) == (
        {"n": 1},
        "PROGRESS",
        {"percent": 3},
    )
    assert (repr(result("failed").result), result("failed").traceback) == ("ValueError('no')", "in line 1")
    assert result("nobody").state == "PENDING"
    result("done").forget()
    assert result("done").state == "PENDING"


def test_a_result_of_a_type_that_the_app_has_registered_with_kombu_comes_back(shop: Shop) -> None:
    from kombu.utils.json import register_type

    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    register_type(Money, "money of a test", lambda money: money.cents, Money)
    result = shop.send("add", 1, 1)
    look_alike = {"__type__": "a key of its own", "__value__": 2**70}
    shop.app.backend.store_result(result.id, [Money(5)], "PROGRESS")
    assert result.info[0].cents == 5
    shop.app.backend.mark_as_done(result.id, {"paid": Money(7)}, begun(shop))
    assert result.get(timeout=60)["paid"].cents == 7
    shop.app.backend.store_result("alike", look_alike, "SUCCESS")
    assert shop.app.AsyncResult("alike").result == look_alike


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_process_that_ends_writes_what_it_has_counted(shop: Shop, pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from celery import signals

    from liteq_kombu import counting

    import_module("liteq_kombu.crossing.node")
    monkeypatch.setattr(counting, "FLUSH_S", 3600.0)
    result = shop.send("add", 1, 1)
    shop.app.backend.mark_as_done(result.id, 2, begun(shop))
    file = shop.app.backend.file
    if pool == "prefork":
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
    else:
        file.holder.leave()
    assert [one.task for one in shop.liteq.storage.stats.totals()] == ["shop.add"]


def test_failures_have_a_time_of_their_own(shop: Shop) -> None:
    def kept(**conf: Any) -> tuple[str, str]:
        shop.app.conf.update(conf)
        backend = shop.app._get_backend()
        backend.store_result("done", 1, "SUCCESS")
        backend.store_result("failed", ValueError("no"), "FAILURE")
        gone = "failed" if "result_failure_expires" in conf else "done"
        shop.wait(lambda: (backend.cleanup(), backend.get_state(gone))[1] == "PENDING")
        return backend.get_state("done"), backend.get_state("failed")

    assert kept(result_expires=0.001) == ("PENDING", "FAILURE")  # a dead letter
    assert kept(result_expires=3600, result_failure_expires=0.001) == ("SUCCESS", "PENDING")


@pytest.mark.parametrize(("said", "seconds"), [("3600", 3600), (timedelta(hours=1), 3600), (0, 0), (None, None)])
def test_the_time_of_results_is_said_in_any_form_that_celery_takes(
    shop: Shop, said: Any, seconds: float | None
) -> None:
    """A number from the environment is a text."""
    shop.app.conf.update(result_expires=said, result_failure_expires=said)
    backend = shop.app._get_backend()
    backend.cleanup()
    assert backend.file.result_expires_s == seconds
    assert backend.file.dead_expires_s == (30 * 86_400 if said is None else seconds)


def test_a_caller_is_told_of_each_state_while_it_waits(shop: Shop) -> None:
    result = shop.send("add", 1, 1)
    shop.app.backend.store_result(result.id, {"percent": 3}, "PROGRESS")
    told: list[tuple[str, Any]] = []

    def on_message(meta: dict[str, Any]) -> None:
        told.append((meta["status"], meta["result"]))
        if len(told) == 1:
            shop.app.backend.mark_as_done(result.id, 2, begun(shop))

    assert result.get(timeout=60, on_message=on_message) == 2
    assert told == [("PROGRESS", {"percent": 3}), ("SUCCESS", 2)]


def test_an_error_of_celery_s_is_liteq_s_to_liteq_and_celery_s_to_celery(shop: Shop) -> None:
    from celery.exceptions import MaxRetriesExceededError

    result = shop.send("add", 1, 1)
    shop.app.backend.mark_as_failure(result.id, MaxRetriesExceededError("too often"), request=begun(shop))
    assert type(result.result) is MaxRetriesExceededError
    from liteq import exceptions

    assert type(shop.liteq.AsyncResult(result.id).result) is exceptions.MaxRetriesExceededError


def test_a_revoke_that_did_not_see_the_end_yet_comes_too_late(shop: Shop) -> None:
    """Celery's worker looks at a task before it marks it as revoked; meanwhile another one may have ended it."""
    done, failed = shop.send("add", 1, 1), shop.send("boom")
    shop.app.backend.mark_as_done(done.id, 2, begun(shop))
    shop.app.backend.mark_as_failure(failed.id, KeyError("no"), request=begun(shop))
    for result in (done, failed):
        shop.app.backend.mark_as_revoked(result.id, reason="revoked", store_result=True)
    assert (done.state, done.get(timeout=60), failed.state) == ("SUCCESS", 2, "FAILURE")


def test_who_waits_is_called_at_intervals_and_not_at_each_ring(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's own callback reads all parents: of a chord of n that would be n rows at each of n rings."""
    from celery.exceptions import TimeoutError as TooLong

    sent, called = shop.send("add", 1, 1), []
    rings = iter([*[True] * 30, *[False] * 30])

    class Ringing:
        def wait(self, _timeout_s: float) -> bool:
            rung = next(rings, None)
            if rung is None:
                raise KeyboardInterrupt
            return rung

    @contextmanager
    def hearing() -> Iterator[Ringing]:
        yield Ringing()

    monkeypatch.setattr(shop.app.backend.storage, "hearing", hearing)
    with pytest.raises(KeyboardInterrupt):
        shop.app.backend.wait_for(sent.id, interval=600, on_interval=lambda: called.append("long"))
    assert (called, next(rings, None)) == ([], None)
    monkeypatch.undo()
    with pytest.raises(TooLong):
        shop.app.backend.wait_for(sent.id, timeout=0.2, interval=0, on_interval=lambda: called.append("short"))
    assert set(called) == {"short"}


def test_a_state_that_somebody_stores_is_what_a_group_waits_for(shop: Shop) -> None:
    shop.app.backend.store_result("by-hand", 7, "SUCCESS")
    sent = shop.send("add", 1, 1)
    found = dict(shop.app.backend.get_many([sent.id, "by-hand"], timeout=60, max_iterations=1))
    assert {id_: meta["result"] for id_, meta in found.items()} == {"by-hand": 7}


def test_a_group_that_liteq_has_deleted_is_no_longer_found(shop: Shop) -> None:
    shop.app.GroupResult("by-hand", [shop.app.AsyncResult("one")]).save()
    shop.liteq.GroupResult.restore("by-hand").delete()
    assert shop.app.GroupResult.restore("by-hand") is None
    shop.app.GroupResult("by-hand", [shop.app.AsyncResult("two")]).save()
    assert [one.id for one in shop.liteq.GroupResult.restore("by-hand")] == ["two"]


def test_waiting_ends_with_its_time(shop: Shop) -> None:
    from celery.exceptions import TimeoutError as TooLong

    result = shop.send("add", 1, 1)
    with pytest.raises(TooLong):
        result.get(timeout=0.05)
    with pytest.raises(TooLong):
        shop.app.ResultSet([result]).join_native(timeout=0.05)


def test_extended_results_come_from_the_row(shop: Shop) -> None:
    shop.app.conf.result_extended = True
    stamped = {"stamped_headers": ["tenant"], "tenant": "acme"}
    result = shop.send("add", 1, 2, queue="mail", **stamped)
    assert (result.name, result.args, result.kwargs, result.queue) == ("shop.add", [1, 2], {}, "mail")
    assert stamped.items() <= shop.app.backend.get_task_meta(result.id).items()


@pytest.mark.parametrize("lost", [False, True])
def test_the_tracer_s_own_sends_come_with_the_end_and_a_body_s_at_once(shop: Shop, lost: bool) -> None:
    from celery.app.trace import trace_task

    @shop.app.task(name="shop.body", shared=False)
    def body() -> str:
        shop.send("add", 1, 1, task_id="of-the-body")
        assert shop.record("of-the-body") is not None
        if lost:
            shop.liteq.storage.reap([shop.liteq.storage.reader.workers()[0].id], expired=False)
        return "done"

    shop.send("body", chain=[shop.sig("late", 1, task_id="next")], link=shop.sig("late", 2, task_id="linked"))
    request = dict(begun(shop).__dict__)
    trace_task(shop.app.tasks["shop.body"], request["id"], [], {}, request, app=shop.app, loader=shop.app.loader)
    assert shop.record("of-the-body") is not None
    assert (shop.record("next") is None, shop.record("linked") is None) == (lost, lost)


def test_a_replacement_whose_writing_is_tried_again_is_sent_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from celery import _state
    from celery.app.trace import trace_task

    monkeypatch.setattr(_state._tls, "current_app", shop.app)

    @shop.app.task(name="shop.by_chain", bind=True, shared=False)
    def by_chain(self: Any) -> Any:
        return self.replace(shop.sig("add", 1, 1) | shop.sig("add", 1))

    result = shop.send("by_chain")
    request = dict(begun(shop).__dict__)
    storage = shop.app.backend.file.storage
    settle, settled = storage.settle, list[Any]()

    def fails_once(*args: Any, **options: Any) -> Any:
        settled.append(args)
        if len(settled) == 1:
            raise StorageError("the disk is away")
        return settle(*args, **options)

    monkeypatch.setattr(storage, "settle", fails_once)
    trace_task(by_chain, request["id"], [], {}, request, app=shop.app, loader=shop.app.loader)
    assert len(settled) == 2, "kombu tries again"
    assert waiting(shop) == ["shop.add"]
    assert (shop.record(result.id).state, shop.record(result.id).task) == (State.BLOCKED, "shop.add")
    shop.start()
    assert result.get(timeout=60) == 3


def test_an_outcome_waits_for_a_disk_that_is_full(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    result = shop.send("add", 1, 1)
    request = begun(shop)
    storage = shop.app.backend.file.storage
    settle, refused = storage.settle, iter([StorageFull("the disk is full"), StorageBusy(0.1)])

    def refuses(*args: Any, **kwargs: Any) -> Any:
        if (error := next(refused, None)) is not None:
            raise error
        return settle(*args, **kwargs)

    monkeypatch.setattr(storage, "settle", refuses)
    shop.app.backend.mark_as_done(result.id, "kept", request)
    assert result.get(timeout=60) == "kept"
    assert next(refused, None) is None
    shop.wait(lambda: not shop.app.backend.file.short)  # the leases' thread has found that there is space


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_message_of_an_unknown_task_is_refused_with_its_reason_by_one_write(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, serializer: str
) -> None:
    """Celery's consumer rejects it, and tells the backend why only then: a reader between the two sees why, too."""
    from celery.exceptions import NotRegistered
    from celery.worker.consumer import Consumer

    shop.app.conf.accept_content = ["json", serializer]
    result = shop.send("nowhere", serializer=serializer)
    backend, between = shop.app.backend, list[Any]()
    tell = backend.mark_as_failure
    monkeypatch.setattr(backend, "mark_as_failure", lambda *args, **kw: (between.append(seen()), tell(*args, **kw)))
    monkeypatch.setattr(backend.storage, "store_result", lambda *args: pytest.fail("a second write"))

    def seen() -> tuple[Any, ...]:
        record = shop.record(result.id)
        return record.state, record.error, type(result.result), str(result.result)

    consumer = Consumer.__new__(Consumer)
    consumer.app, consumer.strategies, consumer.connection_errors = shop.app, {}, ()
    consumer.event_dispatcher, consumer.on_task_message = None, set()
    message = shop.app.connection().SimpleQueue("celery", serializer=serializer).get_nowait()
    consumer.create_task_handler()(message)
    assert [(one[0], one[2], one[3]) for one in between] == [(State.DEAD, NotRegistered, "'shop.nowhere'")]
    assert seen() == between[0]


def test_a_message_that_is_rejected_is_not_taken_for_one_of_an_unknown_task(shop: Shop) -> None:
    shop.send("add", 1, 1, task_id="refused")
    message = shop.app.connection().SimpleQueue("celery").get_nowait()
    try:
        raise KeyError("another name")
    except KeyError:
        message.reject()
    assert b"Reject" in shop.record("refused").error


def test_the_worker_of_each_app_of_celery_s_fixtures_tells_of_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They make an app for each test, and forget whatever a module gave to all apps while a test ran."""
    from celery import _state
    from celery.contrib.testing.app import TestApp, setup_default_app
    from celery.contrib.testing.worker import start_worker

    monkeypatch.setattr(_state, "_on_app_finalizers", set())
    url = f"liteq:///{tmp_path}/tests.db"
    for _ in range(2):
        app = TestApp(config={"broker_url": url, "result_backend": url})
        with setup_default_app(app), start_worker(app, pool="solo", perform_ping_check=False) as worker:
            assert "liteq.errback" in worker.consumer.strategies


def test_an_early_task_begins_once_in_all_processes_of_a_pool(shop: Shop) -> None:
    """A pool gives it to a second one, where the first has died before the pool heard that it began."""
    from celery.exceptions import WorkerLostError

    from liteq_kombu.running import run_of

    shop.send("add", 1, 1)
    request, file = begun(shop), shop.app.backend.file
    pid = os.fork()
    if pid == 0:
        first = run_of(begun_again(request), file)
        first.begin()
        os._exit(int(first.lost))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    again = run_of(request, file)
    again.begin()
    with pytest.raises(WorkerLostError, match="its process died as it began"):
        shop.app.loader.on_task_init(request.id, SimpleNamespace(request=request))
