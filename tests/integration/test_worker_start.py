"""Situations that a worker meets when it starts."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.worker import Worker

from .worker_process import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.mark.parametrize("args", [(), ("-B",)], ids=["alone", "with beat"])
def test_it_waits_while_somebody_writes(site, args):
    """A web request in a transaction on the same file, of more seconds than the worker's loop would wait later."""
    sent = site.send("add", 1, 2)
    with site.app.storage.driver.write():
        worker = site.start("-c", "1", *args)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(timeout=3)
    assert site.get(sent) == 3
    assert site.end(worker) == 0


def test_it_ends_where_nobody_ever_lets_it_write(site):
    site.send("add", 1, 2)
    with site.app.storage.driver.write():
        worker = site.start("-c", "1", LITEQ_BUSY_TIMEOUT="0.2")
        assert worker.wait(timeout=60) == 75
    assert "the write lock was not free" in site.log().read_text()


def test_a_start_that_fails_after_its_entry_leaves_no_worker_on_the_list(site):
    (site.folder / "taken.pid").write_text("no pidfile\n")
    worker = site.start("-c", "1", "--pidfile", "taken.pid")
    assert worker.wait(timeout=60) == 73
    assert not site.app.storage.reader.workers()


def test_a_worker_that_leaves_gives_the_signals_back(site):
    app = site.app
    app.storage.migrate()
    before = signal.getsignal(signal.SIGTERM)
    worker = Worker(app, concurrency=1)
    worker.enter()
    assert app.control.living()
    assert signal.getsignal(signal.SIGTERM) != before
    worker.leave()
    assert not app.storage.reader.workers()
    assert signal.getsignal(signal.SIGTERM) == before
