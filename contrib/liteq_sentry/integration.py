"""`LiteqIntegration`: liteq among the integrations of Sentry's SDK."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import sentry_sdk
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.logging import ignore_logger

from liteq import context, signals
from liteq.app.integrations import announce_fixup
from liteq.context import App, Observer

__all__ = ["LiteqIntegration", "watch"]

ENDS = (
    logging.getLogger("liteq.execution"),
    logging.getLogger("liteq.workflow"),
    logging.getLogger("liteq.redirected"),
)
FLUSH_S = 5.0  # that a process waits at its end for the transport


class LiteqIntegration(Integration):
    """Reports the errors of tasks, and makes spans of what is sent and executed, in all apps of the process.

    `propagate_traces`: an execution is in the trace of its sender. `monitor_beat_tasks`: entries of beat are cron
    monitors, all but those whose names are in `exclude_beat_tasks`.
    """

    identifier = "liteq"
    origin = "auto.queue.liteq"

    def __init__(
        self,
        propagate_traces: bool = True,
        monitor_beat_tasks: bool = False,
        exclude_beat_tasks: Sequence[str] = (),
    ) -> None:
        self.propagate_traces = propagate_traces
        self.monitor_beat_tasks = monitor_beat_tasks
        self.exclude_beat_tasks = frozenset(exclude_beat_tasks)

    @staticmethod
    def setup_once() -> None:
        """Watch the apps that there are, and those that will be made. The SDK calls it, once."""
        announce_fixup(f"{__name__}:watch")
        for app in context.active_apps():
            watch(app)
        signals.worker_process_shutdown.connect(_flush)
        signals.worker_shutdown.connect(_flush)
        # Their lines about errors would be the same errors once more; what is printed is no event.
        for logger in ENDS:
            ignore_logger(logger.name)


class Watching(context.Integration):
    """An app that is watched."""

    def __init__(self, app: App) -> None:
        from liteq_sentry.observer import Reporting

        self._observer = Reporting(app)

    def observer(self) -> Observer:
        return self._observer


def watch(app: App) -> None:
    """Watch `app`; once more does nothing. While Sentry is not initialised with the integration, nothing is made."""
    if not app.integrations.has(Watching):
        app.integrations.add(Watching(app))


def _flush(**_: Any) -> None:
    """Send what this process holds: it ends without Python's own exit."""
    sentry_sdk.flush(FLUSH_S)
