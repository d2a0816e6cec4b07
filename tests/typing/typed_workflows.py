"""Read by mypy, never run: what is ignored must be an error (`warn_unused_ignores`), and nothing else may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

from liteq import LiteQ
from liteq.testing import WorkflowTest
from liteq.workflow import Approval, Failure, Handle, Run, Step, Workflow, actx, ctx

app = LiteQ("typed")


@dataclass
class Order:
    id: int


@app.task
def double(n: int) -> int:
    return n * 2


@app.step
def charge(order: Order, key: str) -> str:
    return key


@app.step(name="fetch", retries=3, timeout="30s", retry_on=(ConnectionError,), memo="1d")
async def fetch(url: str) -> bytes:
    return url.encode()


@app.workflow
def flow(order: Order, n: int = 0) -> str:
    assert_type(charge(order, ctx.step_key), str)
    assert_type(charge.options(retries=2)(order, "k"), str)
    assert_type(ctx.call(double, 2), int)
    assert_type(ctx.call(charge, order, "k"), str)
    assert_type(ctx.call(fetch, "u"), bytes)
    assert_type(ctx.call(slow, 2), float)
    assert_type(ctx.spawn(double, 2), Handle[int])
    assert_type(ctx.gather(ctx.spawn(double, i) for i in range(3)), list[int])
    assert_type(ctx.gather([ctx.spawn(double, 1)], on_error="collect"), list[int | Failure])
    assert_type(ctx.map(double, [1, 2]), list[int])
    assert_type(ctx.run(len, "abc"), int)
    assert_type(ctx.wait_event("go", type=Order), Order)
    assert_type(ctx.wait_event("go", type=Order, timeout="1d", default=None), Order | None)
    ctx.race([ctx.spawn(double, 1), ctx.spawn(charge, order, "k"), ctx.timer("1d"), ctx.event("go")])
    assert_type(ctx.approval("ok?"), Approval)
    return "done"


@app.workflow(version="2", timeout="1d")
async def slow(n: int) -> float:
    assert_type(await fetch("u"), bytes)
    assert_type(await actx.call(double, n), int)
    assert_type(await actx.run(len, "abc"), int)
    handle = await actx.spawn(double, 2)
    assert_type(await actx.gather([handle]), list[int])
    assert_type(await handle.result(), int)
    await actx.race([handle, actx.timer("1d"), actx.event("go")])
    await actx.timer("1d").result()
    assert_type(await actx.wait_event("go", type=Order, timeout="1d", default=None), Order | None)
    return 1.0


step: Step[[Order, str], str] = charge
assert_type(flow.start(Order(1)), Run[str])
assert_type(flow.start(Order(1)).result(timeout=3), str)
assert_type(flow.options(id="a").start(Order(1), n=2).get(), str)
assert_type(flow.apply_async((Order(1),)), Run[str])
assert_type(flow.Run("a").result(), str)
assert_type(slow.start(1), Run[float])
assert_type(slow.delay(1).result(), float)
assert_type(app.Run("a"), Run[Any])
assert_type(app.runs(status="failed"), list[Run[Any]])


async def from_async_code() -> None:
    assert_type(await flow.astart(Order(1)), Run[str])
    assert_type(await flow.Run("a").aresult(), str)
    assert_type(await slow.astart(1), Run[float])


def in_a_test(other: Workflow[[int], str]) -> None:
    with WorkflowTest(app) as test:
        assert_type(test.run(flow, Order(1)), str)
        assert_type(test.run(slow, 1), float)
        assert_type(test.start(other, 1), Run[str])
        test.run(flow, 1)  # type: ignore[call-overload]


flow.start(1)  # type: ignore[arg-type]
flow.start()  # type: ignore[call-arg]
flow.start(Order(1), m=1)  # type: ignore[call-arg]
flow.options(idd="a")  # type: ignore[call-arg]
flow.options(on_conflict="no")  # type: ignore[arg-type]
slow.start("x")  # type: ignore[call-overload]
charge.options(retires=3)  # type: ignore[call-arg]
charge.options(timeout=Order(1))  # type: ignore[arg-type]
charge(1, "k")  # type: ignore[arg-type]
app.step(retires=3)  # type: ignore[call-overload]
