"""Facts about a queue in a PostgreSQL database of Django's, which no file has: run by test_django_postgresql.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import override_settings
from psycopg import IsolationLevel
from shop.orders.models import Order
from shop.orders.tasks import pay

from liteq.exceptions import StorageConflict, StorageUnavailable
from liteq.storage.driver import Bell
from liteq_django.checks import check
from liteq_django.conf import server_url
from liteq_django.outbox import OutboxStorage
from liteq_django.server import SharedServer
from liteq_postgres.driver import PostgresDriver

SETTINGS = ("search_path", "lock_timeout", "statement_timeout", "synchronous_commit")


def asked(sql: str, *params: object) -> tuple:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()


def in_another_thread(function, *args):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result(60)


def settings_now() -> tuple:
    return tuple(asked(f"SHOW {name}")[0] for name in SETTINGS)


def test_the_queue_is_a_schema_of_the_models_database(shop):
    assert isinstance(shop.storage.driver, SharedServer)
    assert asked("SELECT to_regclass('liteq.liteq_messages') IS NOT NULL, to_regclass('liteq_messages') IS NULL") == (
        True,
        True,
    )


def test_the_transaction_s_own_settings_are_as_before_behind_each_verb(shop):
    with transaction.atomic():
        asked("SELECT set_config('search_path', 'public, pg_catalog', true), set_config('lock_timeout', '7s', true)")
        before = settings_now()
        sent = pay.delay(1)
        assert sent.exists()
        assert settings_now() == before
        with pytest.raises(ZeroDivisionError), shop.storage.driver.write():
            raise ZeroDivisionError
        assert settings_now() == before


def test_what_is_accepted_waits_for_the_disk_although_the_connection_would_not(shop):
    def commits() -> str:
        shop.close()  # how a queue that is open commits is settled
        with transaction.atomic():
            asked("SELECT set_config('synchronous_commit', 'off', true)")
            pay.delay(1)
            return asked("SHOW synchronous_commit")[0]

    with override_settings(LITEQ={"DATABASE": "default", "DURABILITY": "durable"}):
        assert commits() == "on"
    with override_settings(LITEQ={"DATABASE": "default", "DURABILITY": "relaxed"}):
        assert commits() == "off"


@pytest.fixture
def rings(shop, monkeypatch) -> list[Bell]:
    rung: list[Bell] = []
    for bell in Bell:
        monkeypatch.setitem(shop.storage.driver._rings, bell, partial(rung.append, bell))
    return rung


def test_a_transaction_rings_once_however_much_it_sends(shop, rings):
    @transaction.atomic
    def send():
        for n in range(3):
            pay.delay(n)

    for times in (1, 2):
        send()
        assert rings == [Bell.WORK] * times


def test_a_savepoint_that_is_rolled_back_takes_no_other_s_bell(shop, rings):
    with transaction.atomic():
        with pytest.raises(KeyError), transaction.atomic():
            pay.delay(1)
            raise KeyError
        assert not shop.storage.driver._has_written()
        pay.delay(2)
    assert rings == [Bell.WORK]


def test_a_task_s_progress_locks_nothing_in_a_transaction_that_has_sent_nothing(shop):
    """A heartbeat extends the lease of a running task by a write to its row, and would wait for the transaction."""
    from liteq.message import WorkerIdentity, new_id

    pay.delay(1)
    worker = shop.storage.register_worker(WorkerIdentity(new_id(), "a", "h", "b", 1, "1"))
    (lease,) = shop.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    with transaction.atomic():
        Order.objects.create()
        assert shop.storage.progress(lease.id, b"{}", lease=(lease.seq, lease.token))
        known, lost = in_another_thread(lambda: shop.storage.heartbeat(worker, [lease], visibility_s=60))
    assert (known, lost) == (True, [])


def test_a_thread_beside_the_transaction_sends_meanwhile(shop):
    with transaction.atomic():
        inside = pay.delay(1)
        beside = in_another_thread(pay.delay, 2)
        assert beside.exists()
        assert not in_another_thread(inside.exists)


def test_a_schema_without_tables_is_told_inside_a_transaction(shop):
    url = server_url(connection.settings_dict)
    with override_settings(LITEQ={"BROKER_URL": f"{url}&schema=nowhere"}):
        with transaction.atomic(), pytest.raises(StorageUnavailable, match=r"run `manage\.py migrate`"):
            pay.delay(1)
    assert asked("SELECT count(*) FROM pg_namespace WHERE nspname = 'nowhere'") == (0,)


def test_a_conflict_leaves_the_transaction_usable(shop, monkeypatch):
    real, tries = SharedServer.write, []

    def write(self, *args, **kwargs):
        tries.append(1)
        if len(tries) == 1:
            raise StorageConflict("another transaction was in the way")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(SharedServer, "write", write)
    with transaction.atomic():
        order = Order.objects.create()
        sent = pay.apply_async((order.pk,), countdown=60)
    assert sent.exists()
    assert len(tries) > 1


def test_a_queue_in_another_database_is_reached_by_the_outbox(shop):
    own = server_url({**connection.settings_dict, "NAME": "postgres"})
    with override_settings(LITEQ={"BROKER_URL": own}):
        storage = shop.storage
        assert isinstance(storage, OutboxStorage)
        assert type(storage.driver) is PostgresDriver
        with transaction.atomic():
            sent = pay.delay(1)
            assert not sent.exists()
        assert sent.exists()


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_transactions_that_do_not_see_what_others_commit_are_warned_of(shop):
    assert "liteq.W016" not in {message.id for message in check()}
    strict = {**settings.DATABASES["default"], "OPTIONS": {"isolation_level": IsolationLevel.SERIALIZABLE}}
    with override_settings(DATABASES={"default": strict}):
        assert "liteq.W016" in {message.id for message in check()}
