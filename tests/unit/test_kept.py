"""Tags, kept logs and cursors of tasks: what a call may say, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from liteq import Debounce, LiteQ, chain, group
from liteq.context import LEAVING
from liteq.exceptions import LeaseLost, PayloadTooLarge, StorageError, TaskInterrupted
from liteq.execution import cursors, telling
from liteq.message import Flag, Lease
from liteq.monitor.tasks.tasks import task as task_document
from liteq.monitor.tasks.tasks import tasks
from liteq.operating.resend import again
from liteq.storage.operating.audit import Actor
from liteq.testing import FakeClock, drain


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    with LiteQ("kept", broker=f"sqlite:///{tmp_path}/q.db") as made:
        yield made


def found(app: LiteQ, q: str) -> set[str]:
    return {line["id"] for line in tasks(app, q)["items"]}


def flags(app: LiteQ, id_: str) -> int:
    record = app.storage.reader.find(id_)
    assert record is not None
    return record.flags


# -- tags ------------------------------------------------------------------------------------------------------------


def test_a_task_is_found_by_its_own_tags_and_by_those_of_its_call(app):
    @app.task(tags=("billing",))
    def charge(n): ...

    one = charge.delay(1).id
    two = charge.apply_async((2,), tags=["tenant:a", "billing"]).id
    assert found(app, "tag:billing") == {one, two}
    assert found(app, "tag:tenant:a") == {two}
    assert found(app, "tag:tenant:a state:succeeded") == set()
    assert task_document(app, two)["tags"] == ["billing", "tenant:a"]


def test_tags_go_with_every_way_of_sending(app):
    @app.task(tags=("t",))
    def add(x, y=0): ...

    ids = {result.id for result in (add.delay(1), app.send_task(add.name, (1,)), add.s(1).apply_async())}
    line = chain(add.s(1), add.s(2)).apply_async()
    ids |= {line.id, line.parent.id}
    ids |= {child.id for child in group(add.s(n) for n in range(3)).apply_async().children}
    add.send_many(range(3))
    app.enqueue_many(add, [(1,), (2,)])
    known = found(app, "tag:t")
    assert ids < known
    assert len(known) == len(ids) + 5


def test_a_workflow_has_the_tags_of_a_call_too(app):
    @app.workflow
    async def order(): ...

    ids = [order.options(tags=["vip"]).start().id, app.send_task(order.name, tags=["vip"]).id]
    assert found(app, "tag:vip") == set(ids)
    assert [task_document(app, id_)["tags"] for id_ in ids] == [["vip"], ["vip"]]
    with pytest.raises(TypeError, match="log_keep= is of tasks"):
        app.send_task(order.name, log_keep="1h")


def test_the_last_call_of_a_debounce_decides_the_tags(app):
    @app.task(unique=Debounce(60))
    def index(n): ...

    one = index.apply_async((1,), tags=["first"])
    two = index.apply_async((2,), tags=["second"])
    assert one.id == two.id
    assert (found(app, "tag:first"), found(app, "tag:second")) == (set(), {one.id})


def test_what_is_sent_once_more_has_the_tags_of_the_old_one(app):
    @app.task(tags=("t",))
    def add(x): ...

    record = app.storage.reader.find(add.delay(1).id)
    message = again(app, record, "new", Actor("ann", "cli"))
    assert message.tags == ("t",)
    assert message.flags & Flag.TAGGED


def test_a_plain_call_has_no_mark(app):
    @app.task
    def add(x): ...

    assert flags(app, add.delay(1).id) == 0
    assert flags(app, add.apply_async((1,), tags=[], log_keep=None).id) == 0


@pytest.mark.parametrize(
    ("tags", "error", "says"),
    [
        ("nightly", TypeError, r'tags is a list of words, as \["nightly", "tenant:a"\], not \'nightly\''),
        ([1], TypeError, "a tag is a string, not 1"),
        ([""], ValueError, "a tag has 1 to 255 characters"),
        ([str(n) for n in range(51)], ValueError, "50 tags at most, not 51"),
    ],
)
def test_tags_that_are_none_are_refused_where_they_are_said(app, tags, error, says):
    @app.task
    def add(x): ...

    with pytest.raises(error, match=says):
        add.apply_async((1,), tags=tags)
    with pytest.raises(error, match=says):
        app.task(name="other", tags=tags)(lambda: None)
    assert found(app, "") == set()


# -- log_keep --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "ms"), [(60, 60_000), ("1d", 86_400_000), (timedelta(hours=1), 3_600_000), (0, 0)])
def test_a_call_says_how_long_its_log_is_kept(app, keep, ms):
    @app.task
    def add(x): ...

    id_ = add.apply_async((1,), log_keep=keep).id
    record = app.storage.reader.find(id_)
    assert orjson.loads(record.options)["log_keep"] == ms
    assert record.flags & Flag.LOGS


@pytest.mark.parametrize(
    ("keep", "error"), [("1 fortnight", ValueError), (-1, ValueError), (True, TypeError), ([], TypeError)]
)
def test_a_log_keep_that_is_no_time_is_refused_where_it_is_said(app, keep, error):
    @app.task
    def add(x): ...

    with pytest.raises(error, match="log_keep is"):
        add.apply_async((1,), log_keep=keep)
    with pytest.raises(error, match="task 'other': log_keep is"):
        app.task(name="other", log_keep=keep)(lambda: None)


def test_a_file_that_cannot_be_opened_for_a_log_costs_the_log_and_not_the_task(app, monkeypatch, caplog):
    """A process opens it with the first task whose log is kept."""

    @app.task(log_keep="1h")
    def add(x):
        return x + 1

    def locked(*_):
        raise StorageError("locked")

    monkeypatch.setattr(telling.Telling, "__init__", locked)
    result = add.delay(1)
    drain(app)
    assert result.get(timeout=60) == 2
    assert "is not kept: locked" in caplog.text


@pytest.mark.parametrize(("name", "near"), [("log_kept", "log_keep"), ("tag", "tags")])
def test_a_misspelt_name_is_refused_with_the_nearest(app, name, near):
    @app.task
    def add(x): ...

    with pytest.raises(TypeError, match=near):
        add.apply_async((1,), **{name: ["x"]})


# -- cursors ---------------------------------------------------------------------------------------------------------


class Kept:
    """The storage of cursors, which notes what is written."""

    def __init__(self, before: bytes | None = None) -> None:
        self.saved: list[bytes] = []
        self.before = before
        self.again = threading.Event()
        self.lost = False
        self.error: Exception | None = None

    def save_cursor(self, _lease: tuple[int, int], cursor: bytes) -> bool:
        if self.error is not None:
            raise self.error
        self.saved.append(cursor)
        self.again.set()
        return not self.lost

    def cursor(self, _seq: int) -> bytes | None:
        return self.before


class World:
    """The little that a cursor needs of an app, and of the request of an execution."""

    def __init__(self, kept: Kept, flags: int = 0) -> None:
        self.clock = FakeClock()
        self.storage = self
        self.kept = kept
        self.conf = self
        self.max_result_bytes = 1_000
        self._lease = Lease(1, 7, "id", "t", b"", None, "celery", 0, 0, None, 0, 0, flags, None, None, None, None)

        self.leaves = False
        self._loop = None

    def cursor(self) -> cursors.Cursor:
        token = LEAVING.set(lambda: self.leaves)
        try:
            return cursors.Cursor(self, self)  # type: ignore[arg-type]
        finally:
            LEAVING.reset(token)


def test_a_cursor_is_written_once_a_second_and_the_last_one_at_the_end():
    kept = Kept()
    world = World(kept)
    cursor = world.cursor()
    assert cursor.value is None
    for n in range(1_000):
        cursor.save(n)
        assert cursor.value == n
    assert kept.saved == [b"0"]
    world.clock.advance(seconds=1.1)
    cursor.save(1_000)
    cursor.save(1_001)
    assert kept.saved == [b"0", b"1000"]
    cursor.close(done=False)
    assert kept.saved == [b"0", b"1000", b"1001"]


def test_a_cursor_that_was_held_back_is_written_while_the_task_is_busy(monkeypatch):
    monkeypatch.setattr(cursors, "CURSOR_S", 0.01)
    kept = Kept()
    cursor = World(kept).cursor()
    cursor.save(1)
    kept.again.clear()
    cursor.save(2)
    assert kept.again.wait(60)
    assert kept.saved == [b"1", b"2"]


def test_a_task_that_is_done_writes_no_cursor():
    kept = Kept()
    cursor = World(kept).cursor()
    cursor.save(1)
    cursor.save(2)
    cursor.close(done=True)
    assert kept.saved == [b"1"]


def test_a_cursor_is_what_it_was_when_it_was_saved():
    kept = Kept()
    cursor, value = World(kept).cursor(), {"rows": [1]}
    cursor.save(value)
    value["rows"].append(2)
    assert cursor.value == {"rows": [1]}


def test_a_task_that_is_to_leave_is_told_and_its_cursor_is_written_at_its_end():
    """Also where a write has just been; it is told again, where its body lets nothing through."""
    kept = Kept()
    world = World(kept)
    cursor = world.cursor()
    cursor.save(1)
    world.leaves = True
    for n in (2, 3):
        with pytest.raises(TaskInterrupted):
            cursor.save(n)
    assert cursor.interrupted
    cursor.close(done=False)
    assert kept.saved == [b"1", b"3"]
    assert not issubclass(TaskInterrupted, Exception)


def test_a_write_that_fails_stops_no_work_and_the_next_one_brings_it(caplog):
    kept = Kept()
    world = World(kept)
    cursor = world.cursor()
    kept.error = StorageError("the disk is full")
    cursor.save(1)
    assert "is not written yet: the disk is full" in caplog.text
    kept.error = None
    cursor.close(done=False)
    assert kept.saved == [b"1"]


def test_an_execution_that_has_lost_its_lease_learns_of_it():
    kept = Kept()
    kept.lost = True
    with pytest.raises(LeaseLost):
        World(kept).cursor().save(1)


def test_a_cursor_that_was_saved_before_is_read_where_the_row_says_so():
    assert World(Kept(b"17")).cursor().value is None
    assert World(Kept(b"17"), Flag.CURSOR).cursor().value == 17


def test_a_cursor_has_a_largest_size():
    with pytest.raises(PayloadTooLarge, match="a cursor is"):
        World(Kept()).cursor().save("x" * 2_000)


def test_an_eager_task_has_its_cursor_and_a_plain_call_has_none(app):
    seen: list[Any] = []

    @app.task(bind=True)
    def export(self):
        seen.append(self.cursor)
        self.save_cursor([1])
        seen.append(self.cursor)

    export.apply(throw=True)
    assert seen == [None, [1]]
    export()
    assert seen == [None, [1], None, None]


def test_a_batch_and_a_workflow_have_no_cursor(app):
    @app.task(bind=True, batch=2)
    def together(self, items):
        self.save_cursor(1)

    results = [together.delay(n) for n in range(2)]
    drain(app)
    for result in results:
        with pytest.raises(RuntimeError, match="a batch of messages has no cursor"):
            result.get(timeout=0)
