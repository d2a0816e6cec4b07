"""An app whose worker forks while another thread of it is inside a transaction, for longer than a fork waits."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

from app_of_shop import app, released
from celery.signals import worker_ready

from liteq.storage.sqlite import base

__all__ = ["app"]

base.FORK_WAIT_S = 0.1


def read() -> None:
    with app.backend.storage.driver.read() as tx:
        tx.execute("SELECT 1")
        Path(os.environ["SHOP_HELD"]).touch()
        released(os.environ["SHOP_GO"])


@worker_ready.connect(weak=False)
def on_ready(**_) -> None:
    Thread(target=read, daemon=True).start()
