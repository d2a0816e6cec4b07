"""Calls that are run here and now in place of being sent: under `task_always_eager`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liteq.context import App
from liteq.message import new_id
from liteq.middleware import Call
from liteq.result import EagerResult
from liteq.sending.options import FORM
from liteq.sending.publisher import Publisher
from liteq.serialization.content import Owner

__all__ = ["runner", "send_here"]

OF_THE_MESSAGE = FORM | {"task_id"}  # what a call that is run here does not pass on


def send_here(
    app: App, maker: Publisher, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None,
    options: dict[str, Any],
) -> EagerResult[Any]:  # fmt: skip
    """Run one call here. The arguments are encoded and decoded on the way, so that a test sees what a worker would."""

    def run(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]) -> EagerResult[Any]:
        form = {key: options[key] for key in FORM if key in options}
        message = maker.message(task.name, args, kwargs, form, message_id=task_id or new_id())
        real_args, real_kwargs = app.content.read(message.payload, Owner(message.id, message.task))
        rest = {key: value for key, value in options.items() if key not in OF_THE_MESSAGE}
        result: EagerResult[Any] = task.apply(real_args, real_kwargs, task_id=message.id, **rest)
        return result

    def passed(call: Call) -> EagerResult[Any]:
        named = task if call.task == task.name else app.tasks[call.task]
        return run(named, call.args, call.kwargs, call.sent_options())

    if not app.middleware.publishes:
        return run(task, args, kwargs, options)
    return app.middleware.publish(task.name, args, kwargs, options, passed)


def runner(app: App, throw: bool | None, *, through: bool) -> Callable[..., Any]:
    """The function that runs one task of a canvas here; `through`: each call goes through the middleware first."""

    def run(one: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
        return app.tasks[one["task"]].apply(args, kwargs, throw=throw, **options)

    def passed(one: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
        return app.middleware.publish(
            one["task"], args, kwargs, options,
            lambda call: app.tasks[call.task].apply(call.args, call.kwargs, throw=throw, **call.sent_options()),
        )  # fmt: skip

    return passed if through else run
