"""The parent's watch over runs: what is overdue, what takes long, what other code got stuck with."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from liteq import LiteQ
from liteq.exceptions import StepTimeout, WorkerLostError
from liteq.message import Flag, Lease, Release, Suspend
from liteq.serialization import decode_error
from liteq.testing import FakeClock
from liteq.worker.chores import runs
from liteq.worker.chores.runs import GRACE_S, LOOK_S, SHOWN_S, STUCK_S, RunWatch
from liteq.worker.pool.fingerprint import RELEASE, fingerprint
from liteq.worker.pool.page import StepNow
from liteq.worker.pool.runs import lost_in_a_run, timed_out


def lease(token: int = 7, seq: int = 70) -> Lease:
    return Lease(seq, token, "order-7", "shop.flow", b"[[],{}]", None, "celery", 0, 0, None, 0, 0, Flag.RUN, *[None] * 4)


def step(started: float, deadline: float = 0.0, **fields: Any) -> StepNow:
    return StepNow(7, "", 3, "shop.charge", 2, started, deadline)._replace(**fields)


class Watched:
    """A watch over a pool and a file that note what is asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, workflows: bool = True) -> None:
        self.clock = FakeClock()
        self.steps: list[StepNow] = []
        self.looks: list[float] = []
        self.shown: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        self.stuck: list[Lease] = []
        self.taken: list[Lease] = []
        self.room = 2
        monkeypatch.setattr(runs, "has_workflows", lambda _app: workflows)
        pool: Any = SimpleNamespace(
            steps=lambda: self.steps, end_overdue=self.looks.append, leases=lambda: [lease()]
        )
        storage: Any = SimpleNamespace(
            runs=SimpleNamespace(show=lambda rows: self.shown.extend(rows), claim_stuck=self.claim_stuck)
        )
        app = LiteQ("t", broker="memory://", clock=self.clock) if False else SimpleNamespace(
            clock=self.clock, conf=SimpleNamespace(visibility_timeout=60.0), tasks={}
        )
        self.watch = RunWatch(
            app, storage, pool, queues=lambda: ["q"], worker=lambda: 4, room=lambda: self.room, take=self.taken.extend,
            monotonic=self.clock.monotonic,
        )  # fmt: skip

    def claim_stuck(self, queues: list[str], **how: Any) -> list[Lease]:
        self.asked.append({"queues": queues, **how})
        found, self.stuck = self.stuck[: how["limit"]], self.stuck[how["limit"] :]
        return found

    def turn_at(self, seconds: float) -> None:
        self.clock.advance(seconds - self.clock.monotonic())
        self.watch.turn()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setenv(RELEASE, "r2")
    return Watched(monkeypatch)
