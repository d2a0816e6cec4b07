"""The determinism lint names, at its line, what a replay may answer otherwise."""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from datetime import datetime
from time import time as now_s
from uuid import uuid4

import pytest

from liteq import LiteQ
from liteq.exceptions import DeterminismWarning
from liteq.workflow import ctx
from liteq.workflow.declared.lint import findings

app = LiteQ("lint", set_as_current=False)


def clocks():
    time.time()
    now_s()
    datetime.now()
    time.sleep(1)


def chance():
    random.random()
    uuid4()


def world():
    import requests

    open("x")
    requests.get("u")


def swallowing():
    try:
        clocks()
    except:  # noqa: E722
        pass
    try:
        clocks()
    except BaseException:
        return


def order():
    for _ in {1, ord("a")}:
        pass
    return [ord(x) for x in set("ab")]


async def racing():
    await asyncio.wait_for(asyncio.sleep(1), 2)
    async with asyncio.timeout(1):
        await asyncio.wait([])
    asyncio.as_completed([])


def clean(ctx, items):
    for item in sorted(set(items)):
        datetime.fromisoformat(item)
    try:
        ctx.now()
    except BaseException:
        raise
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (clocks, ["time.time()", "time.time()", "datetime.datetime.now()", "time.sleep()"]),
        (chance, ["random.random()", "uuid.uuid4()"]),
        (world, ["open()", "requests.get()"]),
        (swallowing, ["`except:`", "`except BaseException:`"]),
        (order, ["a loop over a set", "a loop over a set"]),
        (racing, ["asyncio.wait_for()", "asyncio.sleep()", "asyncio.timeout()", "asyncio.wait()",
                  "asyncio.as_completed()"]),
        (clean, []),
    ],
)  # fmt: skip
def test_each_finding_is_named(body, named):
    assert sorted(text.split(": ")[0] for _, text in findings(body)) == sorted(named)


def test_the_decorator_warns_at_the_line_and_says_what_to_use():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        app.workflow(chance)
    assert [one.category for one in caught] == [DeterminismWarning] * 2
    assert "workflow 'chance': random.random(): use ctx.random" in str(caught[0].message)
    first = chance.__code__.co_firstlineno
    assert [one.lineno for one in caught] == [first + 1, first + 2]


def test_a_step_inside_a_body_is_free():
    def body():
        @app.step(name="inner_of_lint")
        def inner():
            return time.time()

        return inner()

    assert findings(body) == []


def test_what_the_body_runs_as_a_step_is_free():
    def body():
        def later():
            return time.time()

        ctx.step("now", lambda: time.time() + 1)
        ctx.run(lambda: random.random() + 1)
        return ctx.step("later", later)

    assert findings(body) == []
