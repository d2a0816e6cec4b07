"""Metrics for Prometheus, read from the file at each scrape: they survive restarts, and need no worker's help.

`exposition(app)` is the text of a page; `liteq metrics` serves it on a port, or writes it into a file. The library
prometheus_client is loaded where one of these is called, and not before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.misspelt import meant

if TYPE_CHECKING:
    from liteq.metrics.collector import QueueCollector

__all__ = ["CONTENT_TYPE", "NAMES", "check_names", "exposition", "make_collector"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NAMES = ("celery", "flower")


def exposition(app: App, names: Iterable[str] = (), *, per_worker: bool = False) -> bytes:
    """The metrics of `app`'s file in Prometheus's text format, to be sent as `CONTENT_TYPE`.

    `names`: vocabularies to add, "celery" (that of its exporters) and "flower". `per_worker`: workers by their whole
    names, which hold a machine's or a pod's; else those of one name before the "@" are one. Costs some milliseconds,
    and for each 10,000 messages that wait one more. Raises ImproperlyConfigured without prometheus_client and for an
    unknown name, StorageError where the file cannot be read.
    """
    made = make_collector(app, names, per_worker=per_worker)
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(made)
    return generate_latest(registry)


def make_collector(app: App, names: Iterable[str] = (), *, per_worker: bool = False) -> QueueCollector:
    """A collector for a registry of prometheus_client; else as `exposition`."""
    try:
        import prometheus_client as _  # noqa: F401
    except ImportError:
        raise ImproperlyConfigured("metrics need prometheus_client: pip install prometheus-client") from None
    from liteq.metrics.collector import QueueCollector

    return QueueCollector(app, check_names(names), per_worker=per_worker)


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """`names` without repetitions. Raises ImproperlyConfigured for one that is no vocabulary."""
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in NAMES:
            hint = meant(name, NAMES, f"use {' or '.join(map(repr, NAMES))}")
            raise ImproperlyConfigured(f"there are no metrics called {name!r}{hint}")
    return wanted
