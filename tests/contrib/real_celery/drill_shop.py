"""The drill's app of Celery's. `DRILL_EARLY`: its tasks are acknowledged before they run, as is Celery's default."""

from __future__ import annotations

import json
import os

from celery import Celery, group
from drill_tasks import SHARED, note

app = Celery("drill", broker=os.environ["SHOP_QUEUE"], backend=os.environ["SHOP_QUEUE"])
late = "DRILL_EARLY" not in os.environ
app.conf.update(
    broker_transport_options=json.loads(os.environ.get("SHOP_OPTIONS", "{}")),
    broker_connection_retry_on_startup=True,
    task_acks_late=late,
    task_reject_on_worker_lost=late,
    worker_prefetch_multiplier=2,
)
for name, run in SHARED.items():
    app.task(name=name, bind=True)(run)


@app.task(name="drill.again", bind=True, max_retries=None)
def again(self, n):
    note("again", self.request.id, n)
    if self.request.retries == 0:
        raise self.retry(countdown=0.05, exc=ValueError("not yet"))
    return n + 1


@app.task(name="drill.spread", bind=True)
def spread(self, n):
    note("spread", self.request.id, n)
    return self.replace(group(app.signature("drill.step", (n + k,), immutable=True) for k in range(3)))


@app.task(name="drill.told_id")
def told_id(task_id, n):
    note("told id", task_id, n)


@app.task(name="drill.told_all")
def told_all(request, exc, traceback, n):
    note("told all", request.id, [n, type(exc).__name__])
