"""The write-ahead log stays small, whoever reads."""

from __future__ import annotations

import threading
from pathlib import Path

from liteq.message import Batch, Message, new_id
from liteq.storage.storage import Storage

PAYLOAD = b'[["' + b"x" * 8_000 + b'"],{}]'
SMALL = 48 * 2**20


def test_readers_that_overlap_without_end_do_not_make_the_log_grow(storage: Storage, tmp_path: Path) -> None:
    log = tmp_path / "queue.db-wal"
    stop = threading.Event()
    reads = [0, 0]

    def read(n: int) -> None:
        while not stop.is_set():
            storage.reader.counts()
            reads[n] += 1

    readers = [threading.Thread(target=read, args=(n,)) for n in range(2)]
    for reader in readers:
        reader.start()
    try:
        largest = 0
        for _ in range(90):
            storage.enqueue(Batch([Message(new_id(), "t", PAYLOAD) for _ in range(160)]))
            largest = max(largest, log.stat().st_size)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert min(reads) > 10
    assert largest < SMALL, f"{largest / 2**20:.0f} MiB"
