"""`Body`: the code that an activation runs, and what tasks and senders ask of the place that they are called in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from liteq.context.observing import headers_of
from liteq.exceptions import WorkflowError
from liteq.message import Batch, new_id
from liteq.middleware import Execution
from liteq.result import AsyncResult
from liteq.sending.compile import compile_signature
from liteq.workflow.calling.effects import send_call, send_canvas
from liteq.workflow.calling.scope import Scope
from liteq.workflow.history.frames import enter, here, leave
from liteq.workflow.history.machine import Machine

__all__ = ["Body", "run_through"]


class Body:
    """A workflow's function with the arguments of one run; or a step that was sent as a message."""

    def __init__(self, machine: Machine, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.machine = machine
        self.task = task
        self.args = args
        self.kwargs = kwargs
        machine.flow = None if machine.is_step else task
        machine.is_async = task.is_async
        recording: Any = getattr(machine.app, "workflow_recording", None)
        if recording is not None:
            machine.recorded = recording.replay(machine.run_id, task.name, [list(args), dict(kwargs)])

    def run(self) -> Any:
        """Run it until it returns, raises, or is left."""
        machine = self.machine
        kind = Scope if machine.recorded is None else machine.recorded.scope
        scope = kind(machine, "", machine.facts.gen_ms or machine.facts.started_ms or machine.now_ms())
        machine.scope = scope
        if not machine.is_async:
            token = enter(scope)
            try:
                if machine.is_step:
                    return scope.call_step(self.task, self.args, self.kwargs)
                return self.task.function(*self.args, **self.kwargs)
            finally:
                leave(token)
        from liteq.workflow.activating.loop import run_body

        if machine.is_step:
            return run_body(machine, scope, self._step(scope))
        return run_body(machine, scope, lambda: self.task.function(*self.args, **self.kwargs))

    def _step(self, scope: Scope) -> Any:
        async def run() -> Any:
            return await scope.call_step(self.task, self.args, self.kwargs)

        return run

    # -- asked by tasks and senders, in the process that executes ----------------------------------------------------

    def refuse_call(self, task: Any) -> None:
        """Raise WorkflowError where `task` is called as a function by the body itself; a step may."""
        if isinstance(here(), Scope):
            name = getattr(task, "__name__", task.name)
            raise WorkflowError(
                f"the task {task.name!r} was called as a function in a workflow's body, where each replay would run it "
                f"again: `ctx.call({name}, ...)` runs it in the pool and waits, `ctx.run({name}, ...)` runs it here as "
                f"a step, `{name}.delay(...)` sends it"
            )

    def in_body(self) -> bool:
        """Whether this is the body itself, and no step of it."""
        return isinstance(here(), Scope)

    def refuse_wait(self) -> None:
        """Raise WorkflowError where the body itself waits for a result."""
        if isinstance(here(), Scope):
            raise WorkflowError(
                "get() in a workflow's body holds a worker, and would be repeated by each replay: ctx.call() the task, "
                "or ctx.spawn() it and ctx.gather()"
            )

    def send_call(
        self, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None,
        options: dict[str, Any],
    ) -> Any:  # fmt: skip
        """A call that is sent here: recorded, in the body; in a step's transaction, a part of that. Else None."""
        frame = here()
        if isinstance(frame, Scope):
            return send_call(frame, name, args, kwargs, task_id, options)
        transaction = getattr(frame, "transaction", None)
        if transaction is not None and hasattr(transaction, "enqueue"):
            app = self.machine.app
            message = app.publisher.message(name, args, kwargs, options, message_id=task_id or new_id())
            (id_,) = transaction.enqueue(Batch([message]))
            return AsyncResult(id_, task_name=name, app=app)
        return None

    def send_signature(self, sig: Any) -> Any:
        """A canvas that is sent here: recorded, in the body; in a step's transaction, a part of that. Else None."""
        frame = here()
        if isinstance(frame, Scope):
            return send_canvas(frame, sig)
        transaction = getattr(frame, "transaction", None)
        if transaction is not None and hasattr(transaction, "enqueue"):
            app = self.machine.app
            compiled = compile_signature(sig, app.publisher, **self.machine.family)
            ids = transaction.enqueue(compiled.batch, again=compiled.chosen)
            return app.sender.result_of(compiled.node, compiled.batch.stands(ids))
        return None

    def refuse_sending(self, what: str) -> None:
        """Raise WorkflowError where the body itself sends in a way that is not recorded."""
        if isinstance(here(), Scope):
            raise WorkflowError(f"{what} in a workflow's body would be repeated by each replay: do it in a step")


def run_through(machine: Machine, body: Body) -> Any:
    """Run a body as far as it goes.

    A step that was sent as a message is met by its attempt; an async one here by what cannot be around that.
    """
    through, lease = machine.through, machine.lease
    if machine.is_step:
        through = machine.app.middleware.around(is_async=True) if machine.is_async else None
    if through is None:
        return body.run()
    kind: Literal["step", "run"] = "step" if machine.is_step else "run"
    headers = headers_of(lease.options)
    execution = Execution(kind, lease.task, lease.id, tuple(body.args), dict(body.kwargs), headers, lease.retries + 1)
    return through(execution, lambda _execution: body.run())
