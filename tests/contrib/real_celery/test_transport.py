"""kombu alone on a liteq file: publish, consume, acknowledge, give back; and what is refused."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liteq.exceptions import ImproperlyConfigured
from liteq.message import WorkerIdentity, new_id
from liteq.policy.rates import Bucket
from liteq.states import State
from liteq.storage.claiming.rates import Budget
from liteq.storage.driver import Promise
from liteq.storage.sqlite.disk import files

from .shop import NEEDS_CELERY, Shop

pytestmark = NEEDS_CELERY


@pytest.fixture(autouse=True)
def transport() -> None:
    """Have kombu know the transport: a program that uses kombu alone imports the package first, as the how-to says."""
    import_module("liteq_kombu")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, max_deliveries=3)
    yield shop
    shop.close()


@pytest.fixture
def connect(shop: Shop) -> Iterator[Any]:
    """Opens connections of kombu's to the shop's file."""
    from kombu import Connection

    opened = []

    def connect(**options: Any) -> Any:
        connection = Connection(shop.url, transport_options={**shop.options, **options})
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.release()


def bodies(queue: Any) -> list[Any]:
    """The bodies of all that is in a queue now; acknowledged."""
    found = []
    while (message := queue.get()) is not None:
        message.ack()
        found.append(message.payload)
    return found


def test_messages_that_are_no_tasks_come_back_as_they_were_sent(connect: Any) -> None:
    from kombu import Queue

    with connect() as connection:
        queue = Queue("plain", channel=connection.default_channel)
        producer = connection.Producer()
        for serializer, compression in [("json", None), ("pickle", None), ("json", "gzip"), ("raw", None)]:
            body = b"\x00\xff" if serializer == "raw" else {"a": [1, "x"]}
            producer.publish(
                body, routing_key="plain", serializer=serializer, compression=compression, headers={"h": 1},
                **({"content_type": "application/data", "content_encoding": "binary"} if serializer == "raw" else {}),
            )  # fmt: skip
        assert connection.default_channel.queue_declare("plain").message_count == 4
        for n in range(4):
            message = queue.get(accept=["json", "pickle", "application/data"])
            assert message.headers["h"] == 1
            assert message.decode() == (b"\x00\xff" if n == 3 else {"a": [1, "x"]})
            message.ack()
        assert queue.get() is None


@pytest.mark.parametrize(("order", "expected"), [("higher-first", [9, 5, 1]), ("lower-first", [1, 5, 9])])
def test_priorities(connect: Any, order: str, expected: list[int]) -> None:
    from kombu import Queue

    with connect(priority_order=order) as connection:
        for priority in (5, 9, 1):
            connection.Producer().publish(priority, routing_key="ordered", priority=priority)
        assert bodies(Queue("ordered", channel=connection.default_channel)) == expected


def test_what_a_liteq_workers_own_rate_holds_back_is_delivered(shop: Shop, connect: Any) -> None:
    from kombu import Queue

    with connect() as connection:
        for n in range(3):
            connection.Producer().publish(n, routing_key="slow")
        storage, bucket = shop.liteq.storage, Bucket(0.001)
        worker = storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
        budget = Budget(lambda _: bucket, 0.0)
        turn = storage.turn((), ["slow"], worker=worker, limit=5, visibility_s=60, budget=budget)
        assert len(turn.leases) == 1
        assert bodies(Queue("slow", channel=connection.default_channel)) == [1, 2]


def test_what_is_rejected_comes_back_until_it_is_a_dead_letter(shop: Shop, connect: Any) -> None:
    from kombu import Queue

    with connect() as connection:
        connection.Producer().publish("bad", routing_key="bad")
        queue = Queue("bad", channel=connection.default_channel)
        again = []
        while (message := queue.get()) is not None:
            again.append(message.delivery_info["redelivered"])
            message.reject(requeue=True)
        assert again == [False, True, True]
        dead = shop.liteq.storage.reader.messages(State.DEAD)
        assert [one.task for one in dead] == ["kombu.message"]
        connection.Producer().publish("worse", routing_key="bad")
        queue.get().reject()
        assert len(shop.liteq.storage.reader.messages(State.DEAD)) == 2


def test_what_is_not_acknowledged_comes_back_when_the_channel_closes_and_counts_as_nothing(
    shop: Shop, connect: Any
) -> None:
    from kombu import Queue

    with connect() as connection:
        sender = connection.Producer()
        for n in range(3):
            sender.publish(n, routing_key="kept")
        channel = connection.channel()
        queue = Queue("kept", channel=channel)
        first, second = queue.get(), queue.get()
        assert queue.get().payload == 2
        first.ack()
        channel.basic_recover(requeue=True)
        assert queue.get().payload == second.payload
        channel.close()
        found = [one for one in shop.liteq.storage.reader.messages(State.PENDING) if one.queue == "kept"]
        assert [(one.crashes, one.reaps) for one in found] == [(0, 0)] * 2


def test_a_late_ack_hits_nothing(shop: Shop, connect: Any) -> None:
    from kombu import Queue

    with connect(visibility_timeout=1) as connection:
        connection.Producer().publish("once", routing_key="slow")
        channel = connection.channel()
        message = Queue("slow", channel=channel).get()
        worker = shop.liteq.storage.reader.workers()[0]
        shop.liteq.storage.reap([worker.id], expired=False)  # as if this process had been stopped for too long
        with connect() as other:
            again = Queue("slow", channel=other.default_channel).get()
            message.ack()
            assert shop.liteq.storage.reader.counts()
            again.ack()
            assert shop.wait(lambda: not shop.liteq.storage.reader.counts())


def test_no_more_are_delivered_than_the_prefetch_limit_and_an_ack_makes_room(connect: Any) -> None:
    from kombu import Consumer, Queue

    with connect() as connection:
        for n in range(5):
            connection.Producer().publish(n, routing_key="many")
        channel, got = connection.channel(), list[Any]()
        with Consumer(channel, [Queue("many")], on_message=got.append) as consumer:
            consumer.qos(prefetch_count=2)
            connection.drain_events(timeout=60)
            with pytest.raises(socket.timeout):
                connection.drain_events(timeout=0.1)
            assert [one.payload for one in got] == [0, 1]
            got[0].ack()
            connection.drain_events(timeout=60)
            assert [one.payload for one in got] == [0, 1, 2]
            for one in got[1:]:
                one.ack()
            connection.drain_events(timeout=60)
            assert len(got) == 5


def test_what_was_claimed_for_a_consumer_that_is_cancelled_meanwhile_goes_back(connect: Any) -> None:
    """`cancel_consumer` comes by remote control, between the claim and the delivery."""
    from kombu import Consumer, Queue

    with connect() as connection, connect() as other:
        connection.Producer().publish("one", routing_key="left")
        connection.Producer().publish("two", routing_key="kept")
        channel, got = connection.channel(), list[Any]()
        with Consumer(channel, [Queue("left"), Queue("kept")], on_message=got.append) as consumer:
            channel.look()
            assert len(channel._ready) == 2
            consumer.cancel_by_queue("left")
            connection.transport.deliver()
            assert [one.payload for one in got] == ["two"]
            message = other.default_channel.basic_get("left")
            assert (message.payload, message.delivery_info["redelivered"]) == ("one", False)
            message.ack()
            got[0].ack()


def test_a_queue_whose_consumer_is_cancelled_is_told_of_no_more(connect: Any) -> None:
    from kombu import Consumer, Queue

    with connect() as connection:
        channel = connection.channel()
        with Consumer(channel, [Queue("left"), Queue("kept")], on_message=print) as consumer:
            channel.look()
            holder = channel._file.holder
            assert holder._facts()["queues"] == ["kept", "left"]
            consumer.cancel_by_queue("left")
            assert holder._facts()["queues"] == ["kept"]
            consumer.add_queue(Queue("left"))
            consumer.consume()
            channel.look()
            assert holder._facts()["queues"] == ["kept", "left"]


def test_a_worker_claims_when_half_of_its_room_is_free_or_a_place_has_no_task(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kombu import Consumer, Queue

    idle = False
    with connect() as connection:
        for n in range(16):
            connection.Producer().publish(n, routing_key="busy")
        channel, got = connection.channel(), list[Any]()
        with Consumer(channel, [Queue("busy")], on_message=got.append) as consumer:
            consumer.qos(prefetch_count=8)
            connection.drain_events(timeout=60)
            assert len(got) == 8
            node = SimpleNamespace(idles=lambda coming: idle, free=lambda: 0)
            monkeypatch.setattr(channel._file, "node", node)  # of a worker whose places all have a task
            for one in got[:3]:
                one.ack()
                connection.transport.deliver()
            assert len(got) == 8
            got[3].ack()
            connection.transport.deliver()
            assert len(got) == 12
            got[4].ack()
            connection.transport.deliver()
            assert len(got) == 12
            idle = True
            connection.transport.deliver()
            assert len(got) == 13


def test_tasks_that_wait_for_a_rate_limit_occupy_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from liteq_kombu.crossing import node

    bucket = SimpleNamespace(contents=["a request"])
    consumer = SimpleNamespace(task_buckets={"limited": bucket, "other": None}, pool=SimpleNamespace(num_processes=2))
    monkeypatch.setattr(node.Here, "consumer", consumer)
    monkeypatch.setattr(node.Here, "pid", os.getpid())
    assert node.idles(coming=2)
    bucket.contents.clear()
    assert not node.idles(coming=2)
    assert node.idles(coming=1)


def test_a_sleeping_consumer_wakes_with_the_send(connect: Any) -> None:
    from kombu import Consumer, Queue

    with connect(polling_interval=50) as connection, connect() as sender:
        got = list[Any]()
        with Consumer(connection.channel(), [Queue("woken")], on_message=got.append):
            with pytest.raises(socket.timeout):
                connection.drain_events(timeout=0.01)
            threading.Timer(0.05, lambda: sender.Producer().publish("up", routing_key="woken")).start()
            connection.drain_events(timeout=30)  # by the net alone it would be woken after 50 s
        assert [one.payload for one in got] == ["up"]
        got[0].ack()


class Timers:
    """Celery's event loop, of which a transport sees the timers that it sets."""

    def __init__(self) -> None:
        self.set: list[float] = []
        self.on_tick: set[Any] = set()

    def add_reader(self, *_: Any) -> None:
        """Hear nothing: the test calls."""

    remove_reader = add_reader

    def call_later(self, seconds: float, *_: Any) -> Any:
        """Take a timer down."""
        self.set.append(seconds)
        return SimpleNamespace(cancel=lambda: None)


