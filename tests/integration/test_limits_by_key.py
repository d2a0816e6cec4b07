"""Limits by key as programs use them: options of tasks, `app.limits`, and answers of others, under workers that run."""

from __future__ import annotations

import importlib
import sys
import threading
import time

import pytest

from liteq import Limit, LiteQ, chain
from liteq.exceptions import RateLimited
from liteq.message import Batch, Message, new_id
from liteq.states import State
from liteq.testing import start_worker
from tests.integration.worker_process import Site, wait_for


@pytest.fixture
def app(tmp_path):
    with LiteQ("keyed", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False) as app:
        yield app


class Floor:
    """The tasks that run at the moment, by key; each until `go` is called."""

    def __init__(self):
        self.now, self.most, self.done = [], {}, []
        self._lock, self._go = threading.Lock(), threading.Event()

    def enter(self, key):
        with self._lock:
            self.now.append(key)
            self.most[key] = max(self.most.get(key, 0), self.now.count(key))
        assert self._go.wait(60)
        with self._lock:
            self.now.remove(key)
            self.done.append(key)

    def go(self):
        self._go.set()


@pytest.fixture
def floor():
    return Floor()


@pytest.fixture
def bill(app, floor):
    @app.task(name="bill", max_concurrency=1, concurrency_key="user:{user}")
    def bill(user):
        floor.enter(user)

    return bill


def wait_all(app, n):
    wait_for(lambda: count(app, State.SUCCEEDED) == n, what=f"{n} tasks succeeded")


def count(app, state):
    return sum(c.n for c in app.storage.reader.counts() if c.state is state)


def test_one_at_a_time_for_each_key(app, bill, floor):
    for user in (1, 1, 1, 2, 2):
        bill.delay(user)
    with start_worker(app, pool="threads", concurrency=4):
        wait_for(lambda: sorted(floor.now) == [1, 2] and count(app, State.HELD) == 3)
        assert app.limits.get("task:bill:user:1") == Limit("task:bill:user:1", None, 1, 1, 2, None, "")
        floor.go()
        wait_all(app, 5)
    assert floor.most == {1: 1, 2: 1}


def test_what_was_sent_without_the_code_is_limited_too(app, bill, floor, tmp_path):
    with LiteQ("gateway", broker=app.broker_url, set_as_current=False) as gateway:
        for user in (1, 1, 2):
            gateway.send_task("bill", (user,))
    with start_worker(app, pool="threads", concurrency=4):
        wait_for(lambda: sorted(floor.now) == [1, 2] and count(app, State.HELD) == 1)
        floor.go()
        wait_all(app, 3)
    assert floor.most == {1: 1, 2: 1}


def test_a_link_of_a_chain_is_limited_by_the_result_that_it_takes(app, bill, floor):
    @app.task(name="find")
    def find(user):
        return user

    for user in (1, 1, 2):
        chain(find.s(user), bill.s())()
    with start_worker(app, pool="threads", concurrency=4):
        wait_for(lambda: sorted(floor.now) == [1, 2] and count(app, State.HELD) == 1)
        floor.go()
        wait_all(app, 6)
    assert floor.most == {1: 1, 2: 1}


def test_turns_of_what_was_sent_without_the_code(app):
    order = []

    @app.task(name="work", fair_key="{tenant}")
    def work(tenant):
        order.append(tenant)

    rows = [Message(new_id(), "work", f'[["{tenant}"],{{}}]'.encode()) for tenant in "aaaab"]
    app.storage.enqueue(Batch(rows))
    with start_worker(app, pool="solo"):
        wait_all(app, 5)
    assert "b" in order[:3]


def test_a_limit_set_at_run_time_stands_until_the_code_says_something_new(app, bill):
    app.limits.set("task:bill:user:*", concurrent=3)

    def concurrent():
        with start_worker(app, pool="solo"):
            return app.limits.get("task:bill:user:7").concurrent

    assert concurrent() == 1  # the code had not been seen before
    app.limits.set("task:bill:user:*", concurrent=3)
    assert concurrent() == 3
    bill.max_concurrency = 2
    assert concurrent() == 2


