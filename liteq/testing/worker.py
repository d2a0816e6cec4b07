"""A worker in a thread of the test's own process: real claims and real settling, and tasks that share its memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from liteq.app import LiteQ
from liteq.worker import Worker

__all__ = ["start_worker"]


@contextmanager
def start_worker(
    app: LiteQ,
    concurrency: int = 1,
    pool: str = "solo",
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    **options: Any,
) -> Iterator[Worker]:
    """Run a worker of `app` beside this block, in a thread; its name and arguments are those of Celery's helper.

    `pool`: "solo" or "threads". With `perform_ping_check` the block begins when the worker has answered a ping, else
    as soon as it consumes. Further options are those of `Worker`: `queues`, `hostname`, ...; Celery's about logs are
    taken and not used. Raises RuntimeError when it does not start, or does not end within `shutdown_timeout` seconds.
    """
    ready = threading.Event()
    failures: list[BaseException] = []
    for unused in ("WorkController", "loglevel", "logfile"):
        options.pop(unused, None)
    worker = Worker(app, concurrency=concurrency, pool=pool, on_ready=lambda _: ready.set(), **options)

    def run() -> None:
        try:
            worker.run()
        except BaseException as exc:  # noqa: BLE001 - told to the test that waits for it
            failures.append(exc)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="liteq-worker", daemon=True)
    thread.start()
    try:
        if not ready.wait(ping_task_timeout) or failures:
            raise RuntimeError(f"the worker did not start: {failures or 'it took too long'}")
        if perform_ping_check and not app.control.ping([worker.hostname], timeout=ping_task_timeout):
            raise RuntimeError(f"the worker {worker.hostname} does not answer")
        yield worker
    finally:
        worker.stop()
        thread.join(shutdown_timeout)
    if thread.is_alive():
        raise RuntimeError(f"the worker did not end within {shutdown_timeout} s: a task still runs")
    if failures:
        raise failures[0]
