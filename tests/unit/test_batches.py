"""Tasks with `batch`: their options, their items, and how each message of a batch ends. No worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import BatchItem, LiteQ, Middleware, signals
from liteq.exceptions import ImproperlyConfigured, MaxRetriesExceededError
from liteq.states import State
from liteq.testing import drain, eager


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("batches", broker=f"sqlite:///{tmp_path}/queue.db")
    yield app
    app.close()


def drained(app: LiteQ, task: Any, n: int) -> list[Any]:
    """Send `n` calls and execute them; the rows, in the order of the calls."""
    ids = [task.delay(i).id for i in range(n)]
    drain(app)
    found = app.storage.reader.find_many(ids)
    return [found[id_] for id_ in ids]


def results(app: LiteQ, rows: list[Any]) -> list[Any]:
    return [app.AsyncResult(row.id).get(timeout=1) for row in rows]


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"batch": 0}, ValueError, "from 1 to 10,000"),
        ({"batch": 20_000}, ValueError, "from 1 to 10,000"),
        ({"batch": "10"}, TypeError, "how many messages"),
        ({"batch": True}, TypeError, "how many messages"),
        ({"batch": 5, "batch_wait": -1}, ValueError, "from 0 on"),
        ({"batch": 5, "batch_wait": "soon"}, ValueError, "batch_wait is a number"),
        ({"batch": 5, "batch_key": lambda shop: shop}, TypeError, "runs no code of yours"),
        ({"batch": 5, "batch_key": "{shop!r}"}, ValueError, "as it is"),
        ({"batch_key": "{shop}"}, TypeError, "give batch="),
        ({"batch_wait": 1}, TypeError, "give batch="),
        ({"batch": 5, "pydantic": True}, TypeError, "pydantic"),
        ({"batchs": 5}, TypeError, "did you mean 'batch'"),
    ],
)
def test_options_that_mean_nothing_are_refused_where_the_task_is_declared(app, options, error, says):
    with pytest.raises(error, match=says):

        @app.task(**options)
        def store(items: list[BatchItem]) -> None: ...


@pytest.mark.parametrize("bind", [False, True])
def test_a_function_that_takes_no_list_of_items_is_refused(app, bind):
    with pytest.raises(TypeError, match=r"item\.args"):

        @app.task(batch=5, bind=bind)
        def store(one: Any, two: Any, three: Any) -> None: ...


def test_options_of_a_class_are_looked_at_when_they_are_needed(app):
    class Store(app.Task):
        name = "store"
        batch = 5
        batch_wait = -1

    task = app.register_task(Store())
    with pytest.raises(ImproperlyConfigured, match="from 0 on"):
        assert task.batch_terms


def test_a_call_takes_any_arguments(app):
    @app.task(batch=5)
    def store(items: list[BatchItem]) -> list[Any]:
        return [[item.args, item.kwargs] for item in items]

    calls = [store.delay(), store.delay(1, 2, 3), store.delay(shop="a"), store.apply_async((1,), {"x": [2]})]
    drain(app)
    assert [call.get(timeout=1) for call in calls] == [
        [[], {}],
        [[1, 2, 3], {}],
        [[], {"shop": "a"}],
        [[1], {"x": [2]}],
    ]


# -- the items ---------------------------------------------------------------------------------------------------------


def test_an_item_is_settled_once():
    item = BatchItem("1", (1,), {"shop": "a"})
    assert (item.id, item.args, item.kwargs, item.retries, item.settled) == ("1", [1], {"shop": "a"}, 0, False)
    item.ok()
    for again in (item.ok, lambda: item.fail(ValueError()), item.retry):
        with pytest.raises(RuntimeError, match="settled already"):
            again()
    assert item.settled


def test_an_item_fails_by_an_exception_and_is_retried_at_a_time():
    item = BatchItem("1")
    with pytest.raises(TypeError, match="takes an exception"):
        item.fail("broken")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a number of seconds"):
        item.retry(countdown=float("nan"))
    assert not item.settled
    item.fail(ValueError)
    assert item.settled


def test_an_item_is_not_settled_when_its_batch_is_over(app):
    kept: list[BatchItem] = []

    @app.task(batch=5)
    def store(items: list[BatchItem]) -> None:
        kept.extend(items)

    store.apply()
    with pytest.raises(RuntimeError, match="is over"):
        kept[0].ok()


# -- the ends of messages ----------------------------------------------------------------------------------------------


def test_messages_come_in_batches_and_end_well_where_nothing_is_said(app):
    sizes = []

    @app.task(batch=4)
    def store(items: list[BatchItem]) -> None:
        sizes.append(len(items))

    rows = drained(app, store, 10)
    assert sizes == [4, 4, 2]
    assert {row.state for row in rows} == {State.SUCCEEDED}
    assert results(app, rows) == [None] * 10


def test_a_returned_list_has_a_result_for_each(app):
    @app.task(batch=10)
    async def double(items: list[BatchItem]) -> list[Any]:
        items[1].ok("settled")
        return await asyncio.gather(*[twice(item.args[0]) for item in items], return_exceptions=True)

    async def twice(n: int) -> int:
        if n == 2:
            raise ValueError("two")
        return 2 * n

    rows = drained(app, double, 4)
    assert [row.state for row in rows] == [State.SUCCEEDED, State.SUCCEEDED, State.DEAD, State.SUCCEEDED]
    assert results(app, [rows[0], rows[1], rows[3]]) == [0, "settled", 6]
    with pytest.raises(ValueError, match="two"):
        app.AsyncResult(rows[2].id).get(timeout=1)


@pytest.mark.parametrize("n", [2, 4])
def test_a_list_of_another_length_fails_what_is_not_settled(app, n):
    @app.task(batch=10)
    def store(items: list[BatchItem]) -> list[int]:
        items[0].ok("stored")
        return [1] * n

    rows = drained(app, store, 3)
    assert [row.state for row in rows] == [State.SUCCEEDED, State.DEAD, State.DEAD]
    with pytest.raises(ValueError, match=f"a list of {n} for a batch of 3"):
        app.AsyncResult(rows[1].id).get(timeout=1)


def test_an_exception_is_that_of_each_which_is_not_settled(app, caplog):
    @app.task(batch=10)
    def store(items: list[BatchItem]) -> None:
        items[0].ok("stored")
        items[1].fail(KeyError("one"))
        raise OSError("no database")

    with caplog.at_level(logging.ERROR):
        rows = drained(app, store, 5)
    assert [row.state for row in rows] == [State.SUCCEEDED] + [State.DEAD] * 4
    errors = [type(app.AsyncResult(row.id).result).__name__ for row in rows[1:]]
    assert errors == ["KeyError", "OSError", "OSError", "OSError"]
    told = [record for record in caplog.records if "raised unexpected" in record.getMessage()]
    assert len(told) == 4
    assert sum(record.exc_info is not None for record in told) == 2, "a traceback is logged once"


def test_each_is_retried_by_itself_until_its_retries_are_over(app):
    runs: list[list[int]] = []

    @app.task(batch=10, autoretry_for=(OSError,), retry_kwargs={"max_retries": 2, "countdown": 0})
    def store(items: list[BatchItem]) -> None:
        runs.append([item.retries for item in items])
        if any(item.args[0] == 0 for item in items):
            items[0].fail(OSError("busy"))

    rows = drained(app, store, 3)
    assert runs == [[0, 0, 0], [1], [2]]
    assert [(row.state, row.retries) for row in rows] == [
        (State.DEAD, 2), (State.SUCCEEDED, 0), (State.SUCCEEDED, 0),
    ]  # fmt: skip


def test_an_item_asks_to_be_retried(app):
    @app.task(batch=10, max_retries=1)
    def store(items: list[BatchItem]) -> None:
        for item in items:
            if item.args[0] == 1:
                item.retry(countdown=0)

    rows = drained(app, store, 3)
    assert [row.state for row in rows] == [State.SUCCEEDED, State.DEAD, State.SUCCEEDED]
    assert isinstance(app.AsyncResult(rows[1].id).result, MaxRetriesExceededError)


def test_the_retry_of_the_function_is_that_of_each(app):
    seen = []

    @app.task(batch=10, bind=True, max_retries=1)
    def store(self: Any, items: list[BatchItem]) -> None:
        seen.append(sorted(item.retries for item in items))
        if len(seen) == 1:
            items[0].retry(countdown=0)
            return
        raise self.retry(countdown=0, exc=OSError("busy"))

    rows = drained(app, store, 1)
    assert (rows[0].state, rows[0].retries) == (State.DEAD, 1)
    first = store.delay(0)
    store.delay(1)
    drain(app)
    assert seen == [[0], [1], [0, 0], [1, 1]]
    assert isinstance(app.AsyncResult(first.id).result, OSError)


def test_the_retries_of_the_function_are_the_least_of_all(app):
    seen = []

    @app.task(batch=10, bind=True)
    def store(self: Any, items: list[BatchItem]) -> None:
        seen.append((sorted(item.retries for item in items), self.request.retries))
        if len(seen) == 1:
            items[0].retry(countdown=0)
            store.delay(1)

    store.delay(0)
    drain(app)
    assert seen == [([0], 0), ([0, 1], 0)]


def test_an_ending_of_which_no_outcome_can_be_made_fails_its_message_alone(app):
    @app.task(batch=10, bind=True)
    def store(self: Any, items: list[BatchItem]) -> None:
        items[0].ok("stored")
        items[1].ok(object())
        raise self.retry(countdown=float("inf"))

    rows = drained(app, store, 3)
    assert [row.state for row in rows] == [State.SUCCEEDED, State.DEAD, State.DEAD]
    assert [type(app.AsyncResult(row.id).result).__name__ for row in rows[1:]] == ["NotSerializable", "ValueError"]


def test_a_message_is_not_replaced(app):
    @app.task(batch=10, bind=True)
    def store(self: Any, items: list[BatchItem]) -> None:
        raise self.replace(store.s())

    rows = drained(app, store, 2)
    assert isinstance(app.AsyncResult(rows[0].id).result, TypeError)
    assert app.storage.reader.counts()[0].n == 2, "nothing more was sent"


def test_an_exit_in_the_function_fails_each(app):
    @app.task(batch=10)
    def store(items: list[BatchItem]) -> None:
        raise SystemExit(3)

    assert {row.state for row in drained(app, store, 2)} == {State.DEAD}


def test_equal_keys_alone_are_in_one_batch(app, caplog):
    batches = []

    @app.task(batch=3, batch_key="{shop}")
    def store(items: list[BatchItem]) -> None:
        batches.append([item.kwargs.get("shop") for item in items])

    for shop in "aabab":
        store.delay(shop=shop)
    for shop in "ab":
        store.delay(shop)  # by place: a template knows names alone
    drain(app)
    assert sorted(map(sorted, batches), key=str) == [["a", "a", "a"], ["b", "b"], [None], [None]]
    assert caplog.text.count("run alone: there is no batch_key for it") == 1


def test_callbacks_and_errbacks_are_those_of_each(app):
    noted = []

    @app.task
    def note(value: Any) -> Any:
        noted.append(value)
        return value

    @app.task(batch=10)
    def store(items: list[BatchItem]) -> list[Any]:
        return [ValueError("odd") if item.args[0] % 2 else item.args[0] for item in items]

    fine = store.apply_async((2,), link=note.s())
    odd = store.apply_async((1,), link=note.s(), link_error=note.si("undone"))
    chained = (store.s(4) | note.s() | store.s()).delay()
    drain(app)
    assert (fine.get(timeout=1), chained.get(timeout=1)) == (2, 4)
    assert isinstance(odd.result, ValueError)
    assert sorted(map(str, noted)) == ["2", "4", "undone"]


def test_an_errback_with_batches_gets_the_ids_of_what_failed(app):
    @app.task
    def broken() -> None:
        raise ValueError

    failed = []

    @app.task(batch=10)
    def clean(items: list[BatchItem]) -> None:
        failed.append(sorted(item.args[0] for item in items))

    ids = sorted(broken.apply_async(link_error=clean.s()).id for _ in range(2))
    drain(app)
    assert failed == [ids]


def test_what_is_sensitive_is_hidden_by_its_name_and_all_that_has_none(app):
    @app.task(batch=10, sensitive=("password",))
    def store(items: list[BatchItem]) -> None: ...

    assert store.redacted(("secret",), {"password": "secret", "user": "ann"}) == (
        ["***"], {"password": "***", "user": "ann"},
    )  # fmt: skip
    assert "secret" not in repr(BatchItem("1", ("secret",), {"password": "secret"}))


def test_a_result_that_is_ignored_is_not_kept(app):
    @app.task(batch=10, ignore_result=True)
    def store(items: list[BatchItem]) -> list[int]:
        return [1] * len(items)

    kept = store.apply_async((1,), ignore_result=False)
    store.delay(2)
    drain(app)
    assert kept.get(timeout=1) == 1
    assert sum(count.n for count in app.storage.reader.counts()) == 1


# -- around them -------------------------------------------------------------------------------------------------------


def test_signals_and_hooks_tell_of_each_and_the_body_runs_once(app):
    told: list[Any] = []

    class Told(app.Task):
        abstract = True

        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            told.append(("before", args))

        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            told.append(("ok", args, self.request.id == task_id))

        def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            told.append(("failed", args, self.request.id == task_id))

        def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            told.append((status, args))

    @app.task(base=Told, batch=10)
    def store(items: list[BatchItem]) -> None:
        told.append(("body", len(items)))
        items[1].fail(ValueError())

    def heard(kind: str) -> Any:
        return lambda **named: told.append((kind, named.get("task_id") is not None))

    receivers = {name: heard(name) for name in ("task_prerun", "task_postrun", "task_success", "task_failure")}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, weak=False)
    try:
        drained(app, store, 2)
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)
    assert told == [
        ("task_prerun", True), ("before", [0]), ("before", [1]), ("body", 2),
        ("ok", [0], True), ("task_success", False), ("SUCCESS", [0]),
        ("failed", [1], True), ("task_failure", True), ("FAILURE", [1]),
        ("task_postrun", True),
    ]  # fmt: skip


def test_what_before_start_refuses_is_not_in_the_batch(app):
    class Careful(app.Task):
        abstract = True

        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            if args == [1]:
                raise ValueError("not this one")

    @app.task(base=Careful, batch=10)
    def store(items: list[BatchItem]) -> list[Any]:
        return [item.args[0] for item in items]

    rows = drained(app, store, 3)
    assert [row.state for row in rows] == [State.SUCCEEDED, State.DEAD, State.SUCCEEDED]
    assert results(app, [rows[0], rows[2]]) == [0, 2]


def test_a_context_that_cannot_be_entered_fails_each(app):
    @app.task(batch=10)
    def store(items: list[BatchItem]) -> None:
        raise AssertionError("it is not called")

    def around(task: Any, request: Any) -> Any:
        raise OSError("no tenant")

    app.around_task = around
    rows = drained(app, store, 2)
    assert [type(app.AsyncResult(row.id).result) for row in rows] == [OSError, OSError]


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_middleware_raises_is_the_end_of_each(app, when):
    class Strict(Middleware):
        def on_execute(self, execution: Any, run: Any) -> Any:
            if when == "before":
                raise OSError("no tenant")
            run(execution)
            raise OSError("no tenant")

    app.middleware.add(Strict())
    told = []

    class Told(app.Task):
        abstract = True

        def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            told.append(args)

    @app.task(base=Told, batch=10)
    def store(items: list[BatchItem]) -> None: ...

    rows = drained(app, store, 2)
    assert [type(app.AsyncResult(row.id).result) for row in rows] == [OSError, OSError]
    assert told == [[0], [1]]


def test_middleware_sees_one_execution_of_the_batch(app):
    seen = []

    class Timed(Middleware):
        def on_execute(self, execution: Any, run: Any) -> Any:
            seen.append((execution.kind, execution.name, len(execution.args[0])))
            return run(execution)

    app.middleware.add(Timed())

    @app.task(name="store", batch=10)
    def store(items: list[BatchItem]) -> list[int]:
        return [item.args[0] for item in items]

    rows = drained(app, store, 3)
    assert seen == [("task", "store", 3)]
    assert results(app, rows) == [0, 1, 2]


# -- without a worker --------------------------------------------------------------------------------------------------


def test_a_call_that_is_run_here_is_a_batch_of_one(app):
    @app.task(batch=10, max_retries=2)
    def store(items: list[BatchItem]) -> list[Any]:
        (item,) = items
        if item.retries < 2:
            item.retry(countdown=60)
        return [[item.args, item.kwargs, item.retries]]

    assert store.apply((1,), {"x": 2}).get() == [[1], {"x": 2}, 2]
    with eager(app):
        assert store.delay(1, x=2).get() == [[1], {"x": 2}, 2]


def test_the_function_is_called_with_items_of_a_test(app):
    @app.task(batch=10)
    def store(items: list[BatchItem]) -> int:
        items[0].ok()
        return len(items)

    items = [BatchItem("1", ("a",)), BatchItem("2", kwargs={"shop": 1})]
    assert store(items) == 2
    assert [item.settled for item in items] == [True, False]
