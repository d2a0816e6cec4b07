"""Workers of a Django project: how they are started, what they do with connections, what a kill costs."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from asgiref.sync import SyncToAsync
from shop.orders.models import Order
from shop.orders.tasks import begin_and_fail, count, go_on, had_connection, pay, pay_slowly, walk

from liteq.exceptions import SoftTimeLimitExceeded
from liteq.states import State
from liteq_django import processes


def test_manage_py_starts_a_worker_that_finds_the_tasks_of_all_apps(shop, site):
    worker = site.worker("-c", "2")
    order = Order.objects.create()
    assert pay.delay(order.pk).get(timeout=60) == 1
    order.refresh_from_db()
    assert order.paid
    assert count.delay().get(timeout=60) == 1  # async, by Django's async ORM

    failed = begin_and_fail.delay(order.pk)
    with pytest.raises(ValueError, match="rolled back"):
        failed.get(timeout=60)
    assert {c.state for c in shop.storage.reader.counts()} == {State.SUCCEEDED, State.DEAD}  # nothing was sent

    assert had_connection.delay().get(timeout=60) is False  # without CONN_MAX_AGE a task opens its own
    status = site.manage("liteq", "status", "-t", "60")
    assert status.returncode == 0, status.stderr
    assert "1 worker" in status.stdout or "liteq@" in status.stdout

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    assert site.manage("liteq", "status").returncode == 69  # as Celery's: health checks use it


@pytest.mark.parametrize("pool", [("asyncio", "-c", "1"), ("threads", "-c", "3")])
def test_a_coroutine_amidst_its_rows_keeps_its_connection_when_another_ends(shop, site, tmp_path, wait_for, pool):
    site.worker("-P", *pool)
    Order.objects.bulk_create([Order() for _ in range(3)])
    note = tmp_path / "note"
    sent = walk.delay(str(note))
    wait_for(note.exists)
    assert count.delay().get(timeout=60) == 3
    go_on.delay()
    assert sent.get(timeout=60) == 3
    assert had_connection.delay().get(timeout=60) is False


def test_a_task_whose_process_is_killed_is_run_again(shop, site, tmp_path, wait_for):
    site.worker("-c", "1")
    order, note = Order.objects.create(), tmp_path / "note"
    sent = pay_slowly.delay(order.pk, str(note))
    wait_for(lambda: note.exists() and note.read_text())
    os.kill(int(note.read_text()), signal.SIGKILL)
    assert sent.get(timeout=60) == 1
    order.refresh_from_db()
    assert order.runs == 1


def test_a_killed_worker_loses_nothing(shop, site, tmp_path, wait_for):
    first = site.worker("-c", "1")
    order, note = Order.objects.create(), tmp_path / "note"
    sent, waiting = pay_slowly.delay(order.pk, str(note)), pay.delay(order.pk)
    wait_for(lambda: note.exists() and note.read_text())
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    site.worker("-c", "1")
    assert sent.get(timeout=60) == 1
    assert waiting.get(timeout=60) == 1
    order.refresh_from_db()
    assert order.runs == 2


def test_the_command_line_finds_a_project_by_its_package(shop, site):
    site.env.pop("DJANGO_SETTINGS_MODULE")
    site.worker("-P", "threads", "-c", "2", command=["-m", "liteq", "-A", "shop", "worker"])
    order = Order.objects.create()
    assert pay.delay(order.pk).get(timeout=60) == 1


def test_a_project_with_an_app_of_its_own(shop, new_site, tmp_path, wait_for):
    """As Celery's guide lays a project out: proj/celery.py, and its app in proj/__init__.py."""
    proj = tmp_path / "proj"
    proj.mkdir()
    (proj / "__init__.py").write_text("from .celery import app as celery_app\n")
    (proj / "celery.py").write_text(
        "import os\nfrom liteq import Celery\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'proj.settings')\n"
        "app = Celery('proj')\n"
        "app.config_from_object('django.conf:settings', namespace='CELERY')\n"
        "app.autodiscover_tasks()\n"
    )
    (proj / "settings.py").write_text(
        "from shop.settings import *\ndel LITEQ\nINSTALLED_APPS.remove('liteq_django')\n"
        f"CELERY_BROKER_URL = 'sqlite:///{tmp_path}/own.db'\nCELERY_TASK_DEFAULT_QUEUE = 'mail'\n"
    )
    site = new_site()
    site.env["DJANGO_SETTINGS_MODULE"] = "proj.settings"
    site.env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    assert site.manage("migrate", "-v0").returncode == 0
    del site.env["DJANGO_SETTINGS_MODULE"]
    site.worker("-c", "1", command=["-m", "liteq", "-A", "proj", "worker"])
    site.env["DJANGO_SETTINGS_MODULE"] = "proj.settings"
    done = site.python(
        "from proj import celery_app; from shop.orders.tasks import pay; from shop.orders.models import Order\n"
        "order = Order.objects.create(); sent = pay.delay(order.pk)\n"
        "assert pay.app is celery_app and hasattr(pay, 'delay_on_commit'), pay.app\n"
        "print(sent.get(timeout=60), sent.queue)"
    )
    assert done.stdout.split() == ["1", "mail"], done.stderr


def test_a_limit_that_ends_the_wait_for_the_orm_s_thread_leaves_no_coroutine_counted(monkeypatch):
    """With one too many, no connection of that thread would grow too old in this process any more."""
    looks = []

    class Busy:
        def submit(self, look):
            looks.append(Future())
            if len(looks) == 1:
                looks[0].set_exception(SoftTimeLimitExceeded())
            else:
                looks[-1].set_result(look())
            return looks[-1]

    monkeypatch.setattr(SyncToAsync, "single_thread_executor", Busy())
    monkeypatch.setattr(processes, "current_frame", lambda: (walk, SimpleNamespace(is_eager=False)))
    connections = processes.Connections()
    with pytest.raises(SoftTimeLimitExceeded):
        connections.on_execute(SimpleNamespace(kind="task"), lambda _: None)
    assert connections._coroutines == 0


@pytest.mark.parametrize("options", [[], ["-b", "sqlite:///elsewhere.db"]])
def test_what_is_wrong_with_the_settings_keeps_a_worker_from_starting(shop, new_site, tmp_path, options):
    settings = tmp_path / "wrong.py"
    settings.write_text("from shop.settings import *\nLITEQ = {'DATABASE': 'nowhere'}\n")
    site = new_site(DJANGO_SETTINGS_MODULE="wrong")
    site.env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    done = site.manage("liteq", *options, "worker")
    assert done.returncode == 1
    assert "liteq.E001" in done.stderr
    assert "DATABASES does not have" in done.stderr


@pytest.mark.parametrize("command", ["relay", "import_beat"])
def test_the_commands_that_only_django_has_explain_themselves(site, command):
    told = site.manage("liteq", command, "--help")
    assert (told.returncode, f"manage.py liteq {command}" in told.stdout) == (0, True), told.stderr
    wrong = site.manage("liteq", command, "--nonsense")
    assert wrong.returncode == 2
    assert "--nonsense" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_database_that_there_is_not_is_a_clear_error(site):
    wrong = site.manage("liteq", "import_beat", "--database", "elsewhere")
    assert wrong.returncode == 2
    assert "'default'" in wrong.stderr
