"""Calls that async code sends: written in a thread, after the middleware that is async itself has had them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liteq.context import App
from liteq.middleware import Call
from liteq.utils.async_threads import writing

__all__ = ["send_awaited"]

POSITIONS = ("args", "kwargs", "task_id", "producer", "link", "link_error", "shadow")  # of Task.apply_async


async def send_awaited(task: Any, given: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Send by `task.apply_async(*given, **options)`; its result."""
    app: App = task.app
    if not app.middleware.awaits_sending:
        return await writing(app, task.apply_async, *given, **options)
    rest = {**dict(zip(POSITIONS, given, strict=False)), **options}
    args, kwargs = rest.pop("args", None), rest.pop("kwargs", None)

    async def write(call: Call) -> Any:
        sent = call.sent_options()
        if call.task == task.name:
            return await writing(app, task.apply_async, call.args, call.kwargs, **sent)
        task_id = sent.get("task_id")
        sent = {key: value for key, value in sent.items() if key != "task_id" and value is not None}
        known = app.tasks.get(call.task)
        return await writing(app, app.sender.send_call, known, call.task, call.args, call.kwargs, task_id, sent)

    return await app.middleware.apublish(task.name, args or (), kwargs or {}, rest, write)
