"""Blobs by the hash of what they hold: each row that names one is counted, and the last one takes it along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from liteq.storage.driver import Transaction
from liteq.storage.graphs.records import Blob, Gone

__all__ = ["add", "fetch", "release"]

CHUNK = 32
ADD = """
INSERT INTO liteq_graph_blobs (hash, form, refs, data) VALUES (:hash, :form, :n, :data)
ON CONFLICT (hash) DO UPDATE SET refs = liteq_graph_blobs.refs + excluded.refs
"""
COUNT = "UPDATE liteq_graph_blobs SET refs = refs + :n WHERE hash = :hash"
UNUSED = "DELETE FROM liteq_graph_blobs WHERE hash = :hash AND refs <= 0"
FETCH = f"SELECT hash, form, data FROM liteq_graph_blobs WHERE hash IN ({', '.join('?' * CHUNK)})"


def add(tx: Transaction, hashes: Iterable[str], blobs: Mapping[str, Blob]) -> None:
    """Count each of `hashes`; those of `blobs` are stored where they are not there. Raises Gone for another one."""
    counts = sorted(Counter(hashes).items())  # in one order, so two transactions do not wait for each other
    for hash_, n in counts:
        blob = blobs.get(hash_)
        if blob is not None:
            tx.executemany(ADD, [{"hash": hash_, "form": blob.form, "n": n, "data": blob.data}])
        elif not tx.executemany(COUNT, [{"hash": hash_, "n": n}]):
            raise Gone(hash_)


def release(tx: Transaction, hashes: Iterable[str]) -> None:
    """Take each of `hashes` off its count, and those away that nothing names any more."""
    counts = sorted(Counter(hashes).items())
    tx.executemany(COUNT, [{"hash": hash_, "n": -n} for hash_, n in counts])
    tx.executemany(UNUSED, [{"hash": hash_} for hash_, _ in counts])


def fetch(tx: Transaction, hashes: Iterable[str]) -> dict[str, Blob]:
    """The blobs of `hashes`, as far as they are there."""
    wanted = list(dict.fromkeys(hashes))
    found: dict[str, Blob] = {}
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        part += part[:1] * (CHUNK - len(part))  # one text for all, so it is prepared once
        for hash_, form, data in tx.execute(FETCH, part):
            found[hash_] = Blob(form, bytes(data))
    return found
