"""The facts about a server and its schema, for `liteq doctor`, and its warnings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

import psycopg

from liteq.storage.driver import Durability, Transaction
from liteq.storage.upkeep import Check
from liteq_postgres.clock import SKEW_MS
from liteq_postgres.migrate import migrations, newest, read_versions
from liteq_postgres.names import quoted
from liteq_postgres.session import Session
from liteq_postgres.url import Location

__all__ = ["checks", "describe", "sizes", "warnings"]

OLDEST_SERVER = 140_000
OLD_SNAPSHOT_S = 60
DEAD_ROWS = 50_000  # more of them than this, and than rows that live: each claim walks over them
MIB = 1024 * 1024
LARGE_INDEXES = 64 * MIB  # below it, an index that is far larger than its rows costs nothing

SERVER = """
SELECT current_setting('server_version_num'), current_setting('server_version'), current_user,
       pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on',
       CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)
"""
SIZE = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_catalog.pg_class AS c
 WHERE c.relnamespace = to_regnamespace(?) AND c.relkind = 'r'
"""
# Each worker asks this each second. The view pg_stat_user_tables would add up all tables of the database for it: more
# than a second where there are thousands.
DEAD = """
SELECT pg_stat_get_live_tuples(c.oid), pg_stat_get_dead_tuples(c.oid), pg_indexes_size(c.oid), pg_relation_size(c.oid)
  FROM pg_catalog.pg_class AS c WHERE c.relnamespace = to_regnamespace(?) AND c.relname = 'liteq_messages'
"""
# One that has written has an xid, and holds the dead rows back also while it does nothing and has no snapshot.
# Only a superuser, or a member of pg_read_all_stats, sees those of other roles.
# Only a client's is anybody's to end, and no VACUUM, autovacuum's least of all: it is what removes dead rows.
OLDEST = """
SELECT pid, coalesce(application_name, ''), CAST(extract(epoch FROM clock_timestamp() - xact_start) AS bigint)
  FROM pg_catalog.pg_stat_activity
 WHERE coalesce(backend_xmin, backend_xid) IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
   AND backend_type = 'client backend' AND ltrim(query) NOT ILIKE 'VACUUM%'
   AND xact_start < clock_timestamp() - make_interval(secs => ?)
 ORDER BY xact_start LIMIT 1
"""
WORKERS = "SELECT count(*), count(DISTINCT host) FROM liteq_workers"


class Described(Protocol):
    """The driver, as this file needs it."""

    location: Location
    durability: Durability

    def where(self) -> str: ...
    def read(self) -> AbstractContextManager[Transaction]: ...


def warnings(driver: Described) -> list[str]:
    """Sentences about trouble that needs a look now: an old snapshot, and rows that nobody sees any more."""
    schema = quoted(driver.location.schema)
    with driver.read() as tx:
        oldest = tx.execute(OLDEST, (OLD_SNAPSHOT_S,))
        dead = tx.execute(DEAD, (schema,))
    return [*_of_snapshot(oldest), *_of_rows(dead, f"{schema}.liteq_messages")]


def _of_snapshot(rows: list[tuple[Any, ...]]) -> Iterator[str]:
    for pid, name, age_s in rows:
        by = f" ({name})" if name else ""
        yield (
            f"a transaction of this database is open for {age_s} s: process {pid} of the server{by}; claims get slower "
            f"until it ends, as no dead row is removed. SELECT pg_terminate_backend({pid}) ends it"
        )


def _of_rows(rows: list[tuple[Any, ...]], name: str) -> Iterator[str]:
    for live, dead, indexes, table in rows:
        if dead > DEAD_ROWS and dead > live:
            yield (
                f"liteq_messages has {dead:,} dead rows beside {live:,}: autovacuum does not keep up, or a transaction "
                f"holds it back; run VACUUM {name}"
            )
        if indexes > LARGE_INDEXES and indexes > 4 * table:
            yield (
                f"the indexes of liteq_messages take {indexes // MIB:,} MiB, the rows {table // MIB:,}: run "
                f"REINDEX TABLE CONCURRENTLY {name}"
            )


def sizes(driver: Described) -> dict[str, int]:
    """The room that the queue's tables and indexes take, in bytes."""
    with driver.read() as tx:
        ((size,),) = tx.execute(SIZE, (quoted(driver.location.schema),))
    return {"file_bytes": size}


