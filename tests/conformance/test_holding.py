"""Messages that limits hold back, and those with a place, as a reader sees them: bounded, and where one stands."""

from __future__ import annotations

import pytest

from liteq.storage.reading.overview import Bounded

HOLD = "UPDATE liteq_messages SET state = 'held', held_by = ? WHERE id = ?"
LINE = """
INSERT INTO liteq_lines (key, queue, priority, waits, turn)
SELECT :line, queue, priority, :waits, 0 FROM liteq_messages WHERE id = :id
ON CONFLICT (key, queue, priority) DO UPDATE SET waits = excluded.waits
"""
TAKE = "INSERT INTO liteq_slots (key, seq, token, since_ms) SELECT ?, seq, 1, ? FROM liteq_messages WHERE id = ?"
LIMIT = "INSERT INTO liteq_limits (key, rate, concurrent, declared) VALUES (?, ?, ?, ?)"
KEY = "INSERT INTO liteq_keys (key, full_us, paused_ms, since_ms, reason) VALUES (?, ?, ?, ?, ?)"


@pytest.fixture
def hold(storage, send):
    """Send a message that stands in a line, which waits for a key; its id."""

    def hold_one(line: str, waits: str | None = "", **options: object) -> str:
        id_ = send(**options)
        with storage.driver.write() as tx:
            tx.execute(HOLD, (line, id_))
            tx.execute(LINE, {"line": line, "waits": line if waits == "" else waits, "id": id_})
        return id_

    return hold_one


@pytest.fixture
def take(storage, send, worker, clock):
    """Send a message that runs, and has a place under a key; its id."""

    def take_one(key: str, **options: object) -> str:
        id_ = send(**options)
        worker.claim()
        with storage.driver.write() as tx:
            tx.execute(TAKE, (key, clock.now_ms(), id_))
        return id_

    return take_one


def test_keys_that_something_waits_for_each_once_in_their_order(storage, hold):
    for key in ("user:2", "user:1", "user:2", "api"):
        hold(key)
    hold("fair:celery:a", waits=None)
    hold("user:3", waits="api")
    assert storage.views.waited_for(limit=9) == ["api", "user:1", "user:2"]
    assert storage.views.waited_for(limit=2) == ["api", "user:1"]
    assert storage.views.lines_of("api") == ["api", "user:3"]


def test_what_a_key_holds_by_queue_with_the_first_of_each(storage, hold, clock):
    start_ms = clock.now_ms()
    hold("user:1", id="late", due_ms=start_ms - 5)
    hold("user:1", id="early", due_ms=start_ms - 9)
    hold("user:1", id="urgent", due_ms=start_ms - 1, priority=9)
    hold("user:2", waits="user:1", id="of two keys", due_ms=start_ms - 2)
    hold("user:1", id="letter", queue="mail", due_ms=start_ms - 3)
    held, running = storage.views.holding("user:1")
    assert held == [
        ("celery", Bounded(4), "early", "t", start_ms - 9),
        ("mail", Bounded(1), "letter", "t", start_ms - 3),
    ]
    assert running == Bounded(0)


def test_a_pattern_holds_what_all_its_keys_hold(storage, hold, take):
    for key in ("user:1", "user:2", "api"):
        take(key)
        hold(key)
    held, running = storage.views.holding("user:*")
    assert ([one.n for one in held], running) == ([Bounded(2)], Bounded(2))
    assert storage.views.holding("user:*", limit=1) == ([held[0]._replace(n=Bounded(1, False))], Bounded(1, False))


@pytest.mark.parametrize("priorities", [(0, 0, 0), (0, 1, 2)])
def test_numbers_of_a_key_have_a_bound_and_say_so(storage, hold, take, priorities):
    for _ in range(4):
        take("user:1")
    for priority in priorities:
        hold("user:1", priority=priority)
    held, running = storage.views.holding("user:1", limit=2)
    assert [one.n for one in held] == [Bounded(2, exact=False)]
    assert running == Bounded(2, exact=False)
    held, running = storage.views.holding("user:1", limit=4)
    assert ([one.n for one in held], running) == ([Bounded(3)], Bounded(4))


def test_the_keys_that_take_turns_in_a_queue(storage, hold, clock):
    for key in ("b", "a", "b"):
        hold(f"fair:celery:{key}", waits=None)
    hold("fair:celery-2:a", waits=None, queue="celery-2")
    hold("fair:mail:a", waits=None, queue="mail")
    turns = storage.views.turns("celery", keys=5, limit=1)
    assert [(line, one.n) for line, one in turns] == [
        ("fair:celery:a", Bounded(1)),
        ("fair:celery:b", Bounded(1, exact=False)),
    ]
    assert len(storage.views.turns("celery", keys=1, limit=9)) == 1


def test_which_messages_have_the_places_under_a_key(storage, take, clock):
    first = take("user:1")
    clock.advance(seconds=1)
    second = take("user:1")
    take("user:2")
    now_ms = clock.now_ms()
    places = storage.views.places("user:1")
    assert [(one.id, one.since_ms, one.worker) for one in places] == [
        (first, now_ms - 1_000, "a"),
        (second, now_ms, "a"),
    ]
    assert [one.id for one in storage.views.places("user:1", limit=1)] == [first]
    assert storage.views.places_of(first) == {"user:1": now_ms - 1_000}


def test_where_a_held_message_stands(storage, hold, send, clock):
    due_ms = clock.now_ms() - 100
    for n in range(3):
        hold("user:1", waits="api", id=f"m{n}", due_ms=due_ms + n)
    hold("user:1", id="urgent", due_ms=due_ms + 50, priority=5)
    hold("user:1", id="elsewhere", queue="mail", due_ms=due_ms)
    hold("user:2", id="another", due_ms=due_ms)
    where = storage.views.waits("m2")
    assert where == ("user:1", "api", "celery", due_ms + 2, Bounded(3))  # m0, m1 and the urgent one
    assert storage.views.waits("urgent").ahead == Bounded(0)
    assert storage.views.waits(send(id="free")) is None


def test_limits_and_the_state_of_keys(storage, clock):
    now_ms = clock.now_ms()
    with storage.driver.write() as tx:
        for key in ("user:*", "user:4*", "api"):
            tx.execute(LIMIT, (key, "5/m", 2, None))
        for key, paused_ms in (("b", now_ms + 1), ("a", now_ms + 1), ("used", None), ("over", now_ms - 1)):
            tx.execute(KEY, (key, 7, paused_ms, now_ms, "429"))
    rules = storage.views.limits()
    assert [rules.of(key).key for key in ("api", "user:1", "user:42")] == ["api", "user:*", "user:4*"]
    assert rules.of("other") is None
    assert storage.views.paused_keys() == ["a", "b"]
    assert storage.views.key_row("a") == (7, now_ms + 1, now_ms, "429")
    assert storage.views.key_row("z") is None
