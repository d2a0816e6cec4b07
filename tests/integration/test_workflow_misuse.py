"""Calls of the surface that cannot mean anything: each is refused where it is made, with a way out."""

from __future__ import annotations

import asyncio
import warnings

import pytest

from liteq import LiteQ
from liteq.exceptions import RunCancelled
from liteq.testing import WorkflowTest
from liteq.workflow import actx, ctx

app = LiteQ("misused", broker="sqlite:////nowhere/at/all.db", set_as_current=False)


@app.step
def one(n: int) -> int:
    return n


@app.workflow(name="does")
def does(what: str) -> None:
    match what:
        case "event":
            ctx.wait_event("")
        case "race":
            ctx.race([ctx.event("")])
        case "gather of results":
            ctx.gather([one(1)])
        case "gather of one":
            ctx.gather(ctx.spawn(one, 1))
        case "race of a number":
            ctx.race(5)
        case "approval":
            ctx.approval(" ")
        case "patch":
            ctx.patched("")
        case "saga":
            with ctx.saga() as saga:
                saga.add(one(1))


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("event", "an event's name has 1 to 255"),
        ("race", "an event's name has 1 to 255"),
        ("gather of results", r"gather takes a list of handles, as ctx\.spawn\(\).* give them, not 1"),
        ("gather of one", "gather takes a list of handles"),
        ("race of a number", "race takes a list of handles"),
        ("approval", "an approval needs a title"),
        ("patch", "a patch needs an id"),
        ("saga", "takes a function or a step"),
    ],
)
def test_a_call_that_cannot_mean_anything_is_refused(what, error):
    with WorkflowTest(app) as t, pytest.raises((ValueError, TypeError), match=error):
        t.run(does, what)


@pytest.mark.parametrize(
    "declare",
    [lambda: app.step(timeout=0)(abs), lambda: app.workflow(timeout="0s")(abs), lambda: one.options(timeout=0)],
)
def test_a_limit_in_which_nothing_can_end_is_refused(declare):
    with pytest.raises(ValueError, match="longer than 0; leave it out"):
        declare()


def test_a_schedule_of_a_workflow_has_its_arguments(tmp_path):
    with LiteQ("timed", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False) as timed:

        @timed.workflow(name="nightly")
        def nightly(day: str) -> None: ...

        with pytest.raises(TypeError, match="missing a required argument: 'day'"):
            timed.schedules.add("nightly", 60.0, nightly)
        timed.schedules.add("nightly", 60.0, nightly, ("mon",))


def test_a_child_that_its_parent_cancels_says_so():
    @app.workflow(name="sleeps")
    def sleeps() -> None:
        ctx.sleep("1d")

    @app.workflow(name="cancels")
    def cancels(first: str) -> str:
        handle = ctx.spawn(sleeps)
        ctx.sleep(first)
        handle.cancel()
        try:
            handle.result()
        except RunCancelled as exc:
            return str(exc)
        return "not cancelled"

    with WorkflowTest(app) as t:
        for first in (0, "1h"):  # before it has begun, and while it waits
            assert t.run(cancels, first) == "the run that had started it has cancelled it"


class Refused(Exception):
    pass


def test_a_group_of_exceptions_comes_back_with_its_members():
    @app.step(name="fails")
    async def fails() -> None:
        raise Refused("no", 3)

    @app.workflow(name="grouped")
    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(actx.wait_event("x"))

    with WorkflowTest(app) as t, pytest.raises(ExceptionGroup) as raised:
        t.run(grouped)
    (inner,) = raised.value.exceptions
    assert isinstance(inner, Refused)
    assert inner.args == ("no", 3)


def test_a_call_that_is_not_awaited_is_warned_of() -> None:
    """It did nothing, or waited for nothing, and the run succeeded."""
    there = LiteQ("left", broker="sqlite:////nowhere/at/all.db", set_as_current=False)

    @there.step
    async def pay() -> None: ...

    @there.workflow
    async def flow() -> int:
        pay()  # type: ignore[unused-coroutine]
        actx.sleep("1h")  # type: ignore[unused-coroutine]
        actx.wait_event("go", timeout="1h", default=None).close()
        handle = await actx.spawn(pay)
        await actx.sleep("1m")
        await handle.result()
        return 1

    with WorkflowTest(there) as t, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert t.run(flow) == 1
    texts = [str(one.message) for one in told if one.category is RuntimeWarning]
    assert set(texts) == {
        f"step {pay.name!r} was never awaited: write `await` before it",
        "actx.sleep() was never awaited: write `await` before it",
    }
