"""A file with workflows of each shape and size, executed here under a clock that is moved by hand."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from liteq import LiteQ, chain, chord, group
from liteq.clock import FakeClock
from liteq.message import WorkerIdentity, new_id
from liteq.workflow import ctx
from liteq.workflow.client.drain import outcome_of

__all__ = ["HOSTILE", "Payment", "at_work", "work"]

HOSTILE = "</svg></title><script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>"
HOUR_S = 3_600


class Payment(BaseModel):
    """The data that the approval asks for."""

    amount: int = Field(ge=1, le=500, description="In cents")
    how: Literal["card", "wire"] = "card"
    urgent: bool = False


def work(app: LiteQ, most: int = 100_000) -> None:
    """Execute what is due, one after another, `most` of it."""
    number = app.storage.register_worker(WorkerIdentity(new_id(), "w1@host", "host", "", os.getpid(), ""))
    flows = {name: task.run_spec for name, task in app.tasks.items() if hasattr(task, "run_spec")}
    for _ in range(most):
        leases = app.storage.turn(
            (), ["celery"], worker=number, limit=1, visibility_s=6_000, expectant=True, flows=flows
        ).leases
        if not leases:
            return
        began = app.clock.now_ms()
        outcome = outcome_of(app, leases[0])
        took_s = (app.clock.now_ms() - began) / 1000
        app.storage.settle([(leases[0], outcome)], ran={leases[0].token: (began, took_s)})


def declared(folder: Path) -> LiteQ:
    """The app, with its tasks and workflows."""
    clock = FakeClock(int(time.time() * 1000) - 8 * HOUR_S * 1000)
    app = LiteQ("flows", broker=f"sqlite:///{folder / 'q.db'}", clock=clock, set_as_current=False)
    dice = random.Random(4)

    @app.task(name="flow.fetch")
    def fetch(*_: Any) -> int:
        clock.advance(seconds=dice.uniform(0.2, 3))
        return 1

    @app.task(name="flow.scan")
    def scan(*args: Any) -> int:
        clock.advance(seconds=0.1)
        if args and args[-1] == 77:
            raise ValueError("a bad page")
        return 1

    @app.task(name="flow.charge", bind=True, max_retries=2)
    def charge(self: Any, *_: Any) -> None:
        clock.advance(seconds=1.5)
        raise self.retry(exc=ValueError("declined"), countdown=8)

    @app.task(name="flow.sends", bind=True)
    def sends(self: Any, *_: Any) -> int:
        for _ in range(3):
            fetch.delay()
        return 1

    @app.task(name="flow.replaces", bind=True)
    def replaces(self: Any, *_: Any) -> Any:
        raise self.replace(chain(fetch.s(), fetch.s()))

    @app.task(name=HOSTILE)
    def hostile(*_: Any) -> None:
        raise ValueError(HOSTILE)

    @app.step(name="flow.reserve")
    def reserve(n: int) -> dict[str, int]:
        clock.advance(seconds=0.5)
        return {"reserved": n}

    @app.workflow(name="flow.part")
    def part(n: int) -> Any:
        reserve(n)
        ctx.sleep("2m")
        return reserve(n)

    @app.workflow(name="flow.order")
    def order(n: int) -> int:
        reserve(n)
        ctx.gather([ctx.spawn(fetch, 1), ctx.spawn(part, n), ctx.spawn(scan, 2)])
        ctx.sleep("3h")
        ctx.approval("Pay 1200?", details={"total": 1200, "customer": HOSTILE}, form=Payment, timeout="2d")
        return n

    return app


def at_work(folder: Path) -> tuple[LiteQ, dict[str, str]]:
    """The app on a file of its own, and the id of each of its workflows by a name."""
    app = declared(folder)
    clock: Any = app.clock
    of = app.tasks
    fetch, scan, sends, replaces = (of[f"flow.{name}"] for name in ("fetch", "scan", "sends", "replaces"))
    ids: dict[str, str] = {}

    def turns(n: int, seconds: float) -> None:
        for _ in range(n):
            work(app)
            clock.advance(seconds=seconds)

    def sized(n: int) -> Any:
        return fetch.s() | group(scan.s(k) for k in range(n)) | fetch.s() | fetch.s()

    ids["ten"] = sized(10).apply_async().id
    ids["two-hundred"] = sized(200).apply_async().id
    inner = chord([fetch.s(), fetch.s() | scan.si()], fetch.s())
    other = sends.si() | chord([fetch.s(), replaces.s()], fetch.s())
    ids["nested"] = (fetch.s() | chord([inner, other], fetch.s())).apply_async().id
    turns(3, 2)
    retried = chain(fetch.s(), of["flow.charge"].si(), fetch.s())
    retried.link_error(fetch.si())
    ids["failed"] = retried.apply_async().id
    ids["hostile"] = group(of[HOSTILE].si(), of[HOSTILE].si() | fetch.s()).apply_async().id
    turns(6, 9)
    for id_ in ("order-7", "order-8"):
        of["flow.order"].options(id=id_).start(7)
        ids[id_] = id_
    turns(6, 60)
    clock.advance(seconds=3 * HOUR_S)
    turns(2, 10)
    ids["ten-thousand"] = sized(10_000).apply_async().id
    work(app, 3_000)
    number = app.storage.register_worker(WorkerIdentity(new_id(), "w2@host", "host", "", os.getpid(), ""))
    app.storage.turn((), ["celery"], worker=number, limit=12, visibility_s=60_000, flows={})
    return app, ids
