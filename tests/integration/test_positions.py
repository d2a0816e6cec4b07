"""Read your writes: a replica is waited for until it shows what was sent."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from liteq import LiteQ, group
from liteq.clock import FakeClock
from liteq.exceptions import NotYetThere
from liteq.result import position as position_room
from liteq.result.position import Position, exchange
from liteq.testing import drain
from tests.followers import copy_to, followed


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def app(tmp_path: Path, clock):
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False, clock=clock)
    app.task(name="add")(lambda a, b: a + b)
    app.task(name="hushed", ignore_result=True)(lambda: None)
    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def replica(app, tmp_path: Path):
    """`replica.catch_up()` brings it up to date; it begins as an empty queue."""
    with Replica(app, tmp_path / "replica") as made:
        yield made


class Replica(LiteQ):
    def __init__(self, app: LiteQ, folder: Path) -> None:
        folder.mkdir()
        self.leader, self.path = app, folder / "q.db"
        self.catch_up()
        super().__init__("board", broker=f"sqlite:///{self.path}?mode=ro", set_as_current=False)

    def catch_up(self) -> None:
        copy_to(self.path, self.leader)


def test_a_replica_that_is_behind_says_so_and_by_how_much(app, replica):
    result = app.send_task("add", (1, 2))
    drain(app)
    position = result.position
    with pytest.raises(NotYetThere, match="not yet as far") as raised:
        replica.AsyncResult(result.id).get(timeout=0, after=position)
    assert raised.value.position == position
    assert 0 <= raised.value.behind_s < 60
    assert isinstance(raised.value, TimeoutError)
    replica.catch_up()
    assert replica.AsyncResult(result.id).get(timeout=60, after=position) == 3


def test_it_waits_until_the_replica_is_there_and_then_for_the_result(app, replica):
    result = app.send_task("add", (1, 2))
    position, got = result.position, []
    waiter = threading.Thread(
        target=lambda: got.append(replica.AsyncResult(result.id).get(timeout=60, after=position)), daemon=True
    )
    waiter.start()
    replica.catch_up()
    drain(app)
    replica.catch_up()
    waiter.join(60)
    assert got == [3]


def test_a_long_wait_without_end_says_what_it_waits_for(app, replica, monkeypatch, caplog):
    monkeypatch.setattr(position_room, "LONG_S", 0.0)
    result = app.send_task("add", (1, 2))
    position, got = result.position, []
    waiter = threading.Thread(
        target=lambda: got.append(replica.AsyncResult(result.id).get(after=position)), daemon=True
    )
    waiter.start()
    until = time.monotonic() + 60
    while "see whether its follower still runs" not in caplog.text and time.monotonic() < until:
        time.sleep(0.01)
    drain(app)
    replica.catch_up()
    waiter.join(60)
    assert got == [3]
    assert caplog.text.count("is not yet as far as") == 1


def test_groups_and_async_code_wait_likewise(app, replica):
    result = app.send_task("add", (1, 2))
    many = group(app.signature("add", (n, n)) for n in range(3)).apply_async()
    drain(app)
    with pytest.raises(NotYetThere):
        replica.GroupResult(many.id, [replica.AsyncResult(one.id) for one in many]).get(timeout=0, after=many.position)
    with pytest.raises(NotYetThere):
        asyncio.run(replica.AsyncResult(result.id).aget(timeout=0, after=result.position))
    replica.catch_up()
    seen = replica.GroupResult(many.id, [replica.AsyncResult(one.id) for one in many])
    assert seen.get(timeout=60, after=many.position) == [0, 2, 4]
    assert asyncio.run(replica.AsyncResult(result.id).aget(timeout=60, after=result.position)) == 3


def test_what_has_gone_since_is_told_by_what_came_later(app, replica, clock):
    gone = app.send_task("hushed")
    drain(app)
    assert not gone.exists()
    position = gone.position
    replica.catch_up()
    assert not replica.storage.reader.has_reached(*Position.parse(position)[::-1])  # nothing says that it is there
    clock.advance(1)
    app.send_task("add", (1, 2))
    replica.catch_up()
    replica.AsyncResult(gone.id)  # no result: only the position is waited for
    assert replica.storage.reader.has_reached(*Position.parse(position)[::-1])


def test_an_id_that_is_sent_again_is_another_commit(app, replica, clock):
    app.send_task("add", (1, 2), task_id="mine")
    drain(app)
    replica.catch_up()
    clock.advance(1)
    again = app.send_task("add", (5, 5), task_id="mine")
    with pytest.raises(NotYetThere):
        replica.AsyncResult("mine").get(timeout=0, after=again.position)


def test_the_queue_itself_is_never_behind(app):
    result = app.send_task("add", (1, 2))
    drain(app)
    assert result.get(timeout=60, after=str(Position(2**50, 0, "elsewhere"))) == 3


@pytest.mark.parametrize("text", ["", "7", "x.y.z", "1.2.", "-1.0.a", "1.0.a b"])
def test_a_text_that_is_no_position_is_refused(app, text):
    with pytest.raises(ValueError, match="is no position"):
        app.AsyncResult("one").get(timeout=0, after=text)


@pytest.mark.parametrize("id_", ["a b", "ü;,=", 'x"\\', "1.2.3"])
def test_any_id_goes_into_a_header(id_):
    text = str(Position(7, 3, id_))
    assert text.isascii()
    assert not set(text) & set(' ;,="\\')
    assert Position.parse(text) == (7, 3, id_)


def test_a_request_that_brings_a_position_is_waited_for(app, replica):
    result = app.send_task("add", (1, 2))
    drain(app)
    for header, cookie in ((result.position, None), (None, result.position), ("rubbish", result.position)):
        with exchange(header, cookie) as here, pytest.raises(NotYetThere):
            replica.AsyncResult(result.id).get(timeout=0)
        assert here.position(app) is None
    replica.catch_up()
    with exchange(result.position, None):
        assert replica.AsyncResult(result.id).get(timeout=0) == 3


def test_a_position_of_the_future_holds_nobody_up(app, replica):
    result = app.send_task("add", (1, 2))
    drain(app)
    replica.catch_up()
    with exchange(str(Position(2**50, 0, "never")), "rubbish"):
        assert replica.AsyncResult(result.id).get(timeout=60) == 3


@pytest.mark.parametrize(
    "send",
    [
        lambda app: app.send_task("add", (1, 2)).id,
        lambda app: app.tasks["add"].delay(1, 2).id,
        lambda app: asyncio.run(app.tasks["add"].adelay(1, 2)).id,
        lambda app: app.tasks["add"].apply_async((1, 2), countdown=5).id,
        lambda app: app.signature("add", (1, 2)).apply_async().id,
        lambda app: app.enqueue_many(app.tasks["add"], [(1, 2), (3, 4)])[-1],
    ],
)
def test_an_answer_has_the_position_of_what_was_sent_last(app, send):
    with exchange(None, None) as here:
        app.send_task("add", (0, 0))
        id_ = send(app)
        position = here.position(app)
    assert Position.parse(position).id == id_
    with exchange(None, None) as here:
        app.AsyncResult(id_).ready()
        assert here.position(app) is None


def test_a_real_follower_is_waited_for(tmp_path):
    with LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False) as app:
        app.task(name="add")(lambda a, b: a + b)
        app.storage.migrate()
        with (
            followed(tmp_path / "q.db", tmp_path / "ls") as pair,
            LiteQ("board", broker=pair.url, set_as_current=False) as board,
        ):
            for n in range(5):
                result = app.send_task("add", (n, n))
                drain(app)
                assert board.AsyncResult(result.id).get(timeout=60, after=result.position) == 2 * n
