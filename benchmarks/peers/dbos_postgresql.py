"""DBOS on PostgreSQL: durable workflows on a queue, two processes. The no-op is a workflow of its own, without steps.

A client sends; the processes look at the queue each second, unless told otherwise.
"""

from __future__ import annotations

import sys
import threading
from functools import cache

from dbos import DBOS, DBOSClient

from benchmarks.peers.surroundings import OPTIONS, POSTGRESQL
from benchmarks.slots import attach

slots = attach()
CONFIG = {
    "name": "bench", "system_database_url": POSTGRESQL, "run_admin_server": False, "log_level": "WARNING",
    "application_version": "1",
}  # fmt: skip


@DBOS.workflow(name="noop")
def noop(i):
    slots.stamp(i)
    return i


@DBOS.workflow(name="text")
def text(i, value):
    slots.stamp(i)
    return len(value)


def launch():
    DBOS(config=CONFIG)
    DBOS.launch()
    DBOS.register_queue("bench", **OPTIONS.get("queue", {}))


@cache
def client():
    """The sender. Its tables are there, because a process of the program has been started once before."""
    launch()
    DBOS.destroy()
    return DBOSClient(system_database_url=POSTGRESQL)


def workers(n):
    client()
    return [[sys.executable, "-m", "benchmarks.peers.dbos_postgresql"]] * n


def send(i):
    client().enqueue({"queue_name": "bench", "workflow_name": "noop"}, i)


def send_text(i, value):
    client().enqueue({"queue_name": "bench", "workflow_name": "text"}, i, value)


def call(i):
    client().enqueue({"queue_name": "bench", "workflow_name": "noop"}, i).get_result(**OPTIONS.get("get", {}))


if __name__ == "__main__":
    launch()
    threading.Event().wait()