def describe(driver: Described, *, whole: bool) -> dict[str, Any]:  # noqa: ARG001 - nothing takes longer for more rows
    """Facts about the server and the schema; sizes in bytes. `clock_offset_ms`: above 0, the server's is ahead."""
    schema = driver.location.schema
    with driver.read() as tx:
        before = time.time()  # noqa: TID251 - compared with the server's
        ((number, version, role, standby, only_read, server_ms),) = tx.execute(SERVER)
        now_ms = (before + time.time()) / 2 * 1000  # noqa: TID251 - as above
        versions = read_versions(tx, schema)
        ((size,),) = tx.execute(SIZE, (quoted(schema),))
        workers = tx.execute(WORKERS)[0] if versions.version else (0, 0)
        pooled = cast("Session", tx).pooled
    return {
        "engine": "postgresql",
        "url": driver.where(),
        "library": "psycopg",
        "library_version": psycopg.__version__,
        "server_version": version,
        "server_number": int(number),
        "role": role,
        "standby": bool(standby),
        "only_read": bool(only_read),
        "pooled": pooled,
        "listen": None if driver.location.listen is None else ":".join(driver.location.listen),
        "durability": driver.durability.value,
        "schema": {"name": schema, **versions._asdict()},
        "clock_offset_ms": round(server_ms - now_ms),
        "size": size,
        "workers": {"all": workers[0], "hosts": workers[1]},
        "warnings": warnings(driver),
    }


def checks(facts: dict[str, Any]) -> list[Check]:
    """The findings in the facts that `describe` has gathered."""
    return [
        _server(facts), _schema(facts), _clock(facts), _bells(facts), *_space(facts),
        Check("workers", "ok", f"{facts['workers']['all']} on {facts['workers']['hosts']} hosts"),
    ]  # fmt: skip


def _server(facts: dict[str, Any]) -> Check:
    said = f"PostgreSQL {facts['server_version']}, through psycopg {facts['library_version']}, as {facts['role']}"
    if facts["server_number"] < OLDEST_SERVER:
        return Check("server", "error", f"{said}: liteq needs version {OLDEST_SERVER // 10_000} or newer")
    if facts["standby"]:
        return Check("server", "warning", f"{said}: a standby, which is only read")
    if facts["only_read"]:
        return Check(
            "server", "warning", f"{said}: it cannot be written: default_transaction_read_only is on. Services set it "
            "when the disk is nearly full: free some space, then turn it off",
        )  # fmt: skip
    return Check("server", "ok", f"{said}, durability {facts['durability']}")


def _schema(facts: dict[str, Any]) -> Check:
    schema = facts["schema"]
    if not schema["version"]:
        return Check("schema", "error", f"{schema['name']} has no tables yet: run `liteq migrate`")
    if schema["version"] < newest():
        missing = ", ".join(str(number) for number in migrations() if number > schema["version"])
        return Check("schema", "error", f"{schema['name']} lacks the migrations {missing}: run `liteq migrate`")
    return Check("schema", "ok", f"{schema['name']}, version {schema['version']}")


def _clock(facts: dict[str, Any]) -> Check:
    offset = facts["clock_offset_ms"]
    if abs(offset) > SKEW_MS:
        way = "behind" if offset > 0 else "ahead of"
        return Check(
            "clock", "warning", f"this machine's is {abs(offset) / 1000:.1f} s {way} the server's: set it by NTP"
        )
    return Check("clock", "ok", f"within {abs(offset)} ms of the server's")


def _bells(facts: dict[str, Any]) -> Check:
    if facts["listen"]:
        return Check("bells", "ok", f"LISTEN at {facts['listen']}, NOTIFY")
    if facts["pooled"]:
        return Check(
            "bells", "warning",
            "a pooler stands before the server: where it works by transactions, work is looked for each second; name "
            "the server itself in the broker URL, listen=host:port",
        )  # fmt: skip
    return Check("bells", "ok", "LISTEN and NOTIFY")


def _space(facts: dict[str, Any]) -> Iterator[Check]:
    if facts["warnings"]:
        for warning in facts["warnings"]:
            yield Check("space", "warning", warning)
    else:
        yield Check("space", "ok", f"{facts['size'] // MIB:,} MiB in tables and indexes")
