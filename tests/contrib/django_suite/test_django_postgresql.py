"""The queue in the models' database, a PostgreSQL one: the suite's own tests, in a process of their own, and more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from liteq_django.conf import server_url

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]

# These ask SQLite itself: for its library and its settings, or for the write lock, which no server has.
OF_SQLITE = (
    "test_the_queue_is_in_the_models_database_through_pythons_sqlite",
    "test_missing_tables_are_a_clear_error_inside_a_transaction",
    "test_a_second_sqlite_library_on_the_models_file_is_refused",
    "test_djangos_connections_leave_checkpoints_to_liteq",
    "test_a_thread_that_the_transaction_waits_for_is_told_so_at_once",
    "test_a_thread_that_nobody_waits_for_sends_when_the_transaction_has_ended",
    "test_who_waits_to_the_end_is_told_which_thread_has_the_file",
)
PARTS = {
    "sending": [
        "postgresql_cases.py",
        *(f"test_django_{name}.py" for name in ("transactions", "waiting", "workflows")),
    ],
    "tasks and admin": [f"test_django_{name}.py" for name in ("tasks_backend", "admin", "admin_runs")],
}


@pytest.mark.timeout(300)  # some sixty tests
@pytest.mark.parametrize("part", PARTS)
def test_all_is_as_with_sqlite(postgres, tmp_path, part):
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}",
         "-k", f"not ({' or '.join(OF_SQLITE)})", *(str(HERE / file) for file in PARTS[part])],
        env={**env, "SHOP_POSTGRES": postgres}, cwd=ROOT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_a_worker_runs_what_a_transaction_has_sent_once_that_is_committed(new_site, postgres, wait_for):
    site = new_site(SHOP_POSTGRES=postgres)
    migrated = site.manage("migrate", "-v0")
    assert migrated.returncode == 0, migrated.stderr
    site.worker("-c", "2")
    said = site.python(
        "from django.db import transaction; from shop.orders.models import Order; from shop.orders.tasks import pay\n"
        "with transaction.atomic():\n"
        "    order = Order.objects.create(); sent = pay.delay(order.pk)\n"
        "print(sent.get(timeout=60)); order.refresh_from_db(); print(order.paid)"
    )
    assert said.stdout.split() == ["1", "True"], said.stderr
    status = site.manage("liteq", "status", "-t", "60")
    assert status.returncode == 0, status.stderr
    assert "liteq@" in status.stdout


@pytest.mark.parametrize(
    ("database", "url"),
    [
        ({"NAME": "shop"}, "postgresql:///shop"),
        ({"NAME": "shop", "USER": "ann", "PASSWORD": "p@:/ß", "HOST": "db", "PORT": 5433},
         "postgresql://ann:p%40%3A%2F%C3%9F@db:5433/shop"),
        ({"NAME": "shop", "HOST": "::1"}, "postgresql://[::1]/shop"),
        ({"NAME": "a b", "HOST": "/run/pg", "PORT": "5433"}, "postgresql:///a%20b?host=%2Frun%2Fpg&port=5433"),
        ({"NAME": "shop", "HOST": "a,b", "OPTIONS": {"target_session_attrs": "read-write"}},
         "postgresql:///shop?target_session_attrs=read-write&host=a%2Cb"),
        ({"NAME": None, "OPTIONS": {"pool": True, "isolation_level": 2, "sslmode": "require"}},
         "postgresql:///postgres?sslmode=require"),
        ({"NAME": "shop", "OPTIONS": {"assume_role": "shop staff"}},
         "postgresql:///shop?options=-c%20role%3Dshop%5C%20staff"),
    ],
)  # fmt: skip
def test_the_queue_has_the_database_s_own_parameters(database, url):
    assert server_url(database) == url
