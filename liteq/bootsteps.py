"""Steps of one's own in a worker's life, by Celery's names.

    class Heartbeat(bootsteps.StartStopStep):
        def start(self, worker):
            self.tref = worker.timer.call_repeatedly(1.0, touch, (path,))

        def stop(self, worker):
            path.unlink(missing_ok=True)

    app.steps["worker"].add(Heartbeat)

Steps run in the worker's main process, in its loop: a step that takes long belongs into a thread. A step is started
when the pool has started, and stopped, the last one first, when the last task has ended.
"""

from __future__ import annotations

from liteq.worker.compat.bootsteps import ConsumerStep, StartStopStep, Step

__all__ = ["ConsumerStep", "StartStopStep", "Step"]
