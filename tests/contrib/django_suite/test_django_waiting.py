"""Messages that async code and other threads send, while a transaction holds the file of models and queue."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed, wait

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.test import override_settings
from shop.orders.models import Order
from shop.orders.tasks import pay

from liteq import chord
from liteq.exceptions import StorageBusy, StorageError

SOON_S = 20  # far below the 30 s of `busy_timeout`


@pytest.fixture(params=["shared", "outbox"])
def queue(request, shop):
    """The app with the queue in the models' file, and with one of its own."""
    own = f"sqlite:///{connection.settings_dict['NAME']}-waiting"
    settings = {"DATABASE": "default"} if request.param == "shared" else {"BROKER_URL": own}
    with override_settings(LITEQ=settings):
        yield shop


async def send():
    return await pay.adelay(1)


async def send_a_canvas():
    return await chord([pay.si(1), pay.si(2)], pay.si(3)).adelay()


@pytest.mark.parametrize("coroutine", [send, send_a_canvas])
def test_what_a_coroutine_sends_is_one_with_the_transaction_that_waits_for_it(queue, coroutine):
    with pytest.raises(KeyError), transaction.atomic():
        Order.objects.create()
        lost = async_to_sync(coroutine)()
        raise KeyError
    assert not lost.exists()
    with transaction.atomic():
        Order.objects.create()
        sent = async_to_sync(coroutine)()
    assert sent.exists()


def test_a_coroutine_sees_what_the_transaction_has_sent(shop):
    async def ask():
        meta = await sent.ameta()
        return meta["name"], meta["args"]

    with transaction.atomic():
        sent = pay.delay(1)
        assert async_to_sync(ask)() == (pay.name, [1])


def test_async_code_without_a_transaction_sends_at_once(queue):
    assert asyncio.run(send()).exists()
    assert async_to_sync(send)().exists()


def test_a_transaction_of_the_event_loop_s_own_thread_is_refused(queue):
    with pytest.raises(StorageError, match="async_to_sync"), transaction.atomic():
        Order.objects.create()
        asyncio.run(send())


def in_a_thread():
    said = []
    thread = threading.Thread(target=lambda: said.append(caught(pay.delay, 1)))
    thread.start()
    thread.join()
    return said[0]


def in_a_pool():
    with ThreadPoolExecutor(1) as pool:
        return caught(pool.submit(pay.delay, 1).result)


def in_a_pool_that_is_left():
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(pay.delay, 1)
    return future.exception()


def by_map():
    with ThreadPoolExecutor(1) as pool:
        return caught(list, pool.map(pay.delay, [1]))


def by_wait():
    with ThreadPoolExecutor(2) as pool:
        done, _ = wait([pool.submit(pay.delay, n) for n in range(2)])
        return done.pop().exception()


def by_as_completed():
    with ThreadPoolExecutor(1) as pool:
        return next(as_completed([pool.submit(pay.delay, 1)])).exception()


def by_sync_to_async():
    return caught(async_to_sync(sync_to_async(pay.delay, thread_sensitive=False)), 1)


def caught(call, *args):
    try:
        return call(*args)
    except StorageError as exc:
        return exc


@pytest.mark.parametrize(
    "elsewhere",
    [in_a_thread, in_a_pool, in_a_pool_that_is_left, by_map, by_wait, by_as_completed, by_sync_to_async],
)
def test_a_thread_that_the_transaction_waits_for_is_told_so_at_once(shop, elsewhere):
    with transaction.atomic():
        Order.objects.create()
        began = time.monotonic()
        said = elsewhere()
        assert time.monotonic() - began < SOON_S
        assert isinstance(said, StorageError)
        assert "on_commit" in str(said)
        assert pay.delay(1).exists()  # the transaction itself goes on


def test_a_thread_that_nobody_waits_for_sends_when_the_transaction_has_ended(shop):
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Order.objects.create()
            future = pool.submit(pay.delay, 1)
            with pytest.raises(TimeoutError):
                future.result(timeout=1)  # with a limit it would end by itself: that is no deadlock
        assert future.result(timeout=60).exists()


def test_who_waits_to_the_end_is_told_which_thread_has_the_file(shop):
    with override_settings(LITEQ={"DATABASE": "default", "BUSY_TIMEOUT": 0.2}), transaction.atomic():
        Order.objects.create()
        said = in_a_thread()
    assert isinstance(said, StorageBusy)
    assert f"the thread {threading.current_thread().name} of this process is inside atomic()" in str(said)
