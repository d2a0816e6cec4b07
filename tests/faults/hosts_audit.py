"""The audit of the drill with hosts: triggers of the server's note what becomes of each lease, by the server's clock.

They stand beside the queue, in a schema of their own, and go with its transactions: what was rolled back, or lost with
the server, is not in it either.
"""

from __future__ import annotations

from typing import NamedTuple

from liteq.storage.storage import Storage

__all__ = ["AUDIT", "Lease", "read_leases"]

AUDIT = """
CREATE SCHEMA audit;
CREATE TABLE audit.leases (
    n bigserial PRIMARY KEY, at_s double precision NOT NULL, what text NOT NULL, id text NOT NULL,
    token bigint NOT NULL, worker bigint NOT NULL
);
CREATE TABLE audit.workers (worker bigint NOT NULL, name text NOT NULL, at_s double precision NOT NULL);
CREATE FUNCTION audit.now_s() RETURNS double precision LANGUAGE sql
    AS 'SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)';
CREATE FUNCTION audit.of_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE what text;
BEGIN
    IF NEW.state = 'leased' AND NEW.token IS DISTINCT FROM OLD.token THEN
        INSERT INTO audit.leases (at_s, what, id, token, worker)
        VALUES (audit.now_s(), 'claimed', NEW.id, NEW.token, NEW.worker);
        RETURN NULL;
    END IF;
    IF OLD.state <> 'leased' THEN
        RETURN NULL;
    END IF;
    what := CASE
        WHEN NEW.state = 'leased' THEN 'kept'
        WHEN NEW.state IN ('succeeded', 'dead', 'cancelled', 'upstream_failed') THEN 'ended'
        WHEN NEW.reaps > OLD.reaps THEN 'reaped'
        WHEN NEW.crashes > OLD.crashes THEN 'crashed'
        WHEN NEW.retries > OLD.retries THEN 'retried'
        WHEN NEW.state = 'scheduled' AND NEW.delay_ms IS NULL THEN 'waits'
        ELSE 'back'
    END;
    INSERT INTO audit.leases (at_s, what, id, token, worker)
    VALUES (audit.now_s(), what, OLD.id, OLD.token, OLD.worker);
    RETURN NULL;
END $$;
CREATE FUNCTION audit.of_worker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit.workers VALUES (NEW.id, NEW.name, audit.now_s());
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE OF state, token, deadline_ms ON liteq.liteq_messages
    FOR EACH ROW EXECUTE FUNCTION audit.of_message();
CREATE TRIGGER audit AFTER INSERT ON liteq.liteq_workers FOR EACH ROW EXECUTE FUNCTION audit.of_worker();
"""


class Event(NamedTuple):
    """Something that became of a lease, and when, by the server's clock."""

    what: str
    at_s: float


class Lease(NamedTuple):
    """All that became of one lease. `host`: the label of its worker's; `entered_s`: when that worker came."""

    id: str
    token: int
    host: str
    entered_s: float
    events: list[Event]

    @property
    def kept_s(self) -> float:
        """When its worker was last heard of, by this lease."""
        return max(event.at_s for event in self.events if event.what in {"claimed", "kept"})

    def when(self, what: str) -> list[float]:
        return [event.at_s for event in self.events if event.what == what]


def read_leases(storage: Storage) -> list[Lease]:
    """The leases of the audit, in the order of their claims."""
    with storage.driver.read() as tx:
        entered = tx.execute("SELECT worker, name, at_s FROM audit.workers")
        rows = tx.execute("SELECT what, at_s, id, token, worker FROM audit.leases ORDER BY n")
    workers: dict[int, tuple[str, float]] = {number: (name.partition("@")[0], at_s) for number, name, at_s in entered}
    found: dict[tuple[str, int], Lease] = {}
    for what, at_s, id_, token, worker in rows:
        host, entered_s = workers.get(worker, ("", 0.0))
        lease = found.setdefault((id_, token), Lease(id_, token, host, entered_s, []))
        lease.events.append(Event(what, at_s))
    return list(found.values())
