"""Many connections at once on PostgreSQL: claims flow, each message goes to one, and no caller meets a deadlock.

`python -m benchmarks run --peers liteq-postgresql --measures claimers-200` measures it with 200.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from liteq.message import Ack, Batch, Flag, Group, Message, WorkerIdentity, new_id
from liteq.states import State
from liteq.storage.driver import Options
from liteq.storage.storage import Storage

pytest.importorskip("psycopg", reason="the extra postgres")

from liteq_postgres import ENGINE

from .. import postgresql

CLAIMERS = 30
GROUPS, MEMBERS = 20, 10
PAYLOAD = b"[[],{}]"


def test_many_claim_and_settle_the_members_of_the_same_groups(postgresql_server: str) -> None:
    """Members of several groups in each batch: two that settle meet in the groups, in any order of their members."""
    storage = postgresql.empty(postgresql_server)
    for g in range(GROUPS):
        group = f"g{g}"
        members = [
            Message(
                id=f"{group}m{n}", task="t", payload=PAYLOAD, flags=Flag.LINKED, group_id=group, position=n, priority=n
            )
            for n in range(MEMBERS)
        ]
        body = Message(id=f"{group}b", task="t", payload=PAYLOAD, awaits=group)
        storage.enqueue(Batch([*members, body], [Group(group, MEMBERS)]))
    together = Barrier(CLAIMERS)

    def claim(n: int) -> list[str]:
        own = Storage(ENGINE.open(postgresql.url(postgresql_server), Options()))
        me = own.register_worker(WorkerIdentity(new_id(), str(n), "host", "boot", 1, "1"))
        together.wait(60)
        done: list[str] = []
        try:
            while leases := own.claim(["celery"], worker=me, limit=7, visibility_s=600):
                assert own.settle([(lease, Ack(b"1")) for lease in leases]) == []
                done += [lease.id for lease in leases]
        finally:
            own.close()
        return done

    with ThreadPoolExecutor(CLAIMERS) as pool:
        found = [id_ for done in pool.map(claim, range(CLAIMERS)) for id_ in done]
    bodies = storage.claim(["celery"], worker=1, limit=GROUPS, visibility_s=600)  # those that came at the very end
    assert storage.settle([(lease, Ack(b"1")) for lease in bodies]) == []
    found += [lease.id for lease in bodies]
    parts = [*(f"m{n}" for n in range(MEMBERS)), "b"]
    assert Counter(found) == Counter(f"g{g}{part}" for g in range(GROUPS) for part in parts)
    assert {count.state for count in storage.reader.counts()} == {State.SUCCEEDED}
    storage.close()