def test_a_claim_after_a_ring_looks_first_where_the_last_ring_was_for_another(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look costs each task a transaction; without it, each idle worker would take the write lock at each ring."""
    from kombu import Consumer, Queue

    with connect(polling_interval=50) as connection, connect() as sender:
        transport, got = connection.transport, list[Any]()
        storage, expected = transport.file.storage, list[bool]()
        turn = storage.turn

        def watched(*args: Any, **options: Any) -> Any:
            expected.extend([options["expectant"]] if options["limit"] else ())
            return turn(*args, **options)

        with Consumer(connection.channel(), [Queue("rung")], on_message=got.append):
            transport.register_with_event_loop(connection, Timers())
            transport._on_ring()
            monkeypatch.setattr(storage, "turn", watched)
            for queue in ("rung", "rung", "another", "rung", "rung"):
                sender.Producer().publish("", routing_key=queue)
                transport._on_ring()
                for one in got:
                    one.ack()
                got.clear()
            transport._unregister()
        assert expected == [False, True, True, False, True]


def test_a_consumer_without_room_sets_no_timer_for_what_is_due(shop: Shop, connect: Any) -> None:
    """It would wake again and again until there is room; the acknowledgement wakes it."""
    from kombu import Consumer, Queue

    due = datetime.now(UTC) + timedelta(seconds=1)
    with connect() as connection, connection.channel() as channel:
        channel.basic_qos(0, 1, False)
        got, timers, transport = list[Any](), Timers(), connection.transport
        with Consumer(channel, [Queue("full")], on_message=got.append):
            connection.Producer().publish("first", routing_key="full")
            connection.Producer().publish("second", routing_key="full", headers={"eta": due.isoformat()})
            transport.register_with_event_loop(connection, timers)
            transport._on_ring()
            shop.wait(lambda: datetime.now(UTC) > due)
            timers.set.clear()
            transport._on_ring()
            assert ([one.payload for one in got], timers.set) == (["first"], [])
            got[0].ack()
            transport._on_ring()
            assert [one.payload for one in got] == ["first", "second"]
            got[1].ack()


def test_a_process_of_the_pool_opens_the_file_while_another_writes(shop: Shop, connect: Any) -> None:
    """Celery ends a process that does not answer within four seconds of its start."""
    with connect() as connection:
        connection.connect()
        file = connection.transport.file
        file.storage.close()
        with shop.liteq.storage.driver.write() as tx:
            file.open_early()  # else StorageBusy, after `busy_timeout`
            assert tx.execute("SELECT 1") == [(1,)]


def test_a_consumer_looks_again_where_the_file_has_changed(shop: Shop, connect: Any) -> None:
    """A ring may have been lost. An event loop that is awake looks by itself; one that sleeps is woken by a thread."""
    with connect() as connection, stopped_holder(connection) as holder:
        transport = connection.transport
        transport.register_with_event_loop(connection, Timers())
        ear = transport.ear

        def woken(look: Callable[[], None]) -> bool:
            transport._on_ring()
            look()
            return bool(select.select([ear._reader], [], [], 0)[0])

        def awake() -> None:
            ear.checked_at = -inf
            transport._on_tick()

        def asleep() -> None:
            ear.checked_at = -inf
            holder._net()

        for look in (awake, asleep):
            woken(look)
            assert not woken(look)
            shop.liteq.send_task("shop.add", (1, 1), queue="another")  # by another connection to the file
            assert not woken(holder._net)  # an event loop has looked a moment ago, and will again
            assert not woken(transport._on_tick)
            assert woken(look)
            assert not woken(look)
            ear._cleared_at = -inf  # a pause may have ended since
            look()
            assert select.select([ear._reader], [], [], 0)[0]
        transport._unregister()


def test_with_relaxed_durability_a_worker_syncs_what_was_promised_and_no_heartbeat(
    shop: Shop, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync has an idle worker wake several times; what runs after its acknowledgement holds no lease."""
    with connect(durability="relaxed") as connection, stopped_holder(connection) as holder:
        syncs, driver = list[int](), connection.transport.file.storage.driver

        def synced() -> int:
            syncs.clear()
            holder._sync()
            return len(syncs)

        def sync() -> None:
            driver.unsynced_since, driver.owes = inf, False
            syncs.append(1)

        def beat() -> None:
            holder._beat.soon()
            holder._extend()

        monkeypatch.setattr(driver, "sync", sync)
        synced()
        beat()
        assert synced() == 0
        holder.stir()  # the bell has rung: somebody has committed
        assert (synced(), synced()) == (1, 0)
        at_work = [True, True, False, False]
        holder._node = SimpleNamespace(has_tasks=lambda: at_work.pop(0))
        for expected in (1, 1, 1, 0):  # the task has ended: its result was committed before that was known
            shop.liteq.send_task("shop.add", (1, 1), queue="another")  # as a process of the pool commits
            assert synced() == expected
        holder._node = None
        with driver.write(Promise.ACCEPTED) as tx:  # by a thread of the worker's process
            tx.execute("UPDATE liteq_meta SET value = value")
        driver.owes = True  # as where the last wait for the disk was a moment ago
        assert (synced(), synced()) == (1, 0)


def test_a_consumer_sleeps_by_any_descriptor(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of many connections has them above 1,023, where it would not sleep at all."""
    from liteq_kombu.waking import Ear

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_048:
        pytest.skip("no process here may have so many descriptors")
    with connect() as connection:
        connection.connect()
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_048), hard))
        ear = Ear(connection.transport.file.storage)
        high = fcntl.fcntl(ear.filenos()[-1], fcntl.F_DUPFD_CLOEXEC, 1_500)
        try:
            monkeypatch.setattr(ear, "_fds", [high])
            started = time.monotonic()
            ear.wait(0.05)
            assert time.monotonic() - started >= 0.05
        finally:
            os.close(high)
            ear.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def stopped_holder(connection: Any) -> Iterator[Any]:
    """The holder of `connection`'s file, in the list of workers, without its thread: the test takes its steps."""
    from liteq_kombu.holder import Holder

    connection.connect()
    holder = Holder(connection.transport.file)
    holder.number(["celery"])
    holder._stop.set()
    holder._stirred.set()
    assert holder._thread is not None
    holder._thread.join()
    yield holder
    holder.leave()


def test_purge_and_delete(connect: Any) -> None:
    from kombu import Queue

    with connect() as connection:
        queue = Queue("gone", channel=connection.default_channel)
        for n in range(3):
            connection.Producer().publish(n, routing_key="gone")
        assert queue.purge() == 3
        assert bodies(queue) == []


def test_an_id_that_is_sent_twice_before_it_ran_is_one_row(shop: Shop) -> None:
    for _ in range(2):
        shop.send("add", 1, 1, task_id="once")
    assert sum(count.n for count in shop.liteq.storage.reader.counts()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_leaves_its_parent_s_leases_alone(shop: Shop, connect: Any) -> None:
    from kombu import Queue

    with connect() as connection:
        connection.Producer().publish("mine", routing_key="forked")
        channel = connection.channel()
        message = Queue("forked", channel=channel).get()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                connection.Producer().publish("child's", routing_key="other")
                channel.close()
                connection.release()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert [one.queue for one in shop.liteq.storage.reader.messages(State.LEASED)] == ["forked"]
        message.ack()
        assert shop.wait(lambda: shop.liteq.storage.reader.messages(State.LEASED) == [])


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("liteq://localhost/tasks.db", "host"),
        ("liteq:///:memory:", "memory"),
        ("liteq:///a.db;liteq:///b.db", "one"),
        ("liteq:///a.db?drivr=stdlib", "driver"),
    ],
)
def test_a_url_of_no_file_is_refused_with_the_form_to_write(url: str, says: str) -> None:
    from kombu import Connection

    with pytest.raises(ImproperlyConfigured, match=says):
        Connection(url).connect()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"visibility_timout": 5}, "did you mean 'visibility_timeout'"),
        ({"durability": "relaxd"}, "did you mean 'relaxed'"),
        ({"max_deliveries": 0}, "a number, 1 at least"),
        ({"busy_timeout": "long"}, "a number, 0 at least"),
    ],
)
def test_a_misspelt_option_is_refused_with_the_right_one(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    from kombu import Connection

    with pytest.raises(ImproperlyConfigured, match=says):
        Connection(f"liteq:///{tmp_path}/a.db", transport_options=options).connect()


def test_options_of_other_transports_are_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also by a worker, whose first connection is made before it has a log."""
    from kombu import Connection

    for level in ("WARNING", "INFO", "INFO"):
        with caplog.at_level(level, "liteq.kombu"):
            Connection(
                f"liteq:///{tmp_path}/a.db", transport_options={"fanout_prefix": True, "max_retries": 3}
            ).connect()
    assert [record.message.split(":")[1].split()[0] for record in caplog.records] == ["'fanout_prefix'"]


def test_a_worker_under_eventlet_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hear of no message, and say nothing."""
    from kombu import Connection

    pytest.importorskip("celery.worker.consumer")  # by which a worker is known

    patcher = SimpleNamespace(is_monkey_patched=lambda name: name == "thread")
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    with pytest.raises(ImproperlyConfigured, match="gevent"):
        Connection(f"liteq:///{tmp_path / 'shop.db'}").connect()


def test_two_durabilities_for_one_file_are_refused(shop: Shop, connect: Any) -> None:
    connect().connect()
    with pytest.raises(ImproperlyConfigured, match="the same"):
        connect(durability="strict").connect()


def test_a_file_that_cannot_be_used_ends_a_worker_at_once(shop: Shop) -> None:
    shop.path.write_bytes(b"this is no database " * 500)
    worker = shop.start()
    assert worker.wait(timeout=60) != 0
    assert "not a database" in shop.log()


def test_kombu_finds_the_transport_and_imports_nothing_of_liteq_for_it() -> None:
    program = (
        "import kombu.serialization, sys; from kombu.transport import TRANSPORT_ALIASES\n"
        "assert TRANSPORT_ALIASES['liteq']; print(sorted(m for m in sys.modules if m.split('.')[0] == 'liteq'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_program_that_sends_loads_no_app_and_no_worker_of_liteq(tmp_path: Path) -> None:
    """They would take a third of the time of its first call."""
    program = (
        "import sys; from celery import Celery\n"
        f"url = 'liteq:///{tmp_path}/parcels.db'; app = Celery('parcels', broker=url, backend=url)\n"
        "app.task(name='pack')(lambda: 1); app.send_task('pack')\n"
        "print(sorted({'liteq.app', 'liteq.worker', 'liteq.storage'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['liteq.storage']"


def test_the_leases_thread_rests_while_nothing_is_held_and_goes_on_with_the_next(shop: Shop, connect: Any) -> None:
    """With relaxed durability it looks ten times a second for what is to be on the disk; an idle worker's does not."""
    with connect(durability="relaxed") as connection:
        queue = connection.SimpleQueue("parcels")
        queue.put("one")
        message = queue.get(timeout=60)
        holder = connection.transport.file.held
        shop.wait(lambda: not holder._resting)
        message.ack()
        shop.wait(lambda: holder._resting)
        queue.put("two")
        queue.get(timeout=60)
        assert not holder._resting
        queue.close()


def test_a_lease_that_its_child_has_settled_keeps_the_thread_from_its_rest_no_longer(shop: Shop, connect: Any) -> None:
    from liteq.message import Ack

    with connect(durability="relaxed") as connection:
        queue = connection.SimpleQueue("parcels")
        queue.put("one")
        queue.get(timeout=20)
        holder = connection.transport.file.held
        (lease,) = holder._leases.values()
        beat = holder._beat
        shop.wait(lambda: not holder._resting and beat.monotonic() < beat.due_at)
        beat.due_at = inf  # an extension would find it, too
        shop.liteq.storage.settle([(lease, Ack())])
        assert shop.wait(lambda: holder._resting and not holder._leases)
        queue.close()


def test_a_consumer_looks_again_only_where_there_may_be_more(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bell rings with what comes; a look too many costs as much as a delivery."""
    from kombu import Consumer, Queue

    with connect() as connection:
        channel, got, looks = connection.channel(), list[Any](), list[int]()
        with Consumer(channel, [Queue("few")], on_message=got.append) as consumer:
            consumer.qos(prefetch_count=2)
            monkeypatch.setattr(connection.transport, "wake", lambda: looks.append(len(got)))
            for n in range(3):
                connection.Producer().publish(n, routing_key="few")
            assert connection.transport.deliver() == 2
            got[0].ack()
            assert looks == [2], "as many as it asked for: an ack makes room for the next"
            assert connection.transport.deliver() == 1
            for message in got[1:]:
                message.ack()
            assert looks == [2, 3, 3], "again as many"
            connection.Producer().publish(3, routing_key="few")
            assert connection.transport.deliver() == 1
            got[3].ack()
            assert looks == [2, 3, 3], "it asked for two and got one"


def test_a_durable_send_is_on_the_disk_by_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[str] = []
    sync = files.sync
    monkeypatch.setattr(files, "sync", lambda path: (syncs.append(path), sync(path)))
    shop = Shop(tmp_path, durability="durable")
    try:
        shop.send("add", 1, 1)
        syncs.clear()
        for n in range(5):
            shop.send("add", n, n)
        # A consumer that another test has left in this process syncs a file of its own.
        assert syncs.count(f"{shop.path}-wal") == 5
    finally:
        shop.close()


def test_a_consumer_reads_what_passes_only_where_something_has_come(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy worker looks for tasks thousands of times a second, and for control as often."""
    from kombu import Exchange, Producer, Queue

    from liteq_kombu import passing

    monkeypatch.setattr(passing, "LOOK_S", inf)  # the look of each second may fall into any of these
    reads: list[str] = []
    read = passing.PassingQueues.read
    monkeypatch.setattr(passing.PassingQueues, "read", lambda self, queue: (reads.append(queue), read(self, queue))[1])
    with connect() as connection, connect() as sender:
        pidbox = Exchange("parcels.all", type="fanout")
        queue = Queue("w.parcels.all", exchange=pidbox, exclusive=True, auto_delete=True)
        got: list[Any] = []
        with connection.Consumer(queue, callbacks=[lambda body, message: got.append(body)], no_ack=True):
            connection.transport.deliver()
            reads.clear()
            for _ in range(5):
                assert connection.transport.deliver() == 0
            assert reads == []
            Producer(sender, exchange=pidbox).publish("news")
            assert connection.transport.deliver() == 1
            assert (got, reads) == (["news"], ["w.parcels.all"])


def test_expired_events_go_chunk_after_chunk() -> None:
    """A busy app writes more of them between two looks than one chunk has."""
    from liteq_kombu.crossing.events import CHUNK, trim

    left = [CHUNK, CHUNK, 7]
    log = SimpleNamespace(trim=lambda _age_s, _limit: left.pop(0))
    file: Any = SimpleNamespace(storage=SimpleNamespace(events=log), trims_events=True, trimmed_at=0.0)
    for _ in range(4):
        trim(file)
    assert left == []
    assert file.trimmed_at > 0
