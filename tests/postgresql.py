"""Queues on a PostgreSQL server of the tests' own (servers.py)."""

from __future__ import annotations

from urllib.parse import quote

from liteq.clock import Clock
from liteq.storage.driver import Options
from liteq.storage.storage import Storage
from liteq_postgres import ENGINE

__all__ = ["EMPTY", "WORKER", "empty", "url"]

# One schema for all tests of a process: to empty its tables takes 5 ms, to make them anew 70 ms.
EMPTY = """
DO $$
DECLARE t record;
BEGIN
    FOR t IN SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'liteq'::regnamespace AND c.relkind = 'r'
                AND c.relname <> 'liteq_meta'
    LOOP
        EXECUTE format('DELETE FROM liteq.%I', t.relname);
    END LOOP;
    DELETE FROM liteq.liteq_meta WHERE key NOT IN ('version', 'min_reader', 'min_writer', 'epoch', 'limits');
    UPDATE liteq.liteq_meta SET value = 0 WHERE key IN ('epoch', 'limits');
END $$
"""

# A role that works and owns nothing: all the rights that it needs.
WORKER = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'worker') THEN DROP OWNED BY worker;
    ELSE CREATE ROLE worker LOGIN;
    END IF;
END $$;
GRANT USAGE ON SCHEMA liteq TO worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA liteq TO worker;
GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA liteq TO worker
"""


def url(server: str, schema: str = "liteq", **options: str) -> str:
    """The URL of a queue on the server whose socket is in the folder `server`."""
    more = "".join(f"&{name}={quote(value)}" for name, value in options.items())
    return f"postgresql://postgres@/postgres?host={quote(server)}&schema={schema}{more}"


def empty(server: str, clock: Clock | None = None) -> Storage:
    """A storage on the server with its tables and nothing in them."""
    storage = Storage(ENGINE.open(url(server), Options()), clock=clock)
    storage.migrate()
    with storage.driver.write() as tx:
        tx.execute(EMPTY)
    return storage
