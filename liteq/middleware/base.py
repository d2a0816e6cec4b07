"""`Middleware`, and what it is given: a `Call` that is to be sent, an `Execution` that is to begin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from liteq.utils.records import dataclass

__all__ = ["Call", "Execution", "Middleware"]


@dataclass(slots=True)
class Call:
    """A call that is about to be sent. What is changed here is sent so: it belongs to this call alone.

    `options` are those of `apply_async`, without its `headers`: these are here by themselves, and reach the task as
    `Execution.headers` and `request.headers`. The arguments are checked, and encoded, after the last middleware.
    """

    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    headers: dict[str, Any]

    def sent_options(self) -> dict[str, Any]:
        """The options with which it is sent, its headers among them."""
        return {**self.options, "headers": self.headers} if self.headers else self.options


@dataclass(slots=True, frozen=True)
class Execution:
    """One attempt to execute something, from 1 on. It says what was sent, and cannot be changed.

    `kind`: "task", "step" (an attempt of a workflow's step) or "run" (a workflow's body, from where it goes on: once
    for each time that a worker takes the run up). `name` is that of the task, the step or the workflow; `id` that of
    the message, of a step's run. `headers` are those with which it, or its run, was sent.
    """

    kind: Literal["task", "step", "run"]
    name: str
    id: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    headers: dict[str, Any]
    attempt: int


class Middleware:
    """The base class: override what is wanted, and pass on what was given.

        class Tenancy(liteq.Middleware):
            def on_publish(self, call, send):
                call.headers["tenant"] = tenant.get()
                return send(call)

            def on_execute(self, execution, run):
                with tenant_is(execution.headers["tenant"]):
                    return run(execution)

        app.middleware.add(Tenancy())

    One instance serves all threads of the process, so what belongs to one call is kept in local or context variables.
    """

    def on_publish(self, call: Call, send: Callable[[Call], Any]) -> Any:
        """Around the sending of one call; returns what `send(call)` returns, a result.

        Called for each message: `delay`, `apply_async`, each task of a canvas, each call of a bulk, each run of an
        entry of beat, each run and child of a workflow. A single call is written inside `send`; the messages of a
        canvas or a bulk are written together, behind it. What is raised refuses the sending, of a canvas or a bulk as a
        whole. Raises RuntimeError in the sender where `send` is not called, or twice.
        """
        return send(call)

    def on_execute(self, execution: Execution, run: Callable[[Execution], Any]) -> Any:
        """Around one execution; returns what `run(execution)` returns: the result, None of a run that only waits.

        Hooks and signals of a task run inside `run`, which raises what the task raises, `Retry` too. What is returned
        here is the task's result, and what is raised its exception: it is retried, or fails, by that.
        """
        return run(execution)

    async def aon_publish(self, call: Call, send: Callable[[Call], Awaitable[Any]]) -> Any:
        """`on_publish` for a task's `adelay` and `aapply_async`, in the caller's event loop.

        Without it, `on_publish` is called for these too, in the thread that writes.
        """
        return await send(call)

    async def aon_execute(self, execution: Execution, run: Callable[[Execution], Awaitable[Any]]) -> Any:
        """`on_execute` for `async def` tasks and steps, in their event loop, around the function alone.

        Without it, `on_execute` is called around such a task too, and its event loop is inside of that; around an
        `async def` step it cannot be.
        """
        return await run(execution)
