"""The app of `liteq demo --dashboard`: the demo's, and a shop whose orders come one after the other."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Any

from liteq import chain, chord
from liteq.cli.demo.demo_app import app
from liteq.workflow import ctx

__all__ = ["QUEUES", "app", "charge", "large_order", "receipt", "send_round", "tidy", "yearly_report"]

QUEUES = "celery,payments,mail,reports"
DECLINED = "4000 0000 0000 0002"
LARGE_EACH = 8  # rounds
REPORT_EACH = 5


class CardError(Exception):
    """Raised when a card is declined, as some are."""


@app.task(
    name="shop.charge",
    queue="payments",
    sensitive=("card",),
    autoretry_for=(ConnectionError,),
    retry_kwargs={"countdown": 2, "max_retries": 3},
)
def charge(order: int, card: str) -> str:
    """Takes money off a card: now and then the bank is not there, and some cards are declined."""
    time.sleep(random.uniform(0.02, 0.2))
    if random.random() < 0.15:
        raise ConnectionError("the bank did not answer")
    if card == DECLINED:
        raise CardError(f"the card of order {order} is declined")
    return f"charge-{order}"


@app.task(name="shop.receipt", queue="mail")
def receipt(charge_id: str) -> str:
    """Writes a mail."""
    time.sleep(random.uniform(0.01, 0.1))
    return f"mail about {charge_id}"


@app.task(name="shop.thanks", queue="mail")
def thanks(mails: list[str]) -> int:
    """Comes after all mails of a round."""
    return len(mails)


@app.task(name="shop.yearly_report", bind=True, queue="reports")
def yearly_report(self: Any, year: int) -> str:
    """Takes a while, and says how far it is."""
    for month in range(1, 13):
        self.update_state(state="PROGRESS", meta={"current": month, "total": 12})
        time.sleep(1)
    return f"report of {year}"


@app.task(name="shop.tidy", queue="reports")
def tidy() -> str:
    """Comes by a schedule."""
    return "tidy"


@app.workflow(name="shop.large_order")
def large_order(order: int) -> str:
    """An order that a person looks at first: it waits, without a process, until one has said yes or no."""
    if not ctx.approval("Ship a large order", details={"order": order}, timeout="2h", default=False).ok:
        return "refused"
    return f"parcel-{order}"


app.conf.beat_schedule = {"tidy": {"task": tidy.name, "schedule": timedelta(seconds=15)}}


def send_round(n: int) -> None:
    """Send the work of the `n`th round: a few orders, their mails, and now and then something that takes longer."""
    orders = range(n * 10, n * 10 + random.randint(3, 8))
    for order in orders:
        card = DECLINED if random.random() < 0.05 else "4111 1111 1111 1111"
        chain(charge.s(order, card), receipt.s()).apply_async()
    chord([receipt.s(f"order-{order}") for order in orders], thanks.s()).apply_async()
    receipt.apply_async((f"reminder-{n}",), countdown=60)
    if n % REPORT_EACH == 0:
        yearly_report.delay(2000 + n)
    if n % LARGE_EACH == 0:
        large_order.start(n)
