"""A worker in a thread of the test's own process: real claims and real settling, and tasks that share its memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from liteq.app import LiteQ
from liteq.utils.log import mlevel
from liteq.worker import Worker

__all__ = ["start_worker"]


LOGGERS = ("liteq", "liteq.task", "liteq.worker", "liteq.redirected")


@contextmanager
def start_worker(
    app: LiteQ,
    concurrency: int = 1,
    pool: str = "solo",
    loglevel: int | str | None = None,
    logfile: str | None = None,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    WorkController: type[Worker] = Worker,  # noqa: N803 - Celery's name
    **options: Any,
) -> Iterator[Worker]:
    """Run a worker of `app` beside this block, in a thread; its name and arguments are those of Celery's helper.

    `pool`: "solo" or "threads". `loglevel` counts for liteq's loggers within the block; `logfile` has their lines too.
    With `perform_ping_check` the block begins when the worker has answered a ping, else as soon as it consumes.
    `WorkController`: a class of one's own, a subclass of `Worker`. Further options are those of `Worker`: `queues`,
    `hostname`, `purge`, ... Raises RuntimeError when it does not start, or does not end within `shutdown_timeout`
    seconds, and TypeError for an unknown option.
    """
    ready = threading.Event()
    failures: list[BaseException] = []
    worker = WorkController(app, concurrency=concurrency, pool=pool, on_ready=lambda _: ready.set(), **options)
    with _logged(loglevel, logfile), _running(worker, ready, failures, ping_task_timeout, shutdown_timeout):
        if perform_ping_check and not app.control.ping([worker.hostname], timeout=ping_task_timeout):
            raise RuntimeError(f"the worker {worker.hostname} does not answer")
        yield worker
    if failures:
        raise failures[0]


@contextmanager
def _logged(loglevel: int | str | None, logfile: str | None) -> Iterator[None]:
    """Set the level of liteq's loggers, and write their lines to a file, within the block."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.level for logger in loggers]
    handler = logging.FileHandler(logfile, encoding="utf-8") if logfile is not None else None
    if (level := mlevel(loglevel)) is not None:
        for logger in loggers:
            logger.setLevel(level)
    if handler is not None:
        loggers[0].addHandler(handler)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
        if handler is not None:
            loggers[0].removeHandler(handler)
            handler.close()


@contextmanager
def _running(
    worker: Worker, ready: threading.Event, failures: list[BaseException], start_s: float, end_s: float
) -> Iterator[None]:
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
        if not ready.wait(start_s) or failures:
            raise RuntimeError(f"the worker did not start: {failures or 'it took too long'}")
        yield
    finally:
        worker.stop()
        thread.join(end_s)
    if thread.is_alive():
        raise RuntimeError(f"the worker did not end within {end_s} s: a task still runs")
