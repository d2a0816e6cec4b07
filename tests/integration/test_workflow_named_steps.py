"""Steps that are named where they are called, and the question for the place of the code that runs."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

import pytest

from liteq.exceptions import NonDeterminism, StepTimeout, WorkflowError
from liteq.testing import WorkflowTest
from liteq.workflow import StepOptions, actx, ctx
from tests.integration.runs import Killed, killed_at


def test_a_function_is_the_step_that_its_call_names(app, worker):
    calls = []

    @app.workflow(name="asks")
    def asks(question: str) -> list[Any]:
        def request(text: str) -> dict[str, str]:
            calls.append(text)
            return {"answer": text.upper()}

        first = ctx.step("model.request", request, key="r1", args=(question,))
        ctx.sleep("1h")
        return [first, ctx.step("model.request", request, key="r2", args=("more",), options=StepOptions(retries=1))]

    run = asks.start("why")
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run.result(0) == [{"answer": "WHY"}, {"answer": "MORE"}]
    assert calls == ["why", "more"]
    steps = [(step.name, step.key) for step in run.steps() if step.kind == "step"]
    assert steps == [("model.request", "r1"), ("model.request", "r2")]


def test_arguments_may_be_hashed_alone(app, worker):
    """A closure takes no arguments; those that are given tell its calls apart all the same."""

    @app.workflow(name="hashes")
    def hashes(n: int) -> int:
        found = ctx.step("tool", lambda: n + 1, key="k", args=({"n": int(app.conf["changing"])},))
        ctx.sleep(1)
        return found

    app.conf["changing"] = 1
    first, second = hashes.start(1), hashes.start(2)
    worker.run()
    app.clock.advance(1)
    worker.turn()
    app.conf["changing"] = 2
    worker.run()
    done, stuck = sorted([first, second], key=lambda run: run.status != "succeeded")
    assert done.result(0) in (2, 3)
    assert stuck.status == "stuck"
    assert "other arguments" in (stuck.info().error or "")


def test_in_an_async_body_a_step_may_be_any_kind_of_function(app, worker):
    async def coroutine(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    class Tool:
        async def __call__(self, n: int) -> int:
            return n + 4

    @app.workflow(name="kinds")
    async def kinds() -> list[int]:
        return [
            await actx.step("coroutine", coroutine, args=(1,)),
            await actx.step("plain", lambda n: n + 2, args=(1,)),
            await actx.step("awaitable", lambda: coroutine(2)),
            await actx.step("partial", functools.partial(coroutine, 3), args=()),
            await actx.step("object", Tool(), args=(1,)),
            await actx.step("in a transaction", lambda: 6, options=StepOptions(tx=True)),
        ]

    run = kinds.start()
    worker.run()
    assert run.result(0) == [2, 3, 3, 4, 5, 6]


def test_a_timeout_ends_a_plain_function_in_an_async_body(app, worker):
    @app.workflow(name="late")
    async def late() -> str:
        try:
            return await actx.step("slow", lambda: time.sleep(60), options=StepOptions(timeout="50ms"))
        except StepTimeout:
            return "late"

    run = late.start()
    worker.run()
    assert run.result(0) == "late"


def test_retries_of_options_are_attempts_of_the_one_step(app, worker):
    attempts = []

    def fails() -> int:
        attempts.append(ctx.attempt)
        if len(attempts) < 3:
            raise OSError("not yet")
        return 5

    @app.workflow(name="tries")
    async def tries() -> int:
        return await actx.step("fails", fails, key="f", options=StepOptions(retries=2, backoff=0))

    run = tries.start()
    worker.run()
    assert (run.result(0), attempts) == (5, [1, 2, 3])


@pytest.mark.parametrize("place", [1, 2, 3, 4])
@pytest.mark.parametrize("before", [True, False])
def test_a_key_holds_whatever_the_tasks_around_it(app, worker, place, before):
    """Another version of a framework makes more tasks of its own, or fewer, and in another order."""
    ran: list[str] = []
    inner = iter((0, 3, 1, 5))

    async def call(name: str) -> str:
        async def work() -> str:
            ran.append(name)
            return name

        return await actx.step("tool", work, key=name)

    async def rest() -> None:
        await asyncio.sleep(0)

    @app.workflow(name="framework")
    async def framework() -> list[str]:
        await asyncio.gather(*(asyncio.create_task(rest()) for _ in range(next(inner))))
        names = ["a", "b", "c"] if next(inner) % 2 else ["c", "b", "a"]
        return sorted(await asyncio.gather(*(call(name) for name in names)))

    run = framework.start()
    with killed_at(app, place, before=before):
        worker.turn()
    worker.run()
    assert run.result(0) == ["a", "b", "c"]
    assert sorted(set(ran)) == ["a", "b", "c"]
    assert len(ran) <= 6


def test_the_place_is_told_anywhere_and_never_raises(app, worker):
    seen: dict[str, Any] = {"outside": (ctx.place, actx.place)}

    @app.task(name="plain")
    def plain() -> None:
        seen["task"] = (ctx.place, actx.place)

    @app.step
    def sync_step() -> None:
        seen["step"] = (ctx.place, actx.place)

    @app.step
    async def async_step() -> None:
        seen["async step"] = (ctx.place, actx.place)
        seen["task of a step"] = await asyncio.create_task(place())

    async def place() -> tuple[Any, Any]:
        return ctx.place, actx.place

    @app.workflow(name="sync_body")
    def sync_body() -> None:
        seen["body"] = (ctx.place, actx.place)
        sync_step()

    @app.workflow(name="async_body")
    async def async_body() -> None:
        seen["async body"] = (ctx.place, actx.place)
        seen["task of a body"] = await asyncio.create_task(place())
        await async_step()

    plain.delay()
    sync_body.start()
    async_body.start()
    worker.run()
    assert seen == {
        "outside": (None, None), "task": (None, None), "step": ("step", "step"), "async step": ("step", "step"),
        "task of a step": ("step", "step"), "body": ("body", "body"), "async body": ("body", "body"),
        "task of a body": ("body", "body"),
    }  # fmt: skip


def test_a_step_inside_a_step_is_refused(app, worker):
    @app.workflow(name="nests")
    def nests() -> int:
        return ctx.step("outer", lambda: ctx.step("inner", lambda: 1))

    run = nests.start()
    worker.run()
    with pytest.raises(WorkflowError, match="cannot be used in a step"):
        run.result(0)


def test_wrong_calls_say_what_is_right(app, worker):
    errors = []

    @app.workflow(name="wrong")
    def wrong() -> None:
        for call in (
            lambda: ctx.step("s", 5),
            lambda: ctx.step("", len, args=("ab",)),
            lambda: ctx.step("s", len, args="ab"),
            lambda: ctx.step("s", len, args=("ab",), options=StepOptions(retries=-1)),
        ):
            try:
                call()
            except Exception as exc:
                errors.append(str(exc))

    wrong.start()
    worker.run()
    assert [part in text for part, text in zip(("function", "1 to 255", "a list", "from 0"), errors, strict=True)] == (
        [True] * 4
    )


def test_a_step_is_replaced_in_a_test_by_its_name(app):
    @app.workflow(name="mocked")
    async def mocked() -> int:
        return await actx.step("agent.model.request", lambda n: n, key="k", args=(1,))

    with WorkflowTest(app) as test:
        mock = test.mock("request", result=7)
        assert test.run(mocked) == 7
        mock.assert_called_once_with(1)


def test_divergence_passes_what_frameworks_catch(app, worker):
    """Nobody's `except Exception` keeps a run going that is not what its history says; NonDeterminism is reported."""

    @app.workflow(name="catches")
    async def catches() -> str:
        name = "first" if app.conf["changing"] == 1 else "second"
        try:
            await actx.step(name, lambda: 1)
        except Exception:
            return "swallowed"
        await actx.sleep(1)
        return "done"

    app.conf["changing"] = 1
    run = catches.start()
    worker.run()
    app.conf["changing"] = 2
    app.clock.advance(1)
    worker.run()
    assert run.status == "stuck"
    assert (run.info().error or "").startswith("NonDeterminism")
    app.conf["changing"] = 1
    run.resume()
    worker.run()
    assert run.result(0) == "done"


