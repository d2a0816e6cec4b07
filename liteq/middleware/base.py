"""`Middleware`, and what it is given: a `Call` that is to be sent, an `Execution` that is to begin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from liteq.utils.records import dataclass

__all__ = ["Call", "Execution", "Middleware"]


@dataclass(slots=True)
class Call:
    """A call that is about to be sent. It may be changed: the change is sent, and affects no other call.

    `options` are those of `apply_async`, except `headers`, which is a field of its own. The task finds its headers in
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
    """One execution: an attempt of a task or a step, or a run that goes on. It cannot be changed.

    `kind`: "task", "step" (of a workflow) or "run" (the body of a workflow, once for each time that a worker takes the
    run up). `name`: that of the task, the step or the workflow. `id`: that of the message; for a step, that of its
    run. `headers`: those with which the message, or the run of the step, was sent. `attempt`: counted from 1.
    """

    kind: Literal["task", "step", "run"]
    name: str
    id: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    headers: dict[str, Any]
    attempt: int


class Middleware:
    """The base class: override the methods that you need, and pass on the call or the execution.

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
        canvas or a bulk are written together, after the last of them has passed. An exception refuses the call; of a
        canvas or a bulk nothing is sent then. The sender gets a RuntimeError where `send` is not called, or twice.
        """
        return send(call)

    def on_execute(self, execution: Execution, run: Callable[[Execution], Any]) -> Any:
        """Around one execution; returns what `run(execution)` returns: the result, None of a run that only waits.

        Hooks and signals of a task run inside `run`, which raises what the task raises, also `Retry`. The value that
        this method returns is the task's result. An exception here counts as the task's: it is retried, or fails.
        """
        return run(execution)

    async def aon_publish(self, call: Call, send: Callable[[Call], Awaitable[Any]]) -> Any:
        """`on_publish` for a task's `adelay` and `aapply_async`, in the caller's event loop.

        A middleware without this method has `on_publish` called for them, in the thread that writes.
        """
        return await send(call)

    async def aon_execute(self, execution: Execution, run: Callable[[Execution], Awaitable[Any]]) -> Any:
        """`on_execute` for `async def` tasks and steps, in their event loop, around the function alone.

        A middleware without this method has `on_execute` called around an `async def` task, outside of its event loop.
        It has nothing called around an `async def` step.
        """
        return await run(execution)
