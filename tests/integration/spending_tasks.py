"""Workflows whose steps ask a provider over HTTP, for real workers. `PROVIDER` is its URL."""

from __future__ import annotations

import os
import time
import urllib.request

from liteq import LiteQ
from liteq.workflow import Budget, ctx

app = LiteQ("spending_tasks", broker=os.environ["WORKER_TEST_BROKER"])


def post(model: str) -> None:
    """Ask the provider; an HTTPError where it refuses."""
    headers = {"Begun": str(time.time())}
    request = urllib.request.Request(f"{os.environ['PROVIDER']}/{model}", data=b"", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


@app.step(name="ask", limits=["model:{model}"])
def ask(n: int, model: str) -> int:
    post(model)
    ctx.spend(model=model, input_tokens=10, cost="1")
    return n


@app.workflow(name="one")
def one(n: int, model: str) -> int:
    return ask(n, model)


@app.workflow(name="crowd", budget=Budget(cost="10"))
def crowd(n: int) -> int:
    found = ctx.map(crowded, range(n), on_error="collect")
    return sum(isinstance(each, int) for each in found)


@app.workflow(name="crowded")
def crowded(n: int) -> int:
    return ask(n, "free")
