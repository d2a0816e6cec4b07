"""A Django project in this process, its database in a file, and real workers on it. Without Django: no tests here."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

HERE = Path(__file__).resolve().parent
SITE = HERE / "site"
ROOT = HERE.parents[2]


def has_tasks() -> bool:
    """Django's tasks are its own from version 6 on, and a package before."""
    names = [name for name in ("django.tasks", "django_tasks") if importlib.util.find_spec("django")]
    return any(importlib.util.find_spec(name) for name in names)


if not has_tasks():
    collect_ignore_glob = ["test_*.py"]
else:
    FOLDER = Path(tempfile.mkdtemp(prefix="liteq-django-"))
    os.environ["SHOP_DB"] = str(FOLDER / "shop.db")
    os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    sys.path.insert(0, str(SITE))
    import django

    django.setup()


@pytest.fixture(scope="session")
def _tables():
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


@pytest.fixture
def shop(_tables) -> Iterator[object]:
    """The project's app, on an empty database."""
    from django.contrib.auth.models import User
    from django.db import connection, connections, transaction
    from shop.orders.models import Order

    from liteq_django.project import default_app

    app = default_app()
    app.close()
    Order.objects.all().delete()
    User.objects.all().delete()
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL search_path TO liteq, public")
        names = [n for n in connection.introspection.table_names(cursor) if n.startswith("liteq_")]
        for name in names:
            if name != "liteq_meta":
                cursor.execute(f"DELETE FROM {name}")
    yield app
    app.close()
    connections.close_all()


@pytest.fixture
def admin(shop):
    """A client that may do everything in the admin."""
    from django.contrib.auth.models import User

    from .admin_pages import client_with

    return client_with(User.objects.create_superuser("root", password="x"))


@pytest.fixture
def postgres(postgresql_server: str) -> Iterator[str]:
    """SHOP_POSTGRES: an empty database on a server of the tests' own."""
    psycopg = pytest.importorskip("psycopg")
    name = f"shop_{uuid4().hex}"
    with psycopg.connect(host=postgresql_server, user="postgres", dbname="postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield f"{postgresql_server}:{name}"
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Site:
    """The project in processes of its own."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        path = os.pathsep.join([str(SITE), str(ROOT), str(ROOT / "contrib")])
        if importlib.util.find_spec("liteq_django").origin.startswith(sys.prefix):  # the wheel is what is tested
            path = str(SITE)
        self.env = {**os.environ, "PYTHONPATH": path, **env}
        self.started: list[subprocess.Popen] = []

    def manage(self, *args: str, timeout: float = 120) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, str(SITE / "manage.py"), *args],
            env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=timeout, start_new_session=True,
        )  # fmt: skip

    def python(self, code: str, *args: str) -> subprocess.CompletedProcess:
        code = "import django; django.setup()\n" + code
        return subprocess.run(
            [sys.executable, "-c", code, *args],
            env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=120, start_new_session=True,
        )  # fmt: skip

    def worker(self, *args: str, command: list[str] | None = None) -> subprocess.Popen:
        """A worker; back when it is ready."""
        log = self.folder / f"worker-{len(self.started)}.log"
        command = command or [str(SITE / "manage.py"), "liteq", "worker"]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, *command, "-l", "INFO", *args],
                env=self.env, cwd=self.folder, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        process.log = log
        wait(lambda: "ready." in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        return process

    def close(self) -> None:
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait(fact, within_s: float = 60.0):
    import time

    end = time.monotonic() + within_s
    while not (value := fact()):
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(0.02)
    return value


@pytest.fixture
def wait_for():
    return wait


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    """The same project, on the database of this process."""
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.fixture
def new_site(tmp_path):
    """`new_site(SHOP_QUEUE=...)`: the project with an environment of its own."""
    made: list[Site] = []

    def make(**env: str) -> Site:
        made.append(Site(tmp_path, **{"SHOP_DB": str(tmp_path / "shop.db"), **env}))
        return made[-1]

    yield make
    for one in made:
        one.close()
