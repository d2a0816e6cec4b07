"""A newer liteq has migrated the file: an older worker stops politely and writes nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.exceptions import SchemaTooNew
from liteq.message import Batch, Message, new_id
from liteq.states import State
from liteq.storage.sqlite.migrate import migrations
from liteq.storage.storage import open_storage

from .harness import Drill, wait_for

KNOWN = max(migrations())
CONFIG = 78

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need fork")


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path)
    drill.storage().close()
    yield drill
    drill.close()


def set_versions(drill: Drill, version: int, min_reader: int, min_writer: int) -> None:
    """As a migration of a newer liteq does."""
    storage = open_storage(f"sqlite:///{drill.db}")
    with storage.driver.write() as tx:
        for key, value in {"version": version, "min_reader": min_reader, "min_writer": min_writer}.items():
            tx.execute("UPDATE liteq_meta SET value = ? WHERE key = ?", (value, key))
    storage.close()


def content(drill: Drill) -> list[list[object]]:
    """All that is in the file."""
    storage = open_storage(f"sqlite:///{drill.db}")
    with storage.driver.read() as tx:
        tables = [name for (name,) in tx.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        rows: list[list[object]] = [list(tx.execute(f"SELECT * FROM {name}")) for name in tables]
    storage.close()
    return rows


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
@pytest.mark.parametrize(
    ("version", "min_writer", "allowed"),
    [(KNOWN, KNOWN, True), (KNOWN + 1, KNOWN, True), (KNOWN + 5, 1, True), (KNOWN + 1, KNOWN + 1, False)],
)
def test_who_may_write_is_what_the_file_says(
    drill: Drill, version: int, min_writer: int, allowed: bool, library: str
) -> None:
    set_versions(drill, version, 1, min_writer)
    before = content(drill)
    storage = open_storage(f"sqlite:///{drill.db}?driver={library}")
    if allowed:
        assert storage.migrate() == version
        storage.driver.check_schema()
    else:
        with pytest.raises(SchemaTooNew, match=r"upgrade liteq-tasks here; nothing was written"):
            storage.migrate()
        with pytest.raises(SchemaTooNew):
            storage.driver.check_schema()
    storage.close()
    assert content(drill) == before


def test_an_older_worker_does_not_start_on_a_newer_file(drill: Drill) -> None:
    set_versions(drill, KNOWN + 1, KNOWN + 1, KNOWN + 1)
    before = content(drill)
    worker = drill.worker()
    assert worker.wait(timeout=20) == CONFIG
    assert content(drill) == before
    assert "upgrade liteq-tasks here" in drill.log()
    assert "Traceback" not in drill.log()


def test_a_running_worker_stops_when_its_file_is_migrated_by_a_newer_one(drill: Drill) -> None:
    storage = open_storage(f"sqlite:///{drill.db}")
    worker = drill.worker()
    task = drill.send(storage, "wait")
    wait_for(lambda: drill.ledger()[task] == 1)
    set_versions(drill, KNOWN + 1, KNOWN + 1, KNOWN + 1)
    assert worker.wait(timeout=20) == CONFIG
    assert "upgrade liteq-tasks here" in drill.log()
    # What it held stays leased: the newer worker, which knows how to, will give it back.
    record = storage.find(task)
    assert record is not None
    assert record.state is State.LEASED
    later = storage.enqueue(Batch([Message(new_id(), "drill_app.work", b"[[1],{}]")]))[0]
    assert storage.find(later).state is State.PENDING  # type: ignore[union-attr]
    storage.close()
