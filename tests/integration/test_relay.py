"""The relay: what is sent into a file here is in the gateway's queue once, and its results come back."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from liteq import LiteQ, chain
from liteq.edge.relaying import Relay
from liteq.edge.relaying.client import Client
from liteq.edge.relaying.pool import PostPool
from liteq.exceptions import ImproperlyConfigured, RemoteError
from liteq.monitor.overview import overview
from liteq.states import State
from liteq.testing import drain

from .edge import key_file, running
from .worker_process import wait_for


def app_at(path: Path) -> LiteQ:
    app = LiteQ("shop", broker=f"sqlite:///{path}", set_as_current=False)

    @app.task(name="shop.add")
    def add(a: Any, b: Any) -> Any:
        return a + b

    @app.task(name="shop.echo")
    def echo(value: Any) -> Any:
        return value

    app.storage.migrate()
    return app


@pytest.fixture
def here(tmp_path: Path) -> Iterator[LiteQ]:
    """The edge: programs send into its file."""
    app = app_at(tmp_path / "edge.db")
    yield app
    app.close()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[LiteQ]:
    """The queue behind the gateway."""
    app = app_at(tmp_path / "home.db")
    yield app
    app.close()


@contextmanager
def relayed(here: LiteQ, port: int, *, token: str = "", **options: Any) -> Iterator[Relay]:
    """Within the block a relay carries the messages of `here` to the gateway at `port`."""
    relay = Relay(here, Client(f"http://127.0.0.1:{port}", token), **options)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join(60)
        assert not thread.is_alive()


def arrived(there: LiteQ) -> list[str]:
    with there.storage.driver.read() as tx:
        return [id_ for (id_,) in tx.execute("SELECT id FROM liteq_messages ORDER BY seq")]


def test_each_message_arrives_once_in_its_order_and_has_succeeded_here(here: LiteQ, there: LiteQ) -> None:
    add = here.tasks["shop.add"]
    sent = [add.delay(n, n).id for n in range(500)]
    with running(there) as served, relayed(here, served.port):
        wait_for(lambda: len(arrived(there)) == 500, within_s=60, what="all have arrived")
        wait_for(lambda: here.AsyncResult(sent[-1]).state == "SUCCESS", within_s=60, what="the last is acknowledged")
    assert arrived(there) == sent
    assert {count.state for count in here.storage.reader.counts()} == {State.SUCCEEDED}


def test_a_message_keeps_its_arguments_options_and_queue(here: LiteQ, there: LiteQ) -> None:
    value = {"when": datetime(2026, 1, 2, tzinfo=UTC), "bytes": b"\0\xff"}
    echo = here.tasks["shop.echo"]
    id_ = echo.apply_async((value,), priority=7, expires=3600, headers={"who": "ann"}, queue="mail", time_limit=9).id
    with running(there) as served, relayed(here, served.port, queues=["mail"]):
        wait_for(lambda: arrived(there) == [id_], within_s=60, what="it has arrived")
    here_, there_ = (app.storage.reader.find(id_) for app in (here, there))
    assert here_ is not None
    assert there_ is not None
    assert (there_.payload, there_.priority, there_.queue) == (here_.payload, 7, "mail")
    assert there_.expires_ms == here_.expires_ms
    drain(there)
    assert there.AsyncResult(id_).get(timeout=60) == echo.run(value)


def test_a_message_keeps_its_tags_its_keys_and_how_long_its_log_is_kept(here: LiteQ, there: LiteQ) -> None:
    here.tasks["shop.echo"].apply_async((1,), tags=["tenant:a"], fair_key="a", limits=["llm"], log_keep=60)
    (id_,) = arrived(here)
    with running(there) as served, relayed(here, served.port):
        wait_for(lambda: arrived(there) == [id_], within_s=60, what="it has arrived")
    here_, there_ = (app.storage.reader.find(id_) for app in (here, there))
    assert there.storage.views.tags(id_) == ["tenant:a"]
    assert (there_.keys, json.loads(there_.options)["log_keep"]) == (here_.keys, 60_000)


def test_keys_that_were_made_of_arguments_are_the_same_there(here: LiteQ, there: LiteQ) -> None:
    here.task(name="shop.ask")(lambda who, model: None)  # and the gateway has no code of it
    options = {"fair_key": "{who}", "limits": ["llm:{model}", "all"]}
    here.tasks["shop.ask"].apply_async(("ann {1}", "m"), **options)
    (id_,) = arrived(here)
    with running(there) as served, relayed(here, served.port):
        wait_for(lambda: arrived(there) == [id_], within_s=60, what="it has arrived")
    here_, there_ = (app.storage.reader.find(id_) for app in (here, there))
    assert there_.keys == here_.keys == '["ann {1}","llm:m","all"]'


def test_results_come_back_and_a_chain_goes_on_by_them(here: LiteQ, there: LiteQ) -> None:
    add = here.tasks["shop.add"]
    result, failing = chain(add.s(1, 2), add.s(10)).delay(), add.delay(1, "x")
    with running(there) as served, relayed(here, served.port, results=True):
        wait_for(lambda: drain(there) + 1 and result.state == "SUCCESS", within_s=60, what="the chain has ended")
        wait_for(lambda: failing.state == "FAILURE", within_s=60, what="the error has come back")
    assert result.get() == 13
    with pytest.raises((RemoteError, TypeError)):
        failing.get()


@pytest.mark.parametrize("id_", ["a/b", "a//b/", "..", "a\\b", "a\nb", "~2F", "a b?c#d", "\u200b"])
def test_the_result_of_any_id_comes_back(here: LiteQ, there: LiteQ, id_: str) -> None:
    sent = here.tasks["shop.add"].apply_async((1, 2), task_id=id_)
    with running(there) as served, relayed(here, served.port, results=True):
        wait_for(lambda: drain(there) + 1 and sent.ready(), within_s=60, what="it has ended")
    assert sent.get() == 3


def test_a_result_that_is_gone_there_holds_up_no_other(here: LiteQ, there: LiteQ) -> None:
    add = here.tasks["shop.add"]
    purged, other = add.apply_async((1, 1), queue="mail", priority=9), add.delay(2, 2)
    with running(there) as served, relayed(here, served.port, results=True, queues=["mail", "celery"]):
        wait_for(lambda: sorted(arrived(there)) == sorted([purged.id, other.id]), within_s=60, what="both are there")
        there.storage.purge(["mail"])
        drain(there)
        wait_for(lambda: other.state == "SUCCESS", within_s=10, what="the other has ended")
        wait_for(lambda: purged.state == "FAILURE", within_s=10, what="it is not waited for in vain")
    with pytest.raises(RemoteError, match="no such task"):
        purged.get()


def test_a_call_ends_with_the_result_of_the_one_that_holds_its_unique_key_there(
    here: LiteQ, there: LiteQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies: list[Any] = []
    send = Client.send
    monkeypatch.setattr(Client, "send", lambda self, calls: replies.append(send(self, calls)) or replies[-1])
    for app in (here, there):
        app.task(name="shop.once", unique=app is there)(lambda n: n * 2)
    holder = there.tasks["shop.once"].delay(4)
    asked = here.tasks["shop.once"].delay(4)
    with running(there) as served, relayed(here, served.port, results=True):
        wait_for(lambda: len(replies) == 1, within_s=60, what="it was taken for the other one")
        drain(there)
        wait_for(lambda: asked.state == "SUCCESS", within_s=10, what="it has ended")
    assert (asked.get(), arrived(there)) == (8, [holder.id])


def test_a_message_that_is_refused_is_a_dead_letter_and_holds_up_none(
    here: LiteQ, there: LiteQ, tmp_path: Path
) -> None:
    keys = key_file(tmp_path, T={"name": "edge", "tasks": ["shop.add"]})
    good = [here.tasks["shop.add"].delay(n, n).id for n in range(3)]
    bad = here.tasks["shop.echo"].delay(1)
    more = here.tasks["shop.add"].delay(9, 9).id
    with running(there, keys=keys) as served, relayed(here, served.port, token="T"):
        wait_for(lambda: arrived(there) == [*good, more], within_s=60, what="the others have arrived")
        wait_for(lambda: bad.state == "FAILURE", within_s=60, what="it is a dead letter")
    with pytest.raises(RemoteError, match=r"may not send the task 'shop\.echo'"):
        bad.get()


@pytest.mark.parametrize("results", [False, True])
def test_a_key_without_the_right_blames_no_message(
    here: LiteQ, there: LiteQ, tmp_path: Path, caplog: pytest.LogCaptureFixture, results: bool
) -> None:
    caplog.set_level(logging.WARNING)
    rights = ["send"] if results else ["view"]
    keys = key_file(tmp_path, T={"name": "edge", "rights": rights}, U={"name": "whole"})
    sent = here.tasks["shop.add"].delay(1, 1)
    with running(there, keys=keys) as served:
        with relayed(here, served.port, token="T", results=results):
            wait_for(lambda: "this key has no right" in caplog.text, within_s=60, what="it says what the key lacks")
        assert sent.state == "PENDING"
        with relayed(here, served.port, token="U", results=True):
            wait_for(lambda: drain(there) + 1 and sent.state == "SUCCESS", within_s=60, what="it has arrived")


def test_a_result_that_is_too_long_holds_up_no_other(
    here: LiteQ, there: LiteQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteq.edge.relaying.client.LONGEST", 1 << 20)
    there.conf.max_result_bytes = 4 << 20
    there.task(name="shop.long")(lambda: "x" * (1 << 20))
    long, other = here.send_task("shop.long", priority=9), here.tasks["shop.add"].delay(2, 2)
    with running(there) as served, relayed(here, served.port, results=True):
        wait_for(lambda: len(arrived(there)) == 2, within_s=60, what="both are there")
        drain(there)
        wait_for(lambda: other.state == "SUCCESS", within_s=10, what="the other has ended")
        wait_for(lambda: long.state == "FAILURE", within_s=10, what="it is not asked for again and again")
    with pytest.raises(RemoteError, match="more than 1 MiB"):
        long.get()


def test_a_message_that_is_larger_than_a_request_holds_up_no_other(here: LiteQ, there: LiteQ) -> None:
    here.conf.max_payload_bytes = 64 << 20
    large, other = here.send_task("shop.echo", ("x" * (32 << 20),), priority=9), here.tasks["shop.add"].delay(2, 2)
    with running(there) as served, relayed(here, served.port):
        wait_for(lambda: large.state == "FAILURE", within_s=60, what="it is a dead letter")
        wait_for(lambda: arrived(there) == [other.id], within_s=60, what="the other has arrived")
    with pytest.raises(RemoteError, match="answered 413"):
        large.get()


def test_a_connection_that_the_gateway_closed_meanwhile_is_opened_anew(
    there: LiteQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteq.edge.server.IDLE_S", 0.5)
    with running(there) as served:
        client = Client(f"http://127.0.0.1:{served.port}")
        assert client.send([{"task": "shop.echo", "id": "a", "args": [1]}]).detail == ""
        assert client._connection is not None
        assert client._connection.sock.recv(1, socket.MSG_PEEK) == b"", "it is closed there"
        assert client.send([{"task": "shop.echo", "id": "b", "args": [1]}]).detail == ""
        client.close()
    assert arrived(there) == ["a", "b"]


def test_a_priority_that_was_given_is_that_there_too(here: LiteQ, there: LiteQ) -> None:
    there.task(name="shop.soon", priority=7)(print)
    here.task(name="shop.soon", priority=7)(print).apply_async(priority=0)
    with running(there) as served, relayed(here, served.port):
        wait_for(lambda: arrived(there), within_s=60, what="it has arrived")
    found = there.storage.reader.find(arrived(there)[0])
    assert found is not None
    assert found.priority == 0


def test_while_the_gateway_is_away_messages_wait_and_are_kept(
    here: LiteQ, there: LiteQ, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    add = here.tasks["shop.add"]
    with running(there) as gone:
        port = gone.port
    sent = [add.delay(n, n).id for n in range(20)]
    with relayed(here, port):
        wait_for(lambda: "does not answer" in caplog.text, within_s=60, what="it says that nobody answers")
    assert {count.state for count in here.storage.reader.counts()} == {State.PENDING}, "given back at its end"
    with running(there) as served, relayed(here, served.port):
        wait_for(lambda: arrived(there) == sent, within_s=60, what="all have arrived, in their order")


def test_while_the_gateway_is_away_it_is_seen_how_many_wait(
    here: LiteQ, there: LiteQ, caplog: pytest.LogCaptureFixture
) -> None:
    """Leased to the relay they would count as what runs: the outbox would look empty, and no alert would come."""
    caplog.set_level(logging.WARNING)
    with running(there) as gone:
        port = gone.port
    sent = [here.tasks["shop.add"].delay(n, n).id for n in range(20)]
    with relayed(here, port):
        wait_for(lambda: "does not answer" in caplog.text, within_s=60, what="it says that nobody answers")
        wait_for(lambda: waits(here) == 20, within_s=60, what="they are in the queue")
        with running(there, port=port):
            wait_for(lambda: arrived(there) == sent, within_s=60, what="all have arrived, in their order")
            wait_for(lambda: waits(here) == 0, within_s=60, what="they are acknowledged")


def waits(app: LiteQ) -> int:
    """How many messages the overview shows behind a head that waits."""
    return sum(one["waiting"]["n"] for one in overview(app)["queues"] if one["head_wait_s"])


def test_what_could_not_be_sent_goes_before_what_waits(
    here: LiteQ, there: LiteQ, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with running(there) as gone:
        port = gone.port
    sent = [here.tasks["shop.add"].delay(n, n).id for n in range(500)]  # more than one request takes
    with relayed(here, port):
        wait_for(lambda: "does not answer" in caplog.text, within_s=60, what="it says that nobody answers")
        with running(there, port=port):
            wait_for(lambda: len(arrived(there)) == 500, within_s=60, what="all have arrived")
    assert arrived(there) == sent


def test_a_pool_ends_though_a_thread_still_connects(here: LiteQ, monkeypatch: pytest.MonkeyPatch) -> None:
    connects, let_go = threading.Event(), threading.Event()

    def connect(_client: Client) -> Any:
        connects.set()
        let_go.wait(120)
        raise OSError("nobody is there")

    monkeypatch.setattr(Client, "_connect", connect)
    monkeypatch.setattr("liteq.edge.relaying.pool.ENDS_S", 0.05)
    here.tasks["shop.add"].delay(1, 1)
    pool = PostPool(here, Client("http://127.0.0.1:1"))
    pool.start(cast(Any, SimpleNamespace(watch=lambda *_: None, look=lambda: None)))
    try:
        pool.submit(here.storage.claim(["celery"], worker=0, limit=1, visibility_s=60))
        assert connects.wait(60)
        ending = threading.Thread(target=pool.stop)
        ending.start()
        ending.join(20)
        assert not ending.is_alive()
    finally:
        let_go.set()


@pytest.mark.parametrize("url", ["", "queue.example.org", "ftp://queue", "http://", "http://queue?x=1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="no gateway's address"):
        Client(url)
