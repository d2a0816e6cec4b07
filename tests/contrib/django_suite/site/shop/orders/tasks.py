import asyncio
import os
import threading
import time
from pathlib import Path

from django.db import connection, transaction
from django.db.models import F

from liteq import shared_task
from shop.orders.models import Order

told = threading.Event()


@shared_task
def pay(pk):
    return Order.objects.filter(pk=pk).update(paid=True, runs=F("runs") + 1)


@shared_task
def pay_slowly(pk, note):
    """Says that it runs, and is slow the first time only."""
    first = not Path(note).exists()
    Path(note).write_text(str(os.getpid()))
    if first:
        time.sleep(60)
    return pay.run(pk)


@shared_task
def begin_and_fail(pk):
    with transaction.atomic():
        pay.delay(pk)
        raise ValueError("rolled back")


@shared_task
def had_connection():
    """Whether a connection of an earlier task is still open."""
    was_open = connection.connection is not None
    Order.objects.count()
    return was_open


@shared_task(sensitive=("card",))
def charge(pk, card):
    raise ValueError("<b>declined</b>")


async def _count():
    return await Order.objects.acount()


@shared_task
async def walk(note):
    """Waits behind the first row until `go_on` runs in the same process."""
    seen = 0
    async for _ in Order.objects.aiterator(chunk_size=1):
        seen += 1
        await asyncio.to_thread(Path(note).touch)
        await asyncio.to_thread(told.wait)
    return seen


@shared_task
def go_on():
    told.set()


@shared_task
async def count():
    return await _count()
