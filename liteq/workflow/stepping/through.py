"""The app's middleware around each attempt of a step."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from liteq.context.observing import headers_of
from liteq.middleware import Execution

if TYPE_CHECKING:
    from liteq.workflow.stepping.call import StepCall

__all__ = ["around_step"]


def around_step(call: StepCall, function: Callable[..., Any]) -> Callable[..., Any]:
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
