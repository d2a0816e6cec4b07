"""A shop whose queue has something of everything, for screenshots and for tests of the pages.

    with shop.at_work(folder) as queue: ...

`queue` is an app on a file where some work has been done, some failed, some waits, and some runs: a worker of a
process of its own is at it until the block ends.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from liteq import LiteQ, chain, chord
from liteq.clock import FakeClock
from liteq.schedules import crontab
from liteq.storage.statistics.stats import Tally

HISTORY_MIN, RELEASED_MIN = 60, 42
RUN = 3  # two reports, and one of the four syncs of a customer
# A task, its queue, how many end a minute, how long one takes in seconds.
BUSY = (
    ("shop.charge", "celery", 900, 0.3), ("shop.mail.receipt", "mail", 850, 0.1),
    ("shop.images.thumbnail", "images", 300, 0.8),
)  # fmt: skip

queue = LiteQ("shop", broker=os.environ.get("SHOP_URL", "sqlite:///shop.db"))
queue.conf.task_routes = {"shop.mail.*": {"queue": "mail"}, "shop.images.*": {"queue": "images"}}
queue.conf.timezone = "Europe/Berlin"


class CardError(Exception):
    """The bank said no."""


@queue.task(name="shop.charge", sensitive=["card"], autoretry_for=(CardError,), max_retries=2, default_retry_delay=0.2)
def charge(order_id: int, card: str, amount: float) -> dict[str, Any]:
    """Take the money for an order."""
    _work(0.01 if card else 0)
    if order_id % 7 == 0:
        raise CardError(f"declined: order {order_id} over {amount:.2f}")
    return {"order": order_id, "charged": amount}


@queue.task(name="shop.mail.receipt")
def receipt(charged: dict[str, Any]) -> str:
    """Write to the customer."""
    _work(0.01)
    return f"receipt of order {charged['order']} sent"


@queue.task(name="shop.mail.digest")
def digest(day: str) -> int:
    """The newsletter of a day."""
    return len(day)


@queue.task(name="shop.images.thumbnail")
def thumbnail(path: str, width: int = 320) -> str:
    """Make a picture small."""
    _work(0.02)
    if path.endswith(".tiff"):
        raise MemoryError
    return f"{path}@{width}"


@queue.task(name="shop.images.gallery")
def gallery(paths: list[str]) -> int:
    """One page of all thumbnails."""
    return len(paths)


@queue.task(name="shop.report", bind=True)
def report(self: Any, month: int) -> int:
    """The month's figures: takes its time."""
    self.update_state(state="PROGRESS", meta={"current": 61, "total": 100})
    threading.Event().wait(600)
    return month


@queue.task(name="shop.sync", bind=True, max_concurrency=1, concurrency_key="customer:{customer}")
def sync(self: Any, customer: int) -> None:
    """Copy a customer's stock: one at a time for each."""
    self.progress(34, 120, "shelf 34")
    for shelf in range(30, 35):
        self.emit("shelves", f"shelf {shelf} of {customer}: {shelf * 7 % 40} articles")
    threading.Event().wait(600)


@queue.task(name="shop.ledger.close")
def close(day: str) -> str:
    """Close the books of a day: nobody has a worker for it."""
    return day


def remember(url: str) -> None:
    """Sums of the hour before, as workers would have left them: more orders towards noon, a release in between."""
    now_ms = queue.clock.now_ms()
    clock = FakeClock(now_ms - HISTORY_MIN * 60_000)
    past = LiteQ("shop", broker=url, clock=clock)
    dice = random.Random(7)
    for minute in range(HISTORY_MIN + 1):
        part = 1.0 if minute < HISTORY_MIN else now_ms % 60_000 / 60_000  # of this minute, which is not over
        if minute == RELEASED_MIN:
            past.storage.audit.mark("v1.4")
        sums: dict[tuple[str, str, str, str], Tally] = {}
        load = 1 + 0.6 * math.sin(minute / 9) + 0.2 * dice.random()
        for name, line, per_minute, run_s in BUSY:
            _count(sums, (name, line, "succeeded", ""), int(per_minute * load * part), run_s, load, dice)
        declined = 40 if minute >= RELEASED_MIN else 3
        _count(sums, ("shop.charge", "celery", "failed", "CardError"), int(declined * load * part), 0.4, load, dice)
        past.storage.stats.add(sums)
        past.storage.stats.sample()
        clock.advance(seconds=60)


