"""Each table of the schema is in one of the lists of what moves to another store and what stays, column by column."""

from __future__ import annotations

from pathlib import Path

from liteq.storage.moving.tables import LEFT, MOVED
from liteq.storage.storage import open_storage


def columns(tmp_path: Path) -> dict[str, set[str]]:
    storage = open_storage(f"sqlite:///{tmp_path}/q.db")
    storage.migrate()
    with storage.driver.read() as tx:
        names = tx.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'liteq%'")
        found = {
            name: {column for (column,) in tx.execute(f"SELECT name FROM pragma_table_info('{name}')")}
            for (name,) in names
        }
    storage.close()
    return found


def test_each_table_moves_or_is_left_for_a_reason(tmp_path: Path) -> None:
    assert MOVED.keys() | LEFT.keys() == columns(tmp_path).keys()
    assert not MOVED.keys() & LEFT.keys()
    assert all(LEFT.values())


def test_a_row_moves_with_all_its_columns(tmp_path: Path) -> None:
    there = columns(tmp_path)
    assert {table: set(one.all_columns) for table, one in MOVED.items()} == {table: there[table] for table in MOVED}
