"""The queue in a file of its own: what is sent inside `atomic()` goes by way of a table in the models' database."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ... import servers
from ...codecs import Backwards

PROGRAM = """
import json, os, signal, sys
from django.db import transaction
from liteq_django.models import OutboxEntry
from liteq_django.project import default_app
from liteq_django.storage import relay_for
from shop.orders.models import Order
from shop.orders.tasks import pay

app, said = default_app(), {}
try:
    with transaction.atomic():
        lost = pay.delay(Order.objects.create().pk)
        raise KeyError
except KeyError:
    said["rolled back"] = [lost.exists(), OutboxEntry.objects.count(), Order.objects.count()]

with transaction.atomic():
    order = Order.objects.create()
    sent = pay.delay(order.pk)
    with transaction.atomic():
        many = app.enqueue_many(pay.s(order.pk) for _ in range(3))
    said["inside"] = [sent.exists(), OutboxEntry.objects.count()]
said["after"] = [sent.exists(), app.AsyncResult(many[2]).exists(), OutboxEntry.objects.count()]

direct = pay.delay(order.pk)
said["outside"] = [direct.exists(), OutboxEntry.objects.count()]

# A process that dies between the commit and the delivery, as on_commit callbacks that never run.
app.storage.deliver_own = lambda key: None
with transaction.atomic():
    late = pay.delay(order.pk)
said["died"] = [late.exists(), OutboxEntry.objects.count()]
OutboxEntry.objects.create(batch=b"not a batch")
relay = relay_for(app)
said["relayed"] = [relay.turn(), late.exists(), relay.turn(), OutboxEntry.objects.count()]
said["messages"] = sum(count.n for count in app.storage.reader.counts())
OutboxEntry.objects.all().delete()

from liteq import Debounce
with transaction.atomic():
    twice = [app.send_task("later", (n,), unique=Debounce(3600)) for n in (1, 2)]
relay.turn()
said["unique"] = [app.storage.reader.find(one.id).payload.decode() for one in twice] + [one.duplicate for one in twice]

with transaction.atomic():
    killed = pay.delay(order.pk)
