"""A project's own tests, by Django's runner: the queue is in its test database."""

from __future__ import annotations

import os

import pytest

TESTS = """
from asgiref.sync import sync_to_async
from django.test import TestCase, TransactionTestCase, override_settings
from liteq_django import drain
from liteq_django.drivers import MemoryDriver
from liteq_django.models import OutboxEntry
from liteq_django.project import default_app
from shop.orders.models import Order
from shop.orders.tasks import count, pay


class Orders(TestCase):
    def test_a_task_is_run_by_drain(self):
        assert isinstance(default_app().storage.driver, MemoryDriver)
        order = Order.objects.create()
        sent = pay.delay(order.pk)
        assert sent.state == "PENDING"
        assert drain() == 1
        order.refresh_from_db()
        assert order.paid and sent.get(timeout=1) == 1

    def test_nothing_is_left_of_other_tests(self):
        assert default_app().storage.reader.counts() == []

    @override_settings(LITEQ={"DATABASE": "default", "TASK_ALWAYS_EAGER": True})
    def test_eager(self):
        assert pay.delay(Order.objects.create().pk).get() == 1

    def test_on_commit(self):
        with self.captureOnCommitCallbacks(execute=True):
            pay.delay_on_commit(1)
        assert drain() == 1

    async def test_async_code(self):
        order = await Order.objects.acreate()
        sent = await pay.adelay(order.pk)
        assert (await sent.ameta())["status"] == "PENDING"
        assert await sync_to_async(drain)() == 1
        await order.arefresh_from_db()
        assert order.paid and await sent.aget(timeout=1) == 1

    @override_settings(LITEQ={"DATABASE": "default", "TASK_ALWAYS_EAGER": True})
    async def test_async_code_and_eager_tasks(self):
        order = await Order.objects.acreate()
        assert (await pay.adelay(order.pk)).get() == 1

    def test_a_coroutine_sees_the_rows_of_the_test(self):
        Order.objects.create()
        sent = count.delay()
        assert drain() == 1
        assert sent.get(timeout=1) == 1


class Committed(TransactionTestCase):
    def test_outside_of_transactions(self):
        pay.delay(Order.objects.create().pk)
        assert drain() == 1

    def test_1_sends(self):
        pay.delay(Order.objects.create().pk)

    def test_2_finds_nothing_of_it(self):
        assert drain() == 0 and default_app().storage.reader.counts() == []
"""


@pytest.mark.parametrize("database", ["in memory", "in a file", "on a server"])
def test_a_testcase_runs_tasks_in_its_own_transaction(new_site, tmp_path, database, request):
    tests, env = TESTS, {}
    if database == "in a file":
        tests, env = TESTS.replace("MemoryDriver", "SharedDriver"), {"SHOP_TEST_DB": str(tmp_path / "test.db")}
    elif database == "on a server":
        tests = TESTS.replace("drivers import MemoryDriver", "server import SharedServer as MemoryDriver")
        env = {"SHOP_POSTGRES": request.getfixturevalue("postgres")}
    (tmp_path / "test_orders.py").write_text(tests)
    site = new_site(**env)
    site.env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    done = site.manage("test", "test_orders", "-v1")
    assert done.returncode == 0, done.stderr
    assert "Ran 10 tests" in done.stderr
    assert not (tmp_path / "shop.db").exists() or (tmp_path / "shop.db").stat().st_size == 0


OUTBOX_TESTS = """
import warnings
from django.test import TestCase
from liteq_django import drain
from shop.orders.models import Order
from shop.orders.tasks import pay


class Orders(TestCase):
    def test_drain_tells_what_waits_for_the_commit(self):
        pay.delay(Order.objects.create().pk)
        with self.assertWarnsRegex(UserWarning, "waits in the outbox .1 entries."):
            assert drain() == 0

    def test_what_was_committed_is_run(self):
        with warnings.catch_warnings(), self.captureOnCommitCallbacks(execute=True):
            warnings.simplefilter("error")
            assert drain() == 0
            pay.delay(Order.objects.create().pk)
        assert drain() == 1
"""


def test_drain_warns_where_messages_wait_in_the_outbox(new_site, tmp_path):
    (tmp_path / "test_orders.py").write_text(OUTBOX_TESTS)
    site = new_site(SHOP_QUEUE=str(tmp_path / "queue.db"))
    site.env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    done = site.manage("test", "test_orders", "-v1")
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr
