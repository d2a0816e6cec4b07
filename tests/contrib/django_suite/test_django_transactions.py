"""The queue in the models' database: what is sent inside `atomic()` is committed or rolled back with the models."""

from __future__ import annotations

import pytest
from django.core.handlers.base import BaseHandler
from django.db import connection, connections, transaction
from django.db.transaction import TransactionManagementError
from shop.orders.models import Order
from shop.orders.tasks import pay

from liteq.exceptions import ImproperlyConfigured, StorageError, StorageUnavailable, TimeoutError
from liteq.states import State
from liteq.storage.driver import Bell
from liteq_django import drain
from liteq_django.drivers import SharedDriver


def counts(app):
    return {count.state: count.n for count in app.storage.reader.counts()}


def test_the_queue_is_in_the_models_database_through_pythons_sqlite(shop):
    assert isinstance(shop.storage.driver, SharedDriver)
    assert shop.storage.driver.library == "stdlib"


def test_a_rollback_leaves_no_task(shop):
    with pytest.raises(KeyError), transaction.atomic():
        order = Order.objects.create()
        sent = pay.delay(order.pk)
        assert sent.exists()  # a transaction sees what it has written itself
        raise KeyError
    assert not sent.exists()
    assert counts(shop) == {}
    assert Order.objects.count() == 0


def test_who_waits_inside_is_told_that_no_worker_sees_the_task(shop):
    with transaction.atomic():
        sent = pay.delay(Order.objects.create().pk)
        with pytest.raises(TimeoutError, match="inside a transaction: what it sent there is seen by no worker before"):
            sent.get(timeout=0.01)
    with transaction.atomic(), pytest.raises(TimeoutError, match="no worker is alive"):
        sent.get(timeout=0.01)  # nothing was written in this one


def test_a_call_inside_cannot_wait_for_its_copy(shop):
    refused = (ImproperlyConfigured, r"send it by transaction[.]on_commit")
    if connection.vendor == "postgresql":
        refused = (StorageError, "synchronous_standby_names")
    with transaction.atomic():
        with pytest.raises(refused[0], match=refused[1]):
            pay.apply_async((1,), replicated=True)
    assert shop.storage.reader.counts() == []


def test_a_commit_brings_both(shop):
    with transaction.atomic():
        order = Order.objects.create()
        sent = pay.delay(order.pk)
    assert sent.exists()
    assert drain() == 1
    order.refresh_from_db()
    assert order.paid
    assert sent.get(timeout=1) == 1


def test_a_view_under_atomic_requests_sends_with_its_own_commit(shop, monkeypatch):
    def view(request, *, fails):
        sent.append(pay.delay(Order.objects.create().pk))
        if fails:
            raise KeyError

    sent = []
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    atomic_view = BaseHandler().make_view_atomic(view)
    with pytest.raises(KeyError):
        atomic_view(None, fails=True)
    atomic_view(None, fails=False)
    assert [one.exists() for one in sent] == [False, True]


def test_a_savepoint_that_is_rolled_back_takes_its_tasks_alone(shop):
    with transaction.atomic():
        kept = pay.delay(1)
        with pytest.raises(KeyError), transaction.atomic():
            dropped = pay.delay(2)
            raise KeyError
        kept_too = pay.delay(3)
    assert [result.exists() for result in (kept, dropped, kept_too)] == [True, False, True]


def test_a_whole_canvas_is_one_with_the_transaction(shop):
    from liteq import chord

    with pytest.raises(KeyError), transaction.atomic():
        chord([pay.si(1), pay.si(2)], pay.si(3)).delay()
        raise KeyError
    assert counts(shop) == {}
    with transaction.atomic():
        chord([pay.si(1), pay.si(2)], pay.si(3)).delay()
    assert counts(shop) == {State.PENDING: 2, State.BLOCKED: 1}


def test_the_bell_is_rung_by_the_commit(shop):
    ear = shop.storage.listen(Bell.WORK)
    try:
        ear.clear()
        with transaction.atomic():
            pay.delay(1)
            assert not ear.wait(0.05)
        assert ear.wait(60)
        with pytest.raises(KeyError), transaction.atomic():
            pay.delay(1)
            raise KeyError
        assert not ear.wait(0.05)
    finally:
        ear.close()


def test_every_verb_goes_through_the_open_transaction_and_waits_for_nobody(shop):
    sent = pay.delay(1)
    with transaction.atomic():
        Order.objects.create()  # the write lock is Django's now
        sent.revoke()
        shop.schedules.add("nightly", 60, "shop.orders.tasks.pay", (1,))
    assert sent.state == "REVOKED"
    assert [record.name for record in shop.schedules.all()] == ["nightly"]


def test_a_transaction_that_has_written_nothing_sees_what_others_commit(shop):
    sent = pay.delay(1)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert sent.exists()


def test_a_function_that_is_atomic_begins_with_nothing_written_each_time(shop):
    @transaction.atomic
    def view(*, sends):
        if sends:
            pay.delay(1)
        return shop.storage.driver.is_uncommitted()

    assert [view(sends=sends) for sends in (False, True, False)] == [False, True, False]


def test_what_was_written_in_a_savepoint_is_gone_with_it(shop):
    with transaction.atomic():
        with pytest.raises(KeyError), transaction.atomic():
            pay.delay(1)
            raise KeyError
        assert not shop.storage.driver.is_uncommitted()
        pay.delay(2)
        assert shop.storage.driver.is_uncommitted()


def test_what_triggers_delete_is_not_counted_inside(shop):
    def delete():
        large = pay.delay("x" * 1_000_000)  # its arguments stand beside its row, which takes them along
        with shop.storage.driver.write() as tx:
            return tx.executemany("DELETE FROM liteq_messages WHERE id = ?", [(large.id,)])

    assert delete() == 1
    with transaction.atomic():
        assert delete() == 1


def test_many_in_one_transaction(shop):
    with transaction.atomic():
        ids = shop.enqueue_many(pay.s(n) for n in range(1_000))
    assert len(set(ids)) == 1_000
    assert counts(shop) == {State.PENDING: 1_000}


def test_a_broken_transaction_takes_no_more_tasks(shop):
    with pytest.raises(TransactionManagementError), transaction.atomic():
        transaction.set_rollback(True)
        pay.delay(1)


def test_on_commit_is_celerys(shop):
    with transaction.atomic():
        assert pay.delay_on_commit(1) is None
        assert pay.apply_async_on_commit(args=(2,), countdown=60) is None
        assert counts(shop) == {}
    assert counts(shop) == {State.PENDING: 1, State.SCHEDULED: 1}


def test_missing_tables_are_a_clear_error_inside_a_transaction(shop):
    shop.storage.close()
    shop.close()
    try:
        with pytest.raises(KeyError), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM liteq_meta")
                cursor.execute("ALTER TABLE liteq_meta RENAME TO gone")
            with pytest.raises(StorageUnavailable, match=r"run `manage\.py migrate`"):
                pay.delay(1)
            raise KeyError
    finally:
        shop.close()


def test_a_second_sqlite_library_on_the_models_file_is_refused(shop):
    path = connection.settings_dict["NAME"]
    with pytest.raises(ImproperlyConfigured, match="Leave out the driver"):
        shop.open_storage(f"sqlite+apsw:///{path}")


def test_djangos_connections_leave_checkpoints_to_liteq(shop):
    connection.close()
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_overridden_settings_reach_the_app(shop, settings_of):
    order = Order.objects.create()
    with settings_of(LITEQ={"DATABASE": "default", "TASK_ALWAYS_EAGER": True}):
        assert pay.delay(order.pk).get() == 1
    assert not shop.conf.task_always_eager
    with settings_of(LITEQ={"BROKER_URL": "sqlite:////nowhere/at/all.db"}), pytest.raises(StorageUnavailable):
        pay.delay(order.pk)
    assert pay.delay(order.pk).state == "PENDING"


@pytest.fixture
def settings_of():
    from django.test import override_settings

    return override_settings
