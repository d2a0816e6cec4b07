"""Read by mypy, never run: what is ignored must be an error (`warn_unused_ignores`), and nothing else may be."""

from __future__ import annotations

from typing import Any, assert_type

from liteq import AsyncResult, BatchItem, LiteQ, Task, shared_task, task

app = LiteQ("typed")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(bind=True, max_retries=5)
def bound(self: Task[..., Any], name: str) -> str:
    return f"{self.name}: {name}"


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@shared_task
def shared(n: float) -> float:
    return n


@task(ignore_result=True)
def top(n: float) -> None: ...


@app.task(batch=100, batch_key="{shop}")
def store(items: list[BatchItem]) -> list[int]:
    return [item.retries for item in items]


@shared_task(batch=100, bind=True)
def store_for_all(self: Task[..., Any], items: list[BatchItem]) -> None: ...


assert_type(add(1, 2), int)
assert_type(add.delay(1, 2), AsyncResult[int])
assert_type(add.delay(1, 2).get(), int)
assert_type(add.apply_async((1, 2)), AsyncResult[int])
assert_type(bound.delay("a").get(timeout=3), str)
assert_type(fetch.delay("a").get(), bytes)
assert_type(shared.delay(1.5), AsyncResult[float])
top.delay(1)
assert_type(store.delay(1, shop="any arguments"), AsyncResult[Any])
store_for_all.delay("any")


async def from_async_code() -> None:
    assert_type(await add.adelay(1), AsyncResult[int])
    assert_type(await add.delay(1).aget(), int)
    assert_type(await fetch("a"), bytes)


add.delay("x")  # type: ignore[arg-type]
add.delay(1, 2, 3)  # type: ignore[call-arg]
add.delay(z=1)  # type: ignore[call-arg]
add("x")  # type: ignore[arg-type]
bound.delay(1)  # type: ignore[arg-type]
fetch.delay(b"x")  # type: ignore[call-overload]
shared.delay("x")  # type: ignore[arg-type]
top.delay()  # type: ignore[call-arg]
