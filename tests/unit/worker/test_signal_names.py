"""The end of a worker is announced with the name of the signal that asked for it."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from liteq import signals
from liteq.worker.chores.soft_shutdown import SoftShutdown
from liteq.worker.signals import Demand, SignalQueue
from liteq.worker.worker import Worker


@pytest.fixture
def queue():
    made = SignalQueue()
    made.install()
    yield made
    made.restore()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
def test_the_end_is_announced_with_the_name_of_its_signal(queue):
    told: list[tuple[str, str]] = []
    running = SimpleNamespace(
        pool=SimpleNamespace(leases=list), consumer=SimpleNamespace(finish=lambda: None, abort=lambda: None)
    )
    worker = SimpleNamespace(
        _on_turn=None, _signals=queue, _soft_shutdown=SoftShutdown(0.0, lambda: None), running=running,
        hostname="here",
    )  # fmt: skip
    worker._end_cold = lambda: Worker._end_cold(worker)  # type: ignore[arg-type]

    def note(sig, how, **_named):
        told.append((sig, how))

    signals.worker_shutting_down.connect(note)
    try:
        queue.put(Demand.WARM)  # as by remote control
        for one in (signal.SIGHUP, signal.SIGINT, signal.SIGINT):
            signal.raise_signal(one)
        Worker._obey(worker)  # type: ignore[arg-type]
    finally:
        signals.worker_shutting_down.disconnect(note)
    assert told == [("SIGTERM", "Warm"), ("SIGHUP", "Warm"), ("SIGINT", "Warm"), ("SIGINT", "Cold")]
