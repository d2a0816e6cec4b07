"""The app's middleware around a body that goes on, and around each attempt of a step."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal

from liteq.context.observing import headers_of
from liteq.middleware import Execution

if TYPE_CHECKING:
    from liteq.workflow.attempts import Attempts
    from liteq.workflow.body import Body
    from liteq.workflow.machine import Machine

__all__ = ["around_step", "run_through"]


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


def around_step(call: Attempts, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of one attempt of a step, inside the middleware. Around an async one is `aon_execute` alone."""
    machine = call.machine
    through = machine.through_async if iscoroutinefunction(function) else machine.through
    if through is None:
        return function
    lease = machine.lease
    execution = Execution(
        "step", call.step.name, lease.id, tuple(call.args), dict(call.kwargs), headers_of(lease.options), call.attempt
    )

    def passed(*args: Any, **kwargs: Any) -> Any:
        return through(execution, lambda _execution: function(*args, **kwargs))

    return passed
