"""A shop of Celery's, as it was with Redis, but for two lines: the broker and the result backend are a liteq file."""

import os
import random
from pathlib import Path

from celery import Celery, chain

FILE = Path(os.environ.get("CELERY_SHOP_DATA", Path(__file__).parent / "instance")) / "shop.db"
URL = f"liteq:///{FILE}"

app = Celery("shop", broker=URL, backend=URL)
app.conf.task_acks_late = True  # a task whose worker dies runs again
app.conf.task_reject_on_worker_lost = True
app.conf.broker_connection_retry_on_startup = True


class CardRefused(Exception):
    """Raised by the bank, now and then: the next try may succeed."""


@app.task(name="shop.reserve")
def reserve(order):
    return {"order": order, "crates": order % 3 + 1}


@app.task(
    name="shop.charge",
    bind=True,
    autoretry_for=(CardRefused,),
    max_retries=10,
    retry_backoff=False,
    default_retry_delay=0,
)
def charge(self, reserved):
    if self.request.retries == 0 and reserved["order"] % 4 == 0:
        raise CardRefused(f"order {reserved['order']}: ask again")
    return {**reserved, "paid": 12 * reserved["crates"]}


@app.task(name="shop.ship")
def ship(paid):
    return (
        f"order {paid['order']}: {paid['crates']} crates for {paid['paid']} EUR, parcel {random.randrange(10_000):04}"
    )


def buy(order):
    """Send an order: three tasks in a row."""
    return chain(reserve.s(order), charge.s(), ship.s()).delay()
