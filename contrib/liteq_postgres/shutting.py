"""A schema that is shut: triggers of its own refuse every change. And numbers that go on above rows from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from liteq.storage.driver import Transaction
from liteq_postgres.session import Session

__all__ = ["number_on", "reopen", "shut"]

REFUSAL = "this queue is being moved: nothing is sent, claimed or changed until `liteq move` has ended"
# The condition is the trigger's own, not the function's: 0 for the transactions of the move, which others do not see.
FUNCTION = f"""
CREATE OR REPLACE FUNCTION liteq_shut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT value FROM liteq_meta WHERE key = 'shut') = 1 THEN
        RAISE EXCEPTION '{REFUSAL}';
    END IF;
    RETURN coalesce(NEW, OLD);
END $$;
"""
NUMBER_ON = """
SELECT setval(s.name, greatest(pg_sequence_last_value(CAST(s.name AS regclass)), h.highest, 1))
  FROM (SELECT pg_get_serial_sequence('{table}', '{column}') AS name) AS s,
       (SELECT max({column}) AS highest FROM {table}) AS h
"""


def shut(tx: Transaction, tables: Sequence[str]) -> None:
    """As `Upkeep.shut`. Only the owner of the tables may do this."""
    triggers = "".join(
        f"CREATE OR REPLACE TRIGGER {table}_shut BEFORE INSERT OR UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION liteq_shut();"
        for table in tables
    )
    _session(tx).control(FUNCTION + triggers)


def reopen(tx: Transaction, tables: Sequence[str]) -> None:
    """As `Upkeep.reopen`."""
    drops = "".join(f"DROP TRIGGER IF EXISTS {table}_shut ON {table};" for table in tables)
    _session(tx).control(f"SET LOCAL client_min_messages TO warning; {drops} DROP FUNCTION IF EXISTS liteq_shut()")


def number_on(tx: Transaction, table: str, column: str) -> None:
    """As `Upkeep.number_on`."""
    tx.execute(NUMBER_ON.format(table=table, column=column))


def _session(tx: Transaction) -> Session:
    """The session under `tx`, which a vault may cover (storage/sealed.py)."""
    return cast("Session", tx)