said["killed"] = [killed.id, order.pk]
print(json.dumps(said), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def check_the_promise(site, wait_for):
    migrated = site.manage("migrate", "-v0")
    assert migrated.returncode == 0, migrated.stderr
    done = site.python(PROGRAM)
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert said["rolled back"] == [False, 0, 0]
    assert said["inside"] == [False, 2]
    assert said["after"] == [True, True, 0]
    assert said["outside"] == [True, 0]
    assert said["died"] == [False, 1]
    assert said["relayed"] == [1, True, 0, 1]  # what cannot be read stays, and holds nothing up
    assert said["messages"] == 6
    assert said["unique"] == ["[[2],{}]", "[[2],{}]", False, True]  # one call runs, the other has its result

    site.worker("-c", "2")  # one of its processes relays what the killed one has left
    id_, order = said["killed"]
    result = site.python(
        "from liteq_django.project import default_app; from shop.orders.models import Order; import sys, time\n"
        "end = time.monotonic() + 60\n"
        "while time.monotonic() < end and not default_app().AsyncResult(sys.argv[1]).ready(): time.sleep(.05)\n"
        "time.sleep(.1); print(default_app().AsyncResult(sys.argv[1]).get(timeout=1),"
        " Order.objects.get(pk=sys.argv[2]).runs)",
        id_,
        str(order),
    )
    assert result.stdout.split() == ["1", "7"], result.stderr  # each ran once


def test_with_the_models_in_another_sqlite_file(new_site, tmp_path, wait_for):
    check_the_promise(new_site(SHOP_QUEUE=str(tmp_path / "queue.db")), wait_for)


@pytest.fixture
def mysql():
    pytest.importorskip("pymysql")
    with servers.mysql() as url:
        yield url


def test_with_the_models_in_postgresql(new_site, tmp_path, postgres, wait_for):
    check_the_promise(new_site(SHOP_QUEUE=str(tmp_path / "queue.db"), SHOP_POSTGRES=postgres), wait_for)


def test_with_the_models_in_mysql(new_site, tmp_path, mysql, wait_for):
    check_the_promise(new_site(SHOP_QUEUE=str(tmp_path / "queue.db"), SHOP_MYSQL=mysql), wait_for)


def test_a_row_of_a_newer_liteq_waits_and_the_rows_behind_it_do_not(shop, caplog):
    from django.db import connection
    from django.test import override_settings

    from liteq_django.models import OutboxEntry
    from liteq_django.outbox import Relay

    own = {"BROKER_URL": f"sqlite:///{connection.settings_dict['NAME']}-newer"}
    with override_settings(LITEQ=own):
        newer = OutboxEntry.objects.create(batch=b'{"version": 99, "messages": [], "groups": []}')
        before = b'{"messages":[{"id":"1","task":"t","payload":"[[],{}]"}],"groups":[]}'
        OutboxEntry.objects.create(batch=before)
        assert Relay(shop.storage).turn() == 1
        assert [entry.pk for entry in OutboxEntry.objects.all()] == [newer.pk]
        assert shop.storage.reader.find("1") is not None
        assert "a batch of version 99" in caplog.text
        newer.delete()


def test_the_relay_goes_on_whatever_goes_wrong(shop, monkeypatch, caplog):
    import threading

    from django.db import InterfaceError, connection
    from django.test import override_settings

    from liteq_django import outbox
    from liteq_django.outbox import Relay

    errors, looked = [RuntimeError("unforeseen"), OSError("no locks"), InterfaceError("closed")], threading.Event()

    def undelivered(*, after=0):
        if errors:
            raise errors.pop()
        looked.set()
        return []

    monkeypatch.setattr(outbox, "LEADER_RETRY_S", 0.01)
    with override_settings(LITEQ={"BROKER_URL": f"sqlite:///{connection.settings_dict['NAME']}-trouble"}):
        shop.storage.undelivered = undelivered
        relay = Relay(shop.storage, interval_s=0.01)
        relay.start()
        try:
            assert looked.wait(60)
        finally:
            relay.stop()
            shop.close()
    assert caplog.text.count("it is tried again") == 1


def test_many_large_messages_are_rows_that_a_server_takes(shop):
    from django.db import connection, transaction
    from django.test import override_settings
    from shop.orders.tasks import pay

    from liteq_django.models import OutboxEntry

    with override_settings(LITEQ={"BROKER_URL": f"sqlite:///{connection.settings_dict['NAME']}-large"}):
        with transaction.atomic():
            ids = shop.enqueue_many(pay.s("x" * 400_000) for _ in range(5))
            sizes = [len(entry.batch) for entry in OutboxEntry.objects.order_by("pk")]
        assert all(shop.AsyncResult(id_).exists() for id_ in ids)
        assert OutboxEntry.objects.count() == 0
    assert len(sizes) == 3
    assert max(sizes) < 1_000_000


def test_a_chosen_id_that_has_finished_runs_again_as_outside_of_a_transaction(shop):
    from django.db import connection, transaction
    from django.test import override_settings
    from shop.orders.models import Order
    from shop.orders.tasks import pay

    from liteq_django import drain
    from liteq_django.models import OutboxEntry
    from liteq_django.outbox import Relay

    with override_settings(LITEQ={"BROKER_URL": f"sqlite:///{connection.settings_dict['NAME']}-again"}):
        order = Order.objects.create()

        def send():
            with transaction.atomic():
                return pay.apply_async((order.pk,), task_id="report-7")

        assert [send().state, drain(), send().state, drain()] == ["PENDING", 1, "PENDING", 1]
        shop.storage.deliver_own = lambda key: None  # a process that dies right after the commit
        sent = send()
        row = OutboxEntry.objects.values("created_at", "batch").get()
        relay = Relay(shop.storage)
        assert [relay.turn(), drain(), sent.state] == [1, 1, "SUCCESS"]
        entry = OutboxEntry.objects.create(batch=row["batch"])  # and one that dies before its row is gone
        OutboxEntry.objects.filter(pk=entry.pk).update(created_at=row["created_at"])
        assert [relay.turn(), drain(), sent.state] == [1, 0, "SUCCESS"]
        assert Order.objects.get(pk=order.pk).runs == 3
        shop.close()


def test_a_run_that_is_started_in_a_transaction_goes_with_it(shop):
    from django.db import connection, transaction
    from django.test import override_settings

    from liteq.exceptions import WorkflowError
    from liteq_django import drain

    with override_settings(LITEQ={"BROKER_URL": f"sqlite:///{connection.settings_dict['NAME']}-runs"}):
        flow = shop.workflow(name="ordering")(lambda n: n)
        started = []
        with pytest.raises(KeyError), transaction.atomic():
            started.append(flow.start(1))
            raise KeyError
        with transaction.atomic():
            started.append(flow.options(id="order-7").start(2))
            assert [shop.storage.runs.find(run.id) for run in started] == [None, None]
        assert [shop.storage.runs.find(run.id) is None for run in started] == [True, False]
        drain()
        assert started[1].result(0) == 2
        with pytest.raises(WorkflowError, match="of another database"), transaction.atomic():
            flow.options(id="order-7", on_conflict="existing").start(3)
        shop.close()


@pytest.mark.parametrize(("chunk", "turns"), [(500, [2, 0]), (1, [0, 1, 1])])
def test_a_row_for_another_file_goes_there_by_the_relay_of_the_own_queue(shop, caplog, monkeypatch, chunk, turns):
    """`app.using()` inside a transaction: the table is one for all files, and each message belongs to its own."""
    from django.db import connection, transaction
    from django.test import override_settings

    from liteq_django import outbox
    from liteq_django.models import OutboxEntry
    from liteq_django.outbox import Relay

    base = connection.settings_dict["NAME"]

    def send_and_die(*files):
        sent = []
        for file in files:
            with shop.using(file):
                shop.storage.deliver_own = lambda key: None  # a process that dies right after the commit
                with transaction.atomic():
                    sent.append(shop.send_task("shop.bill"))
        return sent

    with override_settings(LITEQ={"BROKER_URL": f"sqlite:///{base}-own"}):
        folder = Path(f"{base}-folder")
        folder.mkdir()
        ill, *well = send_and_die(folder / "ill.db", f"{base}-a", f"{base}-b")
        shop.close()
        shutil.rmtree(folder)
        relay = Relay(shop.storage)
        monkeypatch.setattr(outbox, "CHUNK", chunk)
        assert [relay.turn() for _ in turns] == turns
        assert [one.exists() for one in well] == [True, True]
        assert [shop.storage.reader.find(one.id) for one in (ill, *well)] == [None] * 3
        assert [OutboxEntry.objects.count(), caplog.text.count("cannot take it now")] == [1, 1]
        OutboxEntry.objects.all().delete()
        shop.close()


def test_the_relay_that_is_asked_for_serves_other_files_beside_a_queue_among_the_models(shop):
    from django.core.management import call_command
    from django.db import connection, transaction

    from liteq_django.storage import relay_for

    with shop.using(f"{connection.settings_dict['NAME']}-beside"):
        shop.storage.deliver_own = lambda key: None  # a process that dies right after the commit
        with transaction.atomic():
            sent = shop.send_task("shop.bill")
    assert [relay_for(shop), sent.exists()] == [None, False]  # no worker looks at the table each second for this
    call_command("liteq", "relay", "--", "--once")
    assert sent.exists()


def test_a_missing_table_is_a_clear_error(shop):
    from django.db import connection, transaction
    from django.test import override_settings
    from shop.orders.tasks import pay

    from liteq.exceptions import StorageUnavailable

    own = {"BROKER_URL": f"sqlite:///{connection.settings_dict['NAME']}-queue"}
    with override_settings(LITEQ=own):
        with pytest.raises(StorageUnavailable, match=r"manage\.py migrate"), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE liteq_django_outboxentry RENAME TO gone")
            pay.delay(1)
        with transaction.atomic():
            sent = pay.delay(1)
        assert sent.exists()


def test_what_waits_in_the_outbox_is_sealed_as_in_the_queue(shop):
    """Where the queue has a payload codec, the models' database holds no argument in the open either."""
    from django.db import connection, transaction
    from django.test import override_settings

    from liteq_django.models import OutboxEntry
    from liteq_django.outbox import Relay

    own = {"BROKER_URL": f"sqlite:///{connection.settings_dict['NAME']}-sealed", "PAYLOAD_CODEC": Backwards}
    with override_settings(LITEQ=own):
        OutboxEntry.objects.all().delete()
        shop.storage.deliver_own = lambda key: None  # a process that dies right after the commit
        with transaction.atomic():
            sent = shop.send_task("shop.echo", args=["the secret"])
        (entry,) = OutboxEntry.objects.all()
        assert b"secret" not in bytes(entry.batch)
        assert Relay(shop.storage).turn() == 1
        assert shop.storage.reader.find(sent.id).payload == b'[["the secret"],{}]'
        assert OutboxEntry.objects.count() == 0
        shop.close()
