"""An app of Celery's, as its worker and its callers import it. `SHOP_QUEUE` is the URL of its file."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from celery import Celery, chain, group
from celery.exceptions import Ignore, Reject
from celery.signals import before_task_publish
from kombu import Queue

app = Celery("shop", broker=os.environ["SHOP_QUEUE"], backend=os.environ.get("SHOP_RESULTS", os.environ["SHOP_QUEUE"]))
app.conf.update(
    broker_transport_options=json.loads(os.environ.get("SHOP_OPTIONS", "{}")),
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=int(os.environ.get("SHOP_PREFETCH", "4")),
    worker_send_task_events=False,
)
if "SHOP_BEAT" in os.environ:
    app.conf.beat_schedule = {"add": {"task": "shop.add", "schedule": float(os.environ["SHOP_BEAT"]), "args": (1, 1)}}
if "SHOP_WITHOUT_ACKS" in os.environ:
    app.conf.task_queues = [Queue("celery"), Queue("swift", no_ack=True)]
app.conf.broker_transport_options.setdefault("durability", "relaxed")


def note(where: str, what: object) -> None:
    """Add a line to a file: what ran outside of the queue's own word."""
    with Path(where).open("a", encoding="utf-8") as out:
        out.write(f"{what}\n")


def released(where: str) -> None:
    """Wait until the test lets it go on."""
    while not Path(where).exists():
        time.sleep(0.01)


@app.task(name="shop.add")
def add(a, b):
    return a + b


@app.task(name="shop.late", acks_late=True)
def late(a, b):
    return a + b


@app.task(name="shop.quiet", ignore_result=True)
def quiet(where):
    note(where, "ran")


@app.task(name="shop.quiet_late", ignore_result=True, acks_late=True)
def quiet_late(where):
    note(where, "ran")


@app.task(name="shop.boom")
def boom(*_args):
    raise KeyError("no such crate")


@app.task(name="shop.flaky", bind=True, max_retries=5)
def flaky(self, times, where):
    note(where, self.request.retries)
    if self.request.retries < times:
        raise self.retry(countdown=0.05, exc=ValueError("not yet"))
    return self.request.retries


@app.task(name="shop.half", bind=True)
def half(self, where):
    self.update_state(state="HALF", meta={"percent": 50})
    released(where)
    return "whole"


@app.task(name="shop.ignored", bind=True)
def ignored(self):
    raise Ignore


@app.task(name="shop.rejected", bind=True, acks_late=True)
def rejected(self, again):
    raise Reject("no", requeue=again)


@app.task(name="shop.held", acks_late=True)
def held(began, go):
    note(began, os.getpid())
    released(go)
    return "done"


@app.task(name="shop.ledger", acks_late=True, reject_on_worker_lost=True)
def ledger(where, n):
    time.sleep(0.02)
    note(where, f"{n} celery")
    return n


@app.task(name="shop.early")
def early(began, go):
    note(began, os.getpid())
    released(go)
    return "done"


@app.task(name="shop.killed", bind=True)
def killed(self, where, times):
    note(where, os.getpid())
    if len(Path(where).read_text(encoding="utf-8").splitlines()) <= times:
        os.kill(os.getpid(), 9)
    return "survived"


@app.task(name="shop.late_killed", bind=True, acks_late=True, reject_on_worker_lost=True)
def late_killed(self, where, times):
    note(where, os.getpid())
    if len(Path(where).read_text(encoding="utf-8").splitlines()) <= times:
        os.kill(os.getpid(), 9)
    return "survived"


@app.task(name="shop.replaced", bind=True)
def replaced(self, a):
    if a < 3:
        return self.replace(self.app.signature("shop.replaced", (a + 1,)))
    return a


@app.task(name="shop.errback")
def errback(task_id):
    return ["told of", task_id]


@app.task(name="shop.told")
def told(request, exc, traceback, where):
    note(where, f"{request.id} {type(exc).__name__} {request.args[0]}")


@app.task(name="shop.seen", bind=True)
def seen(self):
    request = self.request
    return {
        "id": request.id, "retries": request.retries, "queue": request.delivery_info["routing_key"],
        "priority": request.delivery_info["priority"], "who": getattr(request, "who", None),
        "timelimit": request.timelimit, "redelivered": request.delivery_info["redelivered"],
        "root": request.root_id, "origin": bool(request.origin), "argsrepr": request.argsrepr,
    }  # fmt: skip


@app.task(name="shop.same")
def same(x):
    return x


@app.task(name="shop.sends")
def sends(first, n):
    for k in range(n):
        add.apply_async((first, k), task_id=f"{first}-{k}")
    return n


@app.task(name="shop.counted", acks_late=True, reject_on_worker_lost=True)
def counted(where, n):
    time.sleep(0.01)
    note(where, n)
    return n


@app.task(name="shop.body", acks_late=True)
def body(found, where):
    note(where, len(found))
    return found


@app.task(name="shop.by_group", bind=True)
def by_group(self, n):
    return self.replace(group(same.s(i) for i in range(n)))


@app.task(name="shop.killed_by_group", bind=True, acks_late=True, reject_on_worker_lost=True)
def killed_by_group(self, n, where):
    note(where, "ran")
    if len(Path(where).read_text(encoding="utf-8").splitlines()) == 1:
        sent = iter(range(9))

        def die(**_kwargs):
            if next(sent) == 2:  # behind the body that it becomes, and the first of the group
                os.kill(os.getpid(), 9)

        before_task_publish.connect(die, weak=False)
    return self.replace(group(same.s(i) for i in range(n)))


@app.task(name="shop.killed_at_its_end", bind=True, acks_late=True, reject_on_worker_lost=True)
def killed_at_its_end(self, value, nth, where):
    """Its first run is killed when it has written the file for the `nth` time from here, as it sends what follows."""
    note(where, "ran")
    if len(Path(where).read_text(encoding="utf-8").splitlines()) == 1:
        driver, written = self.backend.storage.driver, count(1)
        before = driver.write

        @contextmanager
        def write(*args, **options):
            with before(*args, **options) as tx:
                yield tx
            if next(written) == nth:
                os.kill(os.getpid(), 9)

        driver.write = write
    return value


@app.task(name="shop.by_chain", bind=True)
def by_chain(self, n):
    return self.replace(chain(add.s(n, 1), add.s(1)))


@app.task(name="shop.one_more", bind=True)
def one_more(self):
    self.add_to_chord(same.s("more"))
    return "one"


@app.task(name="shop.told_id")
def told_id(task_id, where):
    note(where, task_id)


@app.task(name="shop.told_all")
def told_all(request, exc, traceback, where):
    note(where, f"{request.id} {type(exc).__name__} {traceback is None or 'Traceback' in traceback}")
