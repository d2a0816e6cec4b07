"""Limits as documents and in `why`: what holds a task back, which have the places, and for whose eyes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson
import pytest

from liteq import LiteQ
from liteq.context import identity
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.messages import document
from liteq.monitor.tasks.limits import limit, limits
from liteq.monitor.tasks.queues import queue
from liteq.monitor.tasks.tasks import task, tasks
from liteq.monitor.tasks.why import REASONS, explain
from liteq.operating import Actor
from liteq.operating.limits import act_on_limit
from liteq.testing import FakeClock

LIMIT = "INSERT INTO liteq_limits (key, rate, concurrent, declared) VALUES (:key, :rate, :concurrent, :declared)"
KEY = "INSERT INTO liteq_keys (key, full_us, paused_ms, reason) VALUES (:key, :full_us, :paused_ms, :reason)"
HOLD = "UPDATE liteq_messages SET state = 'held', held_by = :line, keys = :keys WHERE id = :id"
LINE = """
INSERT INTO liteq_lines (key, queue, priority, waits, turn)
SELECT :line, queue, priority, :waits, 0 FROM liteq_messages WHERE id = :id
ON CONFLICT (key, queue, priority) DO NOTHING
"""
TAKE = "INSERT INTO liteq_slots (key, seq, token, since_ms) SELECT ?, seq, 1, ? FROM liteq_messages WHERE id = ?"
BLIND = Sight(payloads=False)


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", clock=FakeClock())

    @app.task(name="shop.pay", sensitive=["card"])
    def pay(user: str, card: str = "") -> None: ...

    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def allow(app) -> Callable[..., None]:
    """A limit as its engine leaves it in the file."""

    def add(key: str, *, full_us: int = 0, paused_ms: int | None = None, reason: str = "", **columns: object) -> None:
        row = {"rate": None, "concurrent": None, "declared": None, **columns, "key": key}
        with app.storage.driver.write() as tx:
            if columns:
                tx.execute(LIMIT, row)
            if full_us or paused_ms:
                tx.execute(KEY, {"key": key, "full_us": full_us, "paused_ms": paused_ms, "reason": reason})

    return add


@pytest.fixture
def hold(app) -> Callable[..., str]:
    """Send a task that stands in the line of a key, which waits for that key or another; its id."""

    def send(line: str, *args: str, waits: str | None = "", queue: str = "celery", **options: object) -> str:
        id_ = app.tasks["shop.pay"].apply_async(args or ("ann",), queue=queue, **options).id
        fair = line.startswith("fair:")
        waits = (None if fair else line) if waits == "" else waits
        keys = orjson.dumps([line if fair else None, *([] if fair else [line])]).decode()
        with app.storage.driver.write() as tx:
            tx.execute(HOLD, {"line": line, "keys": keys, "id": id_})
            tx.execute(LINE, {"line": line, "waits": waits, "id": id_})
        return id_

    return send


@pytest.fixture
def run(app) -> Callable[..., str]:
    """Send a task that runs, and has the place `key`; its id."""
    number = app.storage.register_worker(identity.me("w1@here"), b"{}")

    def send(key: str, *, queue: str = "celery") -> str:
        id_ = app.tasks["shop.pay"].apply_async(("ann",), queue=queue).id
        assert app.storage.claim([queue], worker=number, limit=1, visibility_s=60)
        with app.storage.driver.write() as tx:
            tx.execute(TAKE, (key, app.clock.now_ms(), id_))
        return id_

    return send


def why(app: LiteQ, id_: str, see: Sight = ALL) -> dict:
    found = explain(app, id_, see)
    assert found["reason"] in REASONS
    return found


# -- why it is held ----------------------------------------------------------------------------------------------------


def test_a_place_that_others_have(app, allow, run, hold):
    allow("user:*", concurrent=1)
    holder, first, second = run("user:ann"), hold("user:ann"), hold("user:ann")
    app.clock.advance(seconds=41)
    found = why(app, second)
    assert found["reason"] == "limit"
    assert found["text"].startswith("The limit 'user:ann' has held it back for 41 s: 1 may run at once, and that place")
    since = found["details"]["holders"][0]["since_iso"]
    assert f"by shop.pay ({holder}) on w1@here since {since}. 1 of its line go before it." in found["text"]
    details = found["details"]
    assert (details["lacks"], details["of"], details["ahead"]) == ("place", "user:*", {"n": 1, "exact": True})
    assert [one["id"] for one in details["holders"]] == [holder]
    assert details["since"] == app.clock.now_ms() - 41_000
    assert "It is the next of its line." in why(app, first)["text"]


def test_a_rate_without_a_token(app, allow, hold):
    allow("api", rate="6/m", full_us=(app.clock.now_ms() + 10_000) * 1_000)
    found = why(app, hold("api"))
    assert found["details"]["lacks"] == "token"
    assert "6/m may start, and the next token comes in 10 s." in found["text"]


def test_a_pause_that_an_answer_of_others_asked_for(app, allow, hold):
    allow("api", rate="6/m", paused_ms=app.clock.now_ms() + 30_000, reason="429 Too Many Requests")
    id_ = hold("api")
    found = why(app, id_)
    assert found["details"]["lacks"] == "pause"
    assert "(429 Too Many Requests)" in found["text"]
    assert found["details"]["paused"]["until"] == app.clock.now_ms() + 30_000
    app.clock.advance(seconds=31)
    assert "it has room for it now" in why(app, id_)["text"]


def test_the_turns_of_other_keys(app, hold):
    ids = [hold(f"fair:celery:{key}") for key in ("a", "b", "b")]
    hold("fair:mail:c", queue="mail")
    found = why(app, ids[2])
    assert found["reason"] == "turn"
    assert "the turn of its key 'b' in the queue 'celery': another key waits too. 1 of its line go" in found["text"]
    assert found["details"]["keys"] == {"n": 1, "exact": True}


def test_the_task_tells_the_limits_that_it_goes_by(app, allow, run, hold):
    allow("user:*", concurrent=1)
    allow("task:shop.pay", concurrent=9)
    holder, held = run("user:ann"), hold("user:ann")
    mine = {one["key"]: one for one in task(app, held)["limits"]}
    assert {key: one["lacks"] for key, one in mine.items()} == {"user:ann": "place", "task:shop.pay": None}
    assert [one["id"] for one in mine["user:ann"]["holders"]] == [holder]
    assert mine["user:ann"]["concurrent"] == 1
    assert {one["key"]: one["taken"] for one in task(app, holder)["limits"]} == {
        "user:ann": app.clock.now_ms(),
        "task:shop.pay": None,
    }


# -- lists -------------------------------------------------------------------------------------------------------------


def test_limits_and_the_keys_that_hold_something(app, allow, run, hold):
    allow("user:*", concurrent=2, declared="[null,2]")
    allow("api", rate="100/m")
    run("user:bob")
    hold("user:ann")
    hold("user:ann", queue="mail")
    hold("fair:celery:a")
    app.clock.advance(seconds=5)
    items = {one["key"]: one for one in limits(app)["items"]}
    assert sorted(items) == ["api", "user:*", "user:ann"]
    ann = items["user:ann"]
    assert (ann["of"], ann["concurrent"], ann["held"], ann["queues"]) == (
        "user:*", 2, {"n": 2, "exact": True}, ["celery", "mail"],
    )  # fmt: skip
    assert ann["head_wait_s"] == 5
    every = items["user:*"]
    declared = {"rate": None, "concurrent": 2, "tokens": None}
    assert (every["declared"], every["held"]["n"], every["running"]["n"]) == (declared, 2, 1)
    assert items["api"]["rate"] == "100/m"


def test_pages_of_limits_follow_each_other(app, allow, hold):
    keys = sorted([f"l:{n}" for n in range(120)] + [f"held:{n}" for n in range(30)] + [f"z:{n}" for n in range(5)])
    for key in keys:
        hold(key) if key.startswith(("held", "z")) else allow(key, concurrent=1)
    hold("fair:celery:a")
    seen, after = [], None
    while after is not None or not seen:
        page = limits(app, after)
        seen, after = seen + [one["key"] for one in page["items"]], page["next"]
        assert len(page["items"]) <= 50
    assert seen == keys
    with pytest.raises(ValueError, match="no mark of this list"):
        limits(app, "user:ann")


def test_one_limit_with_its_queues_and_its_holders(app, allow, run, hold):
    allow("user:*", concurrent=1)
    holder, head = run("user:ann"), hold("user:ann", queue="mail")
    found = limit(app, "user:ann")
    assert [(one["queue"], one["held"]["n"], one["head"]) for one in found["by_queue"]] == [("mail", 1, head)]
    assert [(one["id"], one["worker"]) for one in found["holders"]] == [(holder, "w1@here")]
    assert limit(app, "user:nobody") is None


def test_a_queue_tells_the_keys_that_take_turns(app, hold):
    first = hold("fair:celery:a")
    app.clock.advance(seconds=7)
    hold("fair:celery:a")
    hold("fair:celery:b")
    turns = queue(app, "celery")["turns"]
    assert [(one["key"], one["held"]["n"], one["head_wait_s"]) for one in turns] == [("a", 2, 7), ("b", 1, 0)]
    assert turns[0]["head"] == first
    assert [one["key"] for one in queue(app, "celery", BLIND)["turns"]] == ["***", "***"]
    assert queue(app, "celery")["held"] == {"n": 3, "exact": True}


def test_turns_as_the_engine_leaves_them(app):
    number = app.storage.register_worker(identity.me("w1@here"), b"{}")

    @app.task(name="shop.mail", fair_key="{tenant}")
    def mail(tenant: str, n: int) -> None: ...

    ids = {(tenant, n): mail.delay(tenant, n).id for tenant in "ab" for n in range(4)}
    first = app.storage.claim(["celery"], worker=number, limit=2, visibility_s=60)
    assert {one.id for one in first} == {ids["a", 0], ids["b", 0]}
    turns = {one["key"]: one["held"]["n"] for one in queue(app, "celery")["turns"]}
    assert turns == {"a": 3, "b": 3}
    found = why(app, ids["b", 3])
    assert (found["reason"], found["details"]["keys"]["n"]) == ("turn", 1)
    assert "2 of its line go before it" in found["text"]
    (line,) = [one for one in tasks(app, "state:held")["items"] if one["id"] == ids["b", 3]]
    assert (line["waits_for"], document(app, app.storage.reader.find(ids["b", 3]))["waits_for"]) == (
        "b",
        "b",
    )


# -- for whose eyes ----------------------------------------------------------------------------------------------------


def test_a_viewer_of_one_queue_sees_what_is_there(app, allow, run, hold):
    allow("user:*", concurrent=1)
    allow("queue:mail", concurrent=4)
    run("user:ann")
    hold("user:ann", queue="mail")
    hold("user:bob")
    mail = Sight(("mail",))
    items = {one["key"]: one for one in limits(app, see=mail)["items"]}
    assert sorted(items) == ["queue:mail", "user:*", "user:ann"]
    assert items["user:*"]["held"] == {"n": 1, "exact": True}
    assert items["user:ann"]["running"] == {"n": 0, "exact": True}
    assert limit(app, "user:ann", mail)["holders"] == []
    assert limit(app, "user:bob", mail) is None


def test_keys_are_cut_where_arguments_may_not_be_seen(app, allow, run, hold):
    allow("user:*", concurrent=1)
    allow("global", concurrent=1, declared="[null,1]")
    run("user:ann@example.org")
    id_ = hold("user:ann@example.org")
    hold("fair:celery:ann@example.org")
    hold("global")
    found = limits(app, see=BLIND)
    assert [one["key"] for one in found["items"]] == ["global", "user:*", "user:***"]
    told = orjson.dumps([found, task(app, id_, BLIND), why(app, id_, BLIND)]).decode()
    assert "example.org" not in told
    assert limit(app, "user:ann@example.org", BLIND) is None
    assert limit(app, "user:*", BLIND)["concurrent"] == 1
    with pytest.raises(ValueError, match="right `payloads`"):
        tasks(app, "limit:user:ann@example.org", see=BLIND)


def test_a_key_that_quotes_a_sensitive_argument_is_hidden(app, allow, hold):
    allow("card:*", concurrent=1)
    id_ = hold("card:4242424242424242", "ann", "4242424242424242")
    told = orjson.dumps([limits(app), task(app, id_), why(app, id_)]).decode()
    assert "42424242" not in told
    assert [one["key"] for one in limits(app)["items"]] == ["card:*", "card:***"]


def test_the_search_finds_what_a_key_holds(app, hold):
    ids = [hold("user:ann"), hold("user:ann", queue="mail")]
    through = hold("user:cis", waits="api")
    assert [one["id"] for one in tasks(app, "limit:api")["items"]] == [through]
    hold("user:bob")
    assert {one["id"] for one in tasks(app, "limit:user:ann")["items"]} == set(ids)
    assert [one["id"] for one in tasks(app, "limit:user:ann queue:mail")["items"]] == ids[1:]
    assert len(tasks(app, "state:held")["items"]) == 4
    assert [one["id"] for one in tasks(app, "state:held queue:mail")["items"]] == ids[1:]


def test_a_limit_is_changed_by_those_who_see_all_queues(app):
    by, mail = Actor("eve", "api"), Sight(("mail",))
    with pytest.raises(ValueError, match="only a viewer of all queues"):
        act_on_limit(app, "set", "user:*", by=by, see=mail, concurrent=1)
    assert list(app.storage.limits.list()) == []
    done = act_on_limit(app, "set", "queue:mail", by=by, see=mail, concurrent=2)
    assert (done.message, done.command) == (
        "queue:mail: 2 run at once.",
        "liteq limits set queue:mail --concurrent 2",
    )
    assert [(one.action, one.target, one.queue) for one in app.storage.audit.page()] == [
        ("limit set", "queue:mail", "mail")
    ]
