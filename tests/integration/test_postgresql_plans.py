"""Plans on a PostgreSQL server: a batch asks for its rows by their keys, however many others there are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from liteq.message import Lease, Message, WorkerIdentity, new_id
from liteq.storage.claiming.extend import EXTEND
from liteq.storage.storage import Storage

from .. import postgresql

pytest.importorskip("psycopg")

from liteq_postgres import session

READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'liteq_messages'"


@pytest.fixture
def storage(postgresql_server: str) -> Iterator[Storage]:
    with closing(postgresql.empty(postgresql_server)) as opened:
        yield opened


def claimed(storage: Storage, n: int, of: int) -> list[Lease]:
    storage.enqueue_many([Message(id=new_id(), task="t", payload=b"[[],{}]") for _ in range(of)])
    worker = storage.register_worker(WorkerIdentity(new_id(), "a", "h", "b", 1, "1"))
    return storage.claim(["celery"], worker=worker, limit=n, visibility_s=60)


def rows_read(storage: Storage, leases: list[Lease]) -> int:
    """How many rows the server looks at to extend `leases` in one batch."""
    with storage.driver.write() as tx:
        assert tx.executemany(EXTEND, [(2**40, lease.seq, lease.token) for lease in leases]) == len(leases)
        return int(tx.execute(READ)[0][0])


def test_a_plan_that_was_made_for_few_rows_is_made_anew(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    rows_read(storage, claimed(storage, 5, 5))
    leases = claimed(storage, 50, 3_000)
    monkeypatch.setattr(session, "monotonic", lambda: time.monotonic() + session.PLANS_LAST_S)
    assert rows_read(storage, leases) < 500