def _count(
    sums: dict[tuple[str, str, str, str], Tally], key: tuple[str, str, str, str], n: int, run_s: float, load: float,
    dice: random.Random,
) -> None:  # fmt: skip
    tally = sums.setdefault(key, Tally())
    for _ in range(n):
        tally.ran(run_s * dice.uniform(0.4, 2.2), 0.04 * load * load * dice.uniform(0.2, 3))


def _work(seconds: float) -> None:
    threading.Event().wait(seconds)


def send(orders: int = 60) -> None:
    """Send orders, pictures, reports, and what nobody takes."""
    for n in range(1, orders + 1):
        chain(charge.s(order_id=77_000 + n, card="4111 1111 1111 1111", amount=12.5 * n), receipt.s()).apply_async()
    pictures = [f"/pictures/{n:03}.{'tiff' if n % 12 == 0 else 'jpg'}" for n in range(1, 25)]
    chord((thumbnail.s(path) for path in pictures), gallery.s()).apply_async()
    for month in (10, 11):
        report.apply_async((month,), queue="slow")
    for customer in (42, 42, 42, 42):
        sync.apply_async((customer,), queue="sync")
    for day in range(14):
        close.apply_async((f"2026-11-{day + 1:02}",), queue="ledger")
    for n in range(6):
        digest.apply_async(("2026-12-01",), countdown=3_600 * (n + 1))
    queue.schedules.add("newsletter", crontab(minute=0, hour=7), digest, ["today"])
    queue.schedules.add("thumbnails of the night", 900, thumbnail, ["/pictures/001.jpg"])
    queue.schedules.add("close the books", crontab(minute=30, hour=23), close, ["today"], overlap="skip")
    queue.schedules.pause("close the books")


@contextlib.contextmanager
def at_work(folder: Path, *, orders: int = 60) -> Iterator[LiteQ]:
    """The app on a file in `folder`, with a worker that has done what can be done; it runs two reports and a sync."""
    url = f"sqlite:///{folder / 'shop.db'}"
    queue.conf.broker_url = url
    remember(url)
    send(orders)
    worker = _worker(url, folder)
    try:
        _until(lambda: _is_done(worker), within_s=60)
        yield queue
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def _worker(url: str, folder: Path) -> subprocess.Popen[bytes]:
    app = folder / "app"  # from a place of its own: tracebacks name it
    app.mkdir(exist_ok=True)
    shutil.copy(__file__, app)
    env = {**os.environ, "SHOP_URL": url, "PYTHONPATH": str(app), "LITEQ_RELEASE": "v1.4"}
    command = [sys.executable, "-m", "liteq", "-A", "shop:queue", "worker", "-n", "w1@app-1", "-c", "4"]
    command += ["-Q", "celery,mail,images,slow,sync", "-B"]
    return subprocess.Popen(
        command, cwd=app, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def _is_done(worker: subprocess.Popen[bytes]) -> bool:
    if worker.poll() is not None:
        raise RuntimeError("the worker has ended")
    look = queue.storage.views.overview()
    busy = {one.name: one for one in look.queues if one.name != "ledger"}
    states = {state.value: n.n for state, n in look.states.items()}
    return not any(one.waiting.n for one in busy.values()) and states.get("leased") == RUN and states.get("dead", 0) > 2


def _until(fact: Callable[[], bool], *, within_s: float) -> None:
    for _ in range(int(within_s * 20)):
        if fact():
            return
        threading.Event().wait(0.05)
    raise TimeoutError("the shop has not come to rest")
