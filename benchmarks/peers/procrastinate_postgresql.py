"""procrastinate on PostgreSQL: two worker processes of one job at a time. It stores no results."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import procrastinate
import psycopg

from benchmarks.peers.surroundings import OPTIONS, POSTGRESQL
from benchmarks.slots import attach

slots = attach()
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=POSTGRESQL))
opened: list[bool] = []


@app.task
def noop(i):
    slots.stamp(i)


@app.task
def nap(i, seconds):
    time.sleep(seconds)
    slots.stamp(i)


@app.task
def text(i, value):
    slots.stamp(i)


def ready():
    """The schema, before a worker asks for it, and the connection of the sender."""
    if not opened:
        app.open()
        with psycopg.connect(POSTGRESQL) as connection:
            there = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()[0]
        if there is None:
            app.schema_manager.apply_schema()
        opened.append(True)
    return app


def workers(n):
    ready()
    program = str(Path(sys.executable).with_name("procrastinate"))
    command = [program, "--app", "benchmarks.peers.procrastinate_postgresql.app", "worker", *OPTIONS.get("worker", [])]
    return [command] * n


def send(i):
    ready()
    noop.defer(i=i)


def send_many(first, n):
    ready()
    for start in range(first, first + n, 1_000):
        noop.batch_defer(*({"i": i} for i in range(start, min(start + 1_000, first + n))))


def send_naps(n, seconds):
    ready()
    nap.batch_defer(*({"i": i, "seconds": seconds} for i in range(n)))


def send_text(i, value):
    ready()
    text.defer(i=i, value=value)
