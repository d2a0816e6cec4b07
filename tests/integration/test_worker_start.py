"""Situations that a worker meets when it starts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

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
        assert worker.wait(timeout=20) == 75
    assert "the write lock was not free" in site.log().read_text()
