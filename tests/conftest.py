"""Surroundings of every test: no settings from outside, a folder of its own, and a way to wait for facts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from liteq.app import registrar
from liteq.storage.facades.reading import views

from . import servers

# A shared machine's pauses are no failure of the code under test; a failing example is printed, not kept on the disk.
settings.register_profile("default", deadline=None, database=None, print_blob=True)
settings.load_profile("default")
# Nor is a page's read that takes a second; `within_s` has tests of its own.
views.DEADLINE_S = 60.0


if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # Under nohup: a worker would take that over from here and ignore the signal too. A handler is not inherited.
    signal.signal(signal.SIGHUP, lambda *_: None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has what it starts in the background ignore Ctrl-C, and all that comes after: as above.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Processes for `-n auto`: twice the processors, as two thirds of the time is waiting for other processes."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist reads it
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 * usable


@pytest.fixture(autouse=True)
def _clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it: not by the environment, not by a file in the working directory.

    Nor do the apps of earlier tests, which may not have been collected yet, share their tasks with its own.
    """
    for name in os.environ:
        if name.startswith(("LITEQ_", "CELERY_")) and not name.startswith("LITEQ_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    registrar._registrars.clear()


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """`eventually(lambda: count() == 3, within_s=5)`: returns as soon as it is so, fails when it never is."""

    def wait_for(fact: Callable[[], object], *, within_s: float = 60.0) -> None:
        give_up = time.monotonic() + within_s
        while not fact():
            if time.monotonic() > give_up:
                pytest.fail(f"not within {within_s} s: {fact!r}")
            time.sleep(0.005)

    return wait_for


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The folder of the socket of a PostgreSQL server, which the tests of one process share.

    `LITEQ_TEST_POSTGRESQL`: that of one that runs already, for a process alone.
    """
    if given := os.environ.get("LITEQ_TEST_POSTGRESQL"):
        yield given
        return
    with servers.postgresql() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgresql_pooled(postgresql_server: str) -> Iterator[str]:
    """The folder of the socket of a pgbouncer in transaction mode, before that server."""
    with servers.pgbouncer(postgresql_server) as folder:
        yield folder