def test_a_file_that_is_made_anew_under_its_workers_has_the_limits_of_the_code(app, bill, tmp_path):
    """They have declared them in the old one; without them, all of a key would run at once until a restart."""
    app.conf.visibility_timeout = 3.0  # it looks each second whether it is on the list
    key = "task:bill:user:*"
    with start_worker(app, pool="threads", concurrency=4):
        app.storage.close()
        for file in tmp_path.glob("q.db*"):
            file.unlink()
        app.storage.migrate()
        wait_for(lambda: [one.concurrent for one in app.limits.list()] == [1], what="it has declared them")
        app.storage.limits.declare({key: (None, 5)})  # as a worker of newer code does
        app.storage.unregister_worker(app.storage.reader.workers()[0].id)
        wait_for(app.storage.reader.workers, what="it has entered again")
    assert [(one.key, one.concurrent) for one in app.limits.list()] == [(key, 5)]


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_an_answer_that_says_later_pauses_the_key_for_all(app, pool):
    tried = []

    @app.task(name="ask", bind=True, limits=["api"], max_retries=0)
    def ask(self, n):
        tried.append((n, time.monotonic(), self.request.retries))
        if len(tried) == 1:
            raise RateLimited(3600)

    @app.task(name="other")
    def other():
        tried.append(("other", time.monotonic(), 0))

    first, second = ask.delay(1), ask.delay(2)
    with start_worker(app, pool=pool, concurrency=1):
        wait_for(lambda: tried)
        wait_for(lambda: app.limits.get("api").paused_until)
        assert app.limits.get("api").reason
        other.delay()
        wait_for(lambda: "other" in [n for n, *_ in tried])
        assert [n for n, *_ in tried] == [1, "other"]
        app.limits.resume("api")
        wait_all(app, 3)
        assert app.limits.get("api").paused_until is None
    assert [n for n, *_ in tried].count(1) == 2
    assert all(retries == 0 for *_, retries in tried)
    assert (first.state, second.state) == ("SUCCESS", "SUCCESS")


def test_without_keys_it_alone_is_put_off(app):
    tried = []

    @app.task(name="ask")
    def ask(n, later_s=0):
        tried.append(n)
        if tried.count(n) == 1 and later_s:
            raise RateLimited(later_s)

    put_off = ask.delay(1, 3600)
    ask.delay(2)
    ask.delay(3, 0.1)
    with start_worker(app, pool="solo"):
        wait_all(app, 2)
    assert tried == [1, 2, 3, 3]
    assert app.storage.reader.find(put_off.id).state is State.SCHEDULED
    assert app.limits.list() == []


ASKING = """
import os
from liteq import LiteQ
from liteq.exceptions import RateLimited

app = LiteQ("asking", broker=os.environ["WORKER_TEST_BROKER"])
app.limits.set("api", concurrent=1)


class Busy(Exception):
    status_code = 429
    headers = {"Retry-After": "0.3"}


@app.task(bind=True, limits=["api"], autoretry_for=(Busy,), max_retries=0)
def ask(self):
    with open(os.environ["WORKER_TEST_LEDGER"], "a") as ledger:
        ledger.write(f"asked {self.request.retries} -\\n")
    if len(open(os.environ["WORKER_TEST_LEDGER"]).readlines()) == 1:
        raise Busy
    return "in"
"""


def test_it_goes_over_the_pipe_of_a_process(tmp_path):
    (tmp_path / "asking.py").write_text(ASKING)
    site = Site(tmp_path, "asking")
    try:
        site.worker("-c", "1")
        asked = site.app.send_task("asking.ask")
        assert asked.get(timeout=60) == "in"
        assert site.notes("asked") == [["asked", "0", "-"], ["asked", "0", "-"]]
        assert site.app.limits.get("api").concurrent == 1
    finally:
        site.close()


# -- limits in code --------------------------------------------------------------------------------------------------

MODULE = """
from liteq import LiteQ

app = LiteQ("declared", broker={broker!r}, set_as_current=False)
app.limits.set("api", rate={rate!r})
"""


@pytest.fixture
def declared(tmp_path, monkeypatch):
    """Imports a module that sets a limit, anew each time; its app."""
    monkeypatch.syspath_prepend(tmp_path)
    broker = f"sqlite:///{tmp_path}/q.db"

    def load(rate):
        sys.modules.pop("declaring", None)
        (tmp_path / "declaring.py").write_text(MODULE.format(broker=broker, rate=rate))
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        return importlib.import_module("declaring").app

    yield load
    sys.modules.pop("declaring", None)


def test_an_import_needs_no_file(declared, tmp_path):
    app = declared("5/m")
    assert not (tmp_path / "q.db").exists()
    assert app.limits.get("api").rate == "5/m"
    app.close()


def test_what_a_module_sets_is_what_the_code_says(declared):
    def rate(code):
        with declared(code) as app:
            return app.limits.get("api").rate

    assert rate("5/m") == "5/m"
    with declared("5/m") as app:
        app.limits.set("api", rate="9/m")  # by an operator
    assert rate("5/m") == "9/m"
    assert rate("6/m") == "6/m"


def test_wrong_limits_are_refused(app):
    for wrong in ({"rate": "ten"}, {"concurrent": 0}):
        with pytest.raises(ValueError, match=r"is no rate|whole number from 1"):
            app.limits.set("api", **wrong)
    for wrong in ({"concurrent": "2"}, {"concurrent": True}):
        with pytest.raises(TypeError, match="concurrent is a whole number"):
            app.limits.set("api", **wrong)
    with pytest.raises(TypeError, match="the key of a limit is a string"):
        app.limits.get(7)
    with pytest.raises(ValueError, match="is not empty"):
        app.limits.set("", rate="5/m")
    for wrong in ("a\0b", "x" * 256):  # no message has such a key
        with pytest.raises(ValueError, match="the key of a limit"):
            app.limits.set(wrong, rate="5/m")
    with pytest.raises(ValueError, match="a pause is from 0"):
        app.limits.pause("api", float("nan"))
