"""Large documents stand beside their row, which holds an empty one in their place.

SQLite writes a row whole whenever one of its columns changes, and a claim and an acknowledgement each change some: with
arguments of 100 kB inside the row, three quarters of a worker's time went into those writes. Their key is a number and
not the message's id: SQLite reads a large row whole to compare a textual key with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from liteq.exceptions import BadMessage, LeaseLost
from liteq.message import Lease
from liteq.storage.driver import Transaction

__all__ = [
    "BESIDE",
    "INLINE_BYTES",
    "NO_ARGUMENTS",
    "PAYLOAD_COLUMN",
    "RESULT_COLUMN",
    "add_payloads",
    "of_row",
    "payload_ref",
    "result_ref",
    "store",
    "with_payload",
]

# Half a page: above it, a row and its result do not fit one, and cost more to write twice than a second row does.
INLINE_BYTES = 1_024
BESIDE = b""  # in a row: its document is in liteq_bodies; no serializer makes an empty document
NO_ARGUMENTS = b"[[],{}]"  # the payload of a row that is only there for its end or its progress

# As part of a SELECT from `liteq_messages AS m`.
PAYLOAD_COLUMN = """
CASE length(m.payload) WHEN 0 THEN (SELECT body FROM liteq_bodies WHERE ref = 2 * m.seq) ELSE m.payload END
"""
RESULT_COLUMN = """
CASE length(m.result) WHEN 0 THEN (SELECT body FROM liteq_bodies WHERE ref = 2 * m.seq + 1) ELSE m.result END
"""
# Only beside a row that says so: the id may have been there before, with other arguments.
ADD_PAYLOAD = """
INSERT INTO liteq_bodies (ref, body)
SELECT 2 * m.seq, :body FROM liteq_messages AS m WHERE m.id = :id AND length(m.payload) = 0
ON CONFLICT DO NOTHING
"""
STORE = "INSERT INTO liteq_bodies (ref, body) VALUES (?, ?) ON CONFLICT (ref) DO UPDATE SET body = excluded.body"
LEASED = """
SELECT b.body FROM liteq_messages AS m LEFT JOIN liteq_bodies AS b ON b.ref = 2 * m.seq
 WHERE m.seq = ? AND m.state = 'leased' AND m.token = ?
"""
BODY = "SELECT body FROM liteq_bodies WHERE ref = ?"


def payload_ref(seq: int) -> int:
    """Where the arguments of the message of this row number stand."""
    return 2 * seq


def result_ref(seq: int) -> int:
    """Where its result stands."""
    return 2 * seq + 1


def add_payloads(tx: Transaction, payloads: Iterable[tuple[str, bytes]]) -> None:
    """Write the (message id, payload) of rows just written with an empty one; a row from before keeps its own."""
    tx.executemany(ADD_PAYLOAD, [{"id": id_, "body": body} for id_, body in payloads])


def store(tx: Transaction, documents: Iterable[tuple[int, bytes]]) -> None:
    """Write or overwrite (ref, document)s."""
    tx.executemany(STORE, documents)


def of_row(tx: Transaction, seq: int, payload: bytes) -> bytes:
    """The arguments of a row that has `payload` in it, whatever its state; BESIDE where they are missing."""
    if payload != BESIDE:
        return payload
    for (body,) in tx.execute(BODY, (payload_ref(seq),)):
        return bytes(body)
    return BESIDE


def with_payload(tx: Transaction, lease: Lease) -> Lease:
    """`lease` with the arguments that stand beside its row. Raises LeaseLost, and BadMessage where they are missing."""
    for (body,) in tx.execute(LEASED, (lease.seq, lease.token)):
        if body is None:
            raise BadMessage(f"the arguments of {lease.task}[{lease.id}] are missing in the file")
        return lease._replace(payload=bytes(body))
    raise LeaseLost(lease.id)
