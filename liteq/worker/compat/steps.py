"""The steps of the app's own in this worker: made, started, stopped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from liteq.bootsteps import StartStopStep, in_order

__all__ = ["Steps"]

logger = logging.getLogger("liteq.worker")


class Steps:
    """`app.steps["worker"]` and `app.steps["consumer"]`, each made with `worker` and `options`."""

    def __init__(self, worker: Any, options: Mapping[str, Any]) -> None:
        self.worker = worker
        classes = {*worker.app.steps["worker"], *worker.app.steps["consumer"]}
        made = [step(worker, **options) for step in in_order(classes)]
        self.included = [step for step in made if step.include(worker)]
        self._started: list[StartStopStep] = []

    def start(self) -> None:
        """Start them in their order. What one raises ends the worker."""
        for step in self.included:
            if isinstance(step, StartStopStep):
                self._started.append(step)
                step.start(self.worker)

    def stop(self, *, cold: bool) -> None:
        """Stop what was started, the last one first; what one raises is logged, and the others are stopped."""
        started, self._started = self._started[::-1], []
        for name in ("close", "terminate" if cold else "stop"):
            for step in started:
                try:
                    getattr(step, name)(self.worker)
                except Exception:
                    logger.exception("%r could not %s", step, name)
