"""One app of ordinary Celery tasks, run by Celery with Redis and by liteq: `COMPARE` says which."""

from __future__ import annotations

import json
import os
import time

if os.environ["COMPARE"] == "celery":
    from celery import Celery
else:
    from liteq import Celery

settings = json.loads(os.environ.get("COMPARE_CONF", "{}"))
app = Celery("compare", broker=os.environ["COMPARE_BROKER"], backend=os.environ.get("COMPARE_BACKEND") or None)
app.conf.update(broker_connection_retry_on_startup=True, **settings)


def note(kind, task_id):
    fd = os.open(os.environ["COMPARE_LEDGER"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, f"{kind} {task_id}\n".encode())
    os.close(fd)


@app.task(bind=True)
def nap(self, seconds):
    """Begins, works, ends."""
    note("began", self.request.id)
    time.sleep(seconds)
    note("ended", self.request.id)


@app.task(bind=True)
def die(self, times=1_000_000):
    """Ends its process, the first `times` times."""
    note("began", self.request.id)
    with open(os.environ["COMPARE_LEDGER"]) as ledger:
        if sum(self.request.id in line for line in ledger) <= times:
            os.kill(os.getpid(), 9)
    note("ended", self.request.id)


@app.task(bind=True)
def part(self, n):
    note("part", self.request.id)
    time.sleep(0.05)
    return n


@app.task(bind=True)
def whole(self, values):
    note("ended", self.request.id)
    return sum(values)
