"""Messages that must arrive, and whole: in temporary queues, by exchanges of others, with numbers beyond JSON."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
import pytest

from liteq.context.identity import me

from .shop import NEEDS_CELERY, Shop

pytestmark = NEEDS_CELERY


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    import_module("liteq_kombu")
    shop = Shop(tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def connect(shop: Shop) -> Iterator[Any]:
    """Opens connections of kombu's to the shop's file."""
    from kombu import Connection

    opened = []

    def connect() -> Any:
        opened.append(Connection(shop.url, transport_options=shop.options))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.release()


def delivered(connection: Any, queue: Any) -> list[Any]:
    """The messages that a consumer of `queue` has got; acknowledged."""
    got: list[Any] = []
    with connection.Consumer(queue, callbacks=[lambda _, message: got.append(message)]):
        while connection.transport.deliver():
            pass
        for message in got:
            message.ack()
    return got


def test_a_task_waits_in_a_queue_with_auto_delete_until_a_worker_comes(shop: Shop, connect: Any) -> None:
    from kombu import Exchange, Queue

    queue = Queue("parcels", Exchange("parcels"), routing_key="parcels", auto_delete=True)
    shop.app.conf.task_queues = [queue]
    sent = {
        shop.send("add", 1, 1, queue="parcels").id,  # by Celery's default exchange
        shop.send("add", 2, 2, exchange="parcels", routing_key="parcels").id,
    }
    shop.app.close()  # the sender ends, which has declared the queue
    assert {message.headers["id"] for message in delivered(connect(), queue)} == sent
    assert delivered(connect(), queue) == []


def test_an_answer_to_an_exclusive_queue_by_its_name_arrives(shop: Shop, connect: Any) -> None:
    """As in kombu's example of remote procedure calls: the other side knows the name alone."""
    from kombu import Queue

    asker, answerer, got = connect(), connect(), []
    queue = Queue("answers-of-ann", exclusive=True, auto_delete=True)
    with asker.Consumer(queue, callbacks=[lambda body, message: (got.append(body), message.ack())]):
        assert asker.transport.deliver() == 0
        assert shop.liteq.storage.reader.workers() == []  # who waits for answers alone is none
        answerer.Producer().publish({"sum": 3}, exchange="", routing_key="answers-of-ann")
        assert asker.transport.deliver() == 1
    assert got == [{"sum": 3}]


def test_the_listeners_of_an_exchange_tell_a_sender_who_has_not_declared_it_its_kind(connect: Any) -> None:
    """Celery's sender declares nothing for a task of a Broadcast queue."""
    from kombu import Exchange, Queue
    from kombu.common import Broadcast

    sender, got = connect(), []
    heard = [Broadcast("news"), Broadcast("news"), Queue("errors", Exchange("log", "topic"), routing_key="*.error")]
    consumers = [connect() for _ in heard]
    for connection, queue in zip(consumers, heard, strict=True):
        connection.Consumer(queue, callbacks=[lambda body, message: got.append(body)], no_ack=True).consume()
    producer = sender.Producer()
    producer.publish("fanout", exchange="news", routing_key="any")
    producer.publish("topic", exchange="log", routing_key="shop.error")
    producer.publish("nobody's", exchange="log", routing_key="shop.info")
    for connection in consumers:
        connection.transport.deliver()
    assert got == ["fanout", "fanout", "topic"]


def test_events_and_answers_pass_to_durable_queues_too(shop: Shop, connect: Any) -> None:
    """`event_queue_durable` and `control_queue_durable` of Celery 5.6: such a queue is not declared as temporary."""
    from kombu import Exchange, Queue

    connection, got = connect(), []
    events = Queue("celeryev.ann", Exchange("celeryev", "topic"), routing_key="#")
    answers = Queue("ann.reply.celery.pidbox", Exchange("reply.celery.pidbox", "direct"), routing_key="ann")
    with connection.Consumer([events, answers], callbacks=[lambda body, message: got.append(body)], no_ack=True):
        with shop.app.events.default_dispatcher() as dispatcher:
            dispatcher.send("shop-opened")
        connect().Producer().publish({"w": "pong"}, exchange=answers.exchange, routing_key="ann", declare=[answers])
        assert connection.transport.deliver() == 2
    assert sorted(body.get("type", body.get("w")) for body in got) == ["pong", "shop-opened"]
    assert shop.liteq.storage.reader.workers() == []  # who only listens is none


def test_a_mailbox_of_one_s_own_reaches_no_worker_and_hears_none(shop: Shop, connect: Any) -> None:
    """kombu's `pidbox.Mailbox` names its exchange as Celery's is named: only that of the app is the workers'."""
    from kombu import pidbox

    shop.liteq.storage.register_worker(me("one@here"), b"{}")  # of liteq's
    listener, mailbox, said = connect(), pidbox.Mailbox("doors", type="fanout"), []
    handlers = {"shutdown": lambda state, **_: said.append("mine")}
    node = mailbox(listener).Node("front", channel=listener.channel(), handlers=handlers)
    node.listen(callback=node.handle_message)
    mailbox(connect())._broadcast("shutdown", {})
    shop.liteq.control.broadcast("shutdown")  # the workers', not the doors'
    listener.transport.deliver()
    assert said == ["mine"]
    assert [command.name for command in shop.liteq.storage.commands.after(0)] == ["shutdown"]


def test_numbers_that_json_has_no_form_for_reach_what_comes_after_a_task(shop: Shop, connect: Any) -> None:
    from kombu import Queue

    long, odd = 2**70, float("inf")
    add = partial(shop.sig, "add")
    shop.app.send_task("shop.add", (1, 1), link=add(long), link_error=add(-long))
    (add(1, 1) | add(odd) | add(long)).apply_async()
    first, second = (message.payload[2] for message in delivered(connect(), Queue("celery")))
    assert [first[kind][0]["args"] for kind in ("callbacks", "errbacks")] == [[long], [-long]]
    assert [link["args"] for link in second["chain"]] == [[long], [odd]]


def test_numbers_that_json_has_no_form_for_pass_in_events_and_answers(shop: Shop, connect: Any) -> None:
    """As in `inspect conf` with defaults: `result_backend_max_retries` is infinite."""
    storage = shop.liteq.storage
    with shop.app.events.default_dispatcher() as dispatcher:
        dispatcher.send("shop-opened", load=float("nan"))
    ((_, event),) = storage.events.after(0, 10)
    assert orjson.loads(event)["load"] is None
    number = storage.commands.send("conf", b"{}", b'["w0@here"]', wants_reply=True, expires_s=60)
    body = '{"w0@here": {"result_backend_max_retries": Infinity}}'
    connect().default_channel._put(f"liteq-command.{number}", {"body": body})
    ((_, name, data),) = storage.commands.replies(number)
    assert (name, orjson.loads(data)) == ("w0@here", {"result_backend_max_retries": None})


@pytest.mark.parametrize("last", [5, 2**70, "\u00e9", "\U0001f600", None])
def test_a_long_rest_of_a_chain_comes_as_it_was_sent(shop: Shop, connect: Any, last: Any) -> None:
    from celery import chain
    from kombu import Queue

    chain(shop.sig("add", 0, 0), *(shop.sig("add", n) for n in range(40)), shop.sig("add", last)).apply_async()
    (found,) = (message.payload for message in delivered(connect(), Queue("celery")))
    assert found[:2] == [[0, 0], {}]
    assert [link["args"] for link in reversed(found[2]["chain"])] == [*([n] for n in range(40)), [last]]
    assert [found[2].get(kind) for kind in ("callbacks", "errbacks", "chord")] == [None, None, None]
