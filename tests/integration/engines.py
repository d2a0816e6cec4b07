"""Queues of both engines, for tests of real workers and of runs that hold for each."""

from __future__ import annotations

import pytest

from liteq.settings.schemes import installed_engines

from .. import servers

__all__ = ["SCHEMA", "fresh", "on_both_engines"]

SCHEMA = "integration"
# Backends of workers that an earlier test has killed may be at work still.
ALONE = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

on_both_engines = pytest.mark.parametrize("broker", ["sqlite", "postgresql"], indirect=True)


def fresh(server: str) -> str:
    """The URL of a queue with nothing in it on the server of this socket; skips where the engine is not installed."""
    psycopg = pytest.importorskip("psycopg")
    if "postgresql" not in installed_engines():
        servers.missing("liteq is not installed here, so its engines have no entry points")
    from .. import postgresql  # needs psycopg

    with psycopg.connect(host=server, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(ALONE)
        connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    return postgresql.url(server, SCHEMA)
