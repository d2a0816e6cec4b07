"""Very many files on one worker: they cost nothing at rest. LITEQ_TEST_FILES=1000 takes a thousand of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_many_files import Tenants
from .worker_process import wait_for

N = int(os.environ.get("LITEQ_TEST_FILES", "120"))
WATCHED_S = 6.0
FOLD = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)')"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Tenants]:
    site = Tenants(tmp_path)
    seed = tmp_path / "seed.db"
    with site.app.using(seed):
        site.app.storage.migrate()
    site.app.close()
    subprocess.run([sys.executable, "-c", FOLD, str(seed)], check=True)
    for n in range(N):
        shutil.copy(seed, site.path(f"t{n:04}"))
    yield site
    site.close()


def cpu_s(pid: int) -> float:
    """The seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_files_cost_no_descriptor_and_hardly_any_time_and_each_is_served(site: Tenants) -> None:
    worker = site.worker("-c", "1")
    wait_for(lambda: len(entered(site)) == N, within_s=300, what="it has looked at all files")
    wait_for(lambda: not site.open_files(worker.pid), within_s=60, what="all files are closed")
    assert len(list(Path(f"/proc/{worker.pid}/fd").iterdir())) < 30
    before, since = cpu_s(worker.pid), time.monotonic()
    time.sleep(WATCHED_S)  # the fact is that nothing happens meanwhile
    assert (cpu_s(worker.pid) - before) / (time.monotonic() - since) < 0.05
    for n in range(0, N, 10):
        name = f"t{n:04}"
        assert site.to(name, "where").get(timeout=60) == str(site.path(name))
    wait_for(lambda: len(opened(site, worker.pid)) <= 64 + 1, what="no more are open than it may keep")


def opened(site: Tenants, pid: int) -> set[str]:
    return {name for name in site.open_files(pid) if name.endswith(".db")}


def entered(site: Tenants) -> list[str]:
    """The files whose log or content shows that the worker has been there."""
    folder = site.folder / "tenants"
    return [path.name for path in folder.glob("*.db-gate")]
