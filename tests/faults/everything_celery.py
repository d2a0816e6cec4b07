"""Celery itself beside everything: a worker of its own on the same file, with a queue of its own, and a sender."""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from liteq.states import State

from .harness import HERE, Drill, kill_group, wait_for
from .nursery import Process

__all__ = ["CeleryBeside"]

SHOP = HERE.parent / "contrib" / "real_celery"
OPTIONS = {"durability": "relaxed", "visibility_timeout": 15, "max_deliveries": 1_000}


class CeleryBeside:
    """A worker and a sender of Celery's. `is_here()`: whether Celery is installed beside liteq."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self._url = f"liteq:///{drill.db}"
        self._ledger = drill.folder / "celery-ledger"
        self.sent: list[str] = []
        self._started = 0
        self._over = threading.Event()
        self._worker = self._start()
        self._sending = threading.Thread(target=self._send, daemon=True)
        self._sending.start()

    @staticmethod
    def is_here() -> bool:
        return find_spec("celery") is not None

    def _start(self) -> Process:
        self._started += 1
        command = ["-m", "celery", "-A", "app_of_shop", "worker", "-c", "2", "-Q", "shop", "-n", "celery@shop"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
        paths = os.pathsep.join([str(SHOP), *sys.path])
        env = {"SHOP_QUEUE": self._url, "SHOP_OPTIONS": json.dumps(OPTIONS), "PYTHONPATH": paths}
        return self._drill.start(*command, *quiet, name=f"celery-{self._started}", env=env)

    def kill(self) -> None:
        """The worker with its children; another one starts at once."""
        kill_group(self._worker)
        self._worker = self._start()

    def _send(self) -> None:
        from celery import Celery

        app: Any = Celery("shop", broker=self._url, backend=self._url, set_as_current=False)
        app.conf.broker_transport_options = OPTIONS
        n = 0
        while not self._over.wait(0.1):
            with suppress(Exception):  # the file is held up: whatever was not accepted is not counted
                self.sent.append(app.send_task("shop.ledger", (str(self._ledger), n), queue="shop").id)
            n += 1
        app.close()

    def end_sending(self) -> None:
        self._over.set()
        self._sending.join(60)

    def end(self, storage: Any) -> list[str]:
        """Wait until all that was sent has ended; stop the worker. The troubles."""
        self.end_sending()
        rows: dict[str, Any] = {}

        def have_ended() -> bool:
            rows.update(storage.reader.find_many(self.sent))
            return len(rows) == len(self.sent) and all(row.has_ended for row in rows.values())

        with suppress(AssertionError):
            wait_for(have_ended, within_s=120)
        self._drill.stop(self._worker)
        bad = [id_ for id_ in self.sent if id_ not in rows or rows[id_].state is not State.SUCCEEDED]
        ran = len(set(Path(self._ledger).read_text().splitlines())) if self._ledger.exists() else 0
        troubles = [f"{len(bad)} of Celery's {len(self.sent)} have not succeeded: {bad[:3]}"] if bad else []
        if ran < len(self.sent):
            troubles.append(f"Celery ran {ran} of {len(self.sent)}")
        return troubles
