"""For tests of code that uses liteq: a clock moved by hand, tasks run in place, a queue run empty in-process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from liteq.app import LiteQ
from liteq.clock import FakeClock
from liteq.exceptions.workflows import NotRecorded
from liteq.testing.worker import start_worker
from liteq.testing.workflows import WorkflowTest
from liteq.workflow.client.drain import Drain

__all__ = ["FakeClock", "NotRecorded", "WorkflowTest", "drain", "eager", "start_worker"]


@contextmanager
def eager(app: LiteQ, *, propagate: bool = True) -> Iterator[None]:
    """Inside this block tasks of `app` run when they are sent; `propagate`: and their exceptions are raised there."""
    conf = app.conf
    before = conf["task_always_eager"], conf["task_eager_propagates"]
    conf.update(task_always_eager=True, task_eager_propagates=propagate)
    try:
        yield
    finally:
        conf.update(task_always_eager=before[0], task_eager_propagates=before[1])


def drain(app: LiteQ, queues: Sequence[str] | None = None, *, until_ms: int | None = None) -> int:
    """Execute the tasks that are due in `queues` (None: in all), and those that they send, in this process; how many.

    The real claim, execution and settling, without a worker. What is scheduled for later stays, unless the app's
    clock is a FakeClock and `until_ms` is given: the clock is then moved on from one due time to the next, up to it.
    """
    return Drain(app, queues).run(until_ms=until_ms)
