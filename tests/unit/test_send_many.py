"""`task.send_many`: elements from any iterator, a commit for each chunk, and each element once under a name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from liteq import LiteQ, Middleware, Sent
from liteq.exceptions import LiteqError, NotSerializable, PayloadTooLarge
from liteq.testing import drain


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    with LiteQ("many", broker=f"sqlite:///{tmp_path}/q.db") as made:
        yield made


@pytest.fixture
def got() -> list[Any]:
    return []


@pytest.fixture
def add(app: LiteQ, got: list[Any]) -> Any:
    @app.task(name="add")
    def add(x: Any, y: int = 0) -> None:
        got.append((x, y))

    return add


def sent(app: LiteQ) -> int:
    return sum(count.n for count in app.storage.reader.counts())


class Died(Exception):
    """Stands for the death of the sender."""


def dying(elements: list[Any], at: int) -> Iterator[Any]:
    yield from elements[:at]
    raise Died


def test_an_element_is_a_tuple_a_dict_or_one_argument(app, add, got):
    assert add.send_many([(1, 2), {"x": 3, "y": 4}, 5, [6, 7], "eight", None, ({"a": 1},)]) == Sent(7, 0)
    drain(app)
    assert got == [(1, 2), (3, 4), (5, 0), ([6, 7], 0), ("eight", 0), (None, 0), ({"a": 1}, 0)]


def test_a_chunk_is_one_commit_and_no_more_is_read_ahead(app, add):
    seen: list[tuple[int, int]] = []

    def elements() -> Iterator[int]:
        for n in range(25):
            seen.append((n, sent(app)))
            yield n

    told: list[Sent] = []
    assert add.send_many(elements(), chunk=10, progress=told.append) == Sent(25, 0)
    assert told == [Sent(10, 0), Sent(20, 0), Sent(25, 0)]
    assert seen == [(n, n // 10 * 10) for n in range(25)]


def test_options_are_those_of_each_call(app, add):
    add.send_many(range(3), queue="bulk", priority=7, countdown=60)
    (count,) = app.storage.reader.counts()
    assert (count.queue, count.state.value, count.n) == ("bulk", "scheduled", 3)


def test_the_same_call_goes_on_where_it_died(app, add, got):
    elements = list(range(25))
    with pytest.raises(Died):
        add.send_many(dying(elements, 17), chunk=5, name="import")
    assert sent(app) == 15
    assert add.send_many(elements, chunk=7, name="import") == Sent(10, 15)
    assert add.send_many(elements, name="import") == Sent(0, 25)
    assert add.send_many([*elements, 25], name="import") == Sent(1, 25)
    drain(app)
    assert sorted(x for x, _ in got) == list(range(26))


def test_what_has_run_and_left_no_trace_is_not_sent_again(app, got):
    @app.task(name="quiet", ignore_result=True)
    def quiet(n: int) -> None:
        got.append(n)

    with pytest.raises(Died):
        quiet.send_many(dying(list(range(9)), 8), chunk=4, name="import")
    drain(app)
    assert sent(app) == 0
    assert quiet.send_many(range(9), chunk=4, name="import") == Sent(1, 8)
    drain(app)
    assert got == list(range(9))


def test_two_senders_of_one_name_share_the_work(app, got):
    """Also where the messages of one have run, and are gone, before the other looks."""

    @app.task(name="quiet", ignore_result=True)
    def quiet(n: int) -> None:
        got.append(n)

    def slower() -> Iterator[int]:
        for n in range(20):
            if n == 12:
                assert quiet.send_many(range(20), chunk=3, name="import") == Sent(10, 10)
                drain(app)
            yield n

    assert quiet.send_many(slower(), chunk=5, name="import") == Sent(10, 10)
    drain(app)
    assert got == list(range(20))


def test_an_element_for_which_another_stands_is_skipped(app, got):
    @app.task(name="once", unique=True)
    def once(n: int) -> None:
        got.append(n)

    once.delay(2)
    assert once.send_many([1, 2, 3, 1], name="import") == Sent(2, 2)
    drain(app)
    assert sorted(got) == [1, 2, 3]


def test_what_middleware_changes_and_refuses_holds_for_each_element(app, add, got):
    class Doubling(Middleware):
        def on_publish(self, call: Any, send: Any) -> Any:
            if call.args[0] == 13:
                raise TypeError("an unlucky number")
            call.args = (call.args[0] * 2,)
            return send(call)

    app.middleware.add(Doubling())
    assert add.send_many(range(3)) == Sent(3, 0)
    with pytest.raises(TypeError, match="an unlucky number"):
        add.send_many([1, 13])
    drain(app)
    assert got == [(0, 0), (2, 0), (4, 0)]


def test_a_name_is_of_its_task(app, add):
    @app.task(name="other")
    def other(n: int) -> None: ...

    assert add.send_many(range(3), name="import") == Sent(3, 0)
    assert other.send_many(range(3), name="import") == Sent(3, 0)


def test_a_file_that_was_set_back_is_told(app, add):
    """Its elements are gone, and the iterator is past them: the next call finds them."""

    def elements() -> Iterator[int]:
        yield from range(10)
        with app.storage.driver.write() as tx:
            tx.execute("UPDATE liteq_sends SET place = 5")
        yield from range(10, 15)

    with pytest.raises(LiteqError, match="older copy of it was restored"):
        add.send_many(elements(), chunk=5, name="import")


def test_a_large_element_and_a_message_of_a_task_go_the_same_way(app, add, got):
    @app.task(name="spread", bind=True)
    def spread(self, n: int) -> list[int]:
        done = add.send_many([("x" * 100_000, 1), (2, 2)], name=f"spread {n}")
        return [done.count, done.skipped]

    first, second = spread.delay(1), spread.delay(1)
    drain(app)
    assert (first.get(), second.get()) == ([2, 0], [0, 2])
    assert sorted(y for _, y in got) == [1, 2]
    assert len({child.id for child in first.children}) == 2


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        ((1, 2, 3), TypeError, r"element 12 of send_many\(\), counted from 0: .*too many positional"),
        (object(), NotSerializable, "element 12 .* is of type object"),
        ("x" * 3_000_000, PayloadTooLarge, "element 12 .* is 3,000,0"),
        ({1: 2}, TypeError, "element 12 .* has other keys"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"queue": "bulk"}])
def test_a_bad_element_is_named_by_its_place(app, add, bad, error, text, options):
    elements = [*range(12), bad, 13]
    with pytest.raises(error, match=text) as told:
        add.send_many(elements, chunk=5, name="import", **options)
    assert "the 10 elements before its chunk are sent" in str(told.value)
    assert sent(app) == 10
    elements[12] = 12
    assert add.send_many(elements, chunk=5, name="import", **options) == Sent(4, 10)


@pytest.mark.parametrize(
    ("given", "options", "error", "text"),
    [
        ("abc", {}, TypeError, "an iterable of elements"),
        (5, {}, TypeError, "an iterable of elements, one a call, not 5"),
        ({1}, {"name": "import"}, TypeError, "a set has none: sort it"),
        ([1], {"chunk": 0}, ValueError, "chunk is how many"),
        ([1], {"chunk": True}, ValueError, "chunk is how many"),
        ([1], {"task_id": "a"}, TypeError, "takes no task_id"),
        ([1], {"name": ""}, ValueError, "name of a send_many"),
        ([1], {"count_down": 5}, TypeError, "countdown"),
    ],
)
def test_a_call_that_means_nothing_is_refused(app, add, given, options, error, text):
    with pytest.raises(error, match=text):
        add.send_many(given, **options)
    assert sent(app) == 0


def test_an_async_iterator_needs_the_async_call(app, add):
    async def elements() -> AsyncIterator[int]:
        for n in range(25):
            yield n

    with pytest.raises(TypeError, match="asend_many"):
        add.send_many(elements())
    told: list[Sent] = []

    async def tell(now: Sent) -> None:
        await asyncio.sleep(0)
        told.append(now)

    async def main() -> None:
        assert await add.asend_many(elements(), chunk=10, name="import", progress=tell) == Sent(25, 0)
        assert await add.asend_many(range(26), chunk=10, name="import", progress=told.append) == Sent(1, 25)

    asyncio.run(main())
    assert told == [Sent(10, 0), Sent(20, 0), Sent(25, 0), Sent(0, 10), Sent(0, 20), Sent(1, 25)]


def test_an_eager_task_runs_each_at_once(app, add, got):
    app.conf.task_always_eager = True
    assert add.send_many([1, (2, 3)], name="import") == Sent(2, 0)
    assert got == [(1, 0), (2, 3)]
