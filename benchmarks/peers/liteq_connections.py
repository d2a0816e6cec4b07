"""liteq, claimed from by many connections: threads of a few processes, each thread with a storage of its own."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import orjson

from benchmarks.peers.liteq import app, send_many, slots
from benchmarks.peers.surroundings import FOLDER
from liteq.message import Ack, WorkerIdentity, new_id
from liteq.storage.storage import open_storage

__all__ = ["claim_by", "send_many"]

PROCESSES = 8


def claim_by(connections: int, tasks: int) -> tuple[list[float], int]:
    """As benchmarks.connection_measures says; each process writes what it saw into a file."""
    app.storage.close()
    processes = min(PROCESSES, connections)
    children = []
    for n in range(processes):
        pid = os.fork()
        if not pid:
            share = connections // processes + (n < connections % processes)
            try:
                (FOLDER / f"claims-{n}").write_bytes(orjson.dumps(_claim(share)))
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
    found = [orjson.loads(path.read_bytes()) for path in Path(FOLDER).glob("claims-*")]
    return [took for some, _ in found for took in some], failed + sum(refused for _, refused in found)


def _claim(threads: int) -> tuple[list[float], int]:
    took: list[float] = []
    refused: list[Exception] = []

    def claim() -> None:
        storage = open_storage(app.conf.broker_url, durability=app.conf.durability)
        try:
            me = storage.register_worker(WorkerIdentity(new_id(), "bench", "bench", "none", os.getpid(), "0"))
            while True:
                before = time.perf_counter()
                leases = storage.claim(["celery"], worker=me, limit=1, visibility_s=600)
                took.append(time.perf_counter() - before)
                if not leases:
                    break
                for lease in leases:
                    slots.stamp(orjson.loads(lease.payload)[0][0])
                storage.settle([(lease, Ack(b"1")) for lease in leases])
        except Exception as error:  # noqa: BLE001 - counted
            refused.append(error)
        finally:
            storage.close()

    running = [threading.Thread(target=claim) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return took, len(refused)