@pytest.mark.parametrize("how", ["returns", "raises", "a group"])
def test_divergence_is_reported_whatever_catches_it(app, worker, how):
    """Even `except BaseException` does not hide it: each later call diverges too, and what came of it is not kept."""

    @app.workflow(name="stubborn")
    async def stubborn() -> str:
        async def ask() -> int:
            return await actx.step("first" if app.conf["changing"] == 1 else "second", lambda: 1)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(ask())
        except BaseException as exc:
            if how == "raises":
                raise ValueError("something else") from None
            if how == "a group":
                raise BaseExceptionGroup("more", [exc, ValueError("something else")]) from None
        await actx.sleep(1)
        return "swallowed"

    app.conf["changing"] = 1
    run = stubborn.start()
    worker.run()
    app.conf["changing"] = 2
    app.clock.advance(1)
    worker.run()
    assert run.status == "stuck"
    assert (run.info().error or "").startswith("NonDeterminism")
    with WorkflowTest(app) as test:
        app.conf["changing"] = 1
        other = test.start(stubborn)
        app.conf["changing"] = 2
        test.advance(1)
        with pytest.raises(NonDeterminism):
            other.result()


def test_a_killed_step_is_run_again_and_no_other(app, worker):
    ran: list[str] = []

    async def tool(name: str) -> str:
        ran.append(name)
        if ran.count(name) == 1:
            raise Killed
        return name

    @app.workflow(name="agent")
    async def agent() -> list[str]:
        return [await actx.step("tool", tool, key=name, args=(name,)) for name in ("a", "b", "c", "d")]

    run = agent.start()
    worker.run()
    assert run.result(0) == ["a", "b", "c", "d"]
    assert ran == ["a", "a", "b", "b", "c", "c", "d", "d"]
