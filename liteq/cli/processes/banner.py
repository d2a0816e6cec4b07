"""The banner of a worker: its own description, on a terminal, when it starts."""

from __future__ import annotations

import platform
from typing import Any

from liteq._version import __version__
from liteq.context import App
from liteq.settings import SETTINGS
from liteq.storage import describe_url
from liteq.storage.driver import Place
from liteq.utils.text import printable

__all__ = ["banner"]


def banner(app: App, worker: Any, *, loglevel: str | None, logfile: str | None, files: str = "") -> str:
    """The app, its file (or `files`: many), the pool, the queues; the tasks too at `-l INFO` and below."""
    conf = app.conf
    place = Place("files", files, "each in turn") if files else describe_url(app.broker_url, conf.sqlite_driver)
    lines = [
        "",
        f" {worker.hostname} v{__version__}",
        f" {platform.platform()}, Python {platform.python_version()}",
        "",
        "[config]",
        f".> app:         {app.main or '__main__'}",
        f".> {place.kind + ':':<13}{place.where} ({place.through})",
        f".> durability:  {conf.durability}{_meaning(conf.durability)}",
        f".> concurrency: {worker.concurrency} ({worker.pool_kind})",
        f".> log:         {logfile or 'stderr'}, {loglevel or 'WARNING, and a line a task'}",
        "",
        "[queues]",
        *(f".> {queue}" for queue in worker.queues),
    ]
    if loglevel in {"INFO", "DEBUG"}:
        lines += ["", "[tasks]", *(f"  . {name}" for name in sorted(app.tasks))]
    return "\n".join(printable(line) for line in lines) + "\n"


def _meaning(durability: str) -> str:
    return "" if durability == SETTINGS["durability"].default else f" (default: {SETTINGS['durability'].default})"
