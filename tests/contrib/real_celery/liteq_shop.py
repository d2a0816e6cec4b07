"""The shop as an app of liteq's: a worker of liteq's beside one of Celery's runs the same tasks."""

from __future__ import annotations

import os
import time
from pathlib import Path

from liteq import LiteQ

app = LiteQ("shop", broker=os.environ["SHOP_QUEUE"].replace("liteq:", "sqlite:", 1))
# What only the shop's Celery knows waits for a worker of it, however long all of those are away.
app.conf.update(visibility_timeout=2, durability="relaxed", max_crashes=20)
app.conf.unknown_task_patience = float(os.environ.get("SHOP_PATIENCE", "3600"))


@app.task(name="shop.ledger")
def ledger(where, n):
    time.sleep(0.02)
    with Path(where).open("a", encoding="utf-8") as out:
        out.write(f"{n} liteq\n")
    return n


@app.task(name="shop.counted")
def counted(where, n):
    time.sleep(0.01)
    with Path(where).open("a", encoding="utf-8") as out:
        out.write(f"{n}\n")
    return n


@app.task(name="shop.moved")
def moved(n):
    """A task that has moved: the shop's Celery does not have it any more."""
    return n
