"""The tasks that every app has, most under Celery's names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from liteq.canvas import ACCUMULATE, CHUNKS, MAP, STARMAP, chunks, maybe_signature
from liteq.context import App
from liteq.exceptions import ChordError
from liteq.execution.plan import is_awaited
from liteq.sending.parts import GIVE_UP
from liteq.sending.webhook import add_webhook

__all__ = ["add_builtins"]


def add_builtins(app: App) -> None:
    """Register what canvases and beat schedules refer to."""

    def xmap(task: Any, it: Iterable[Any]) -> list[Any]:
        """`[task(x) for x in it]`."""
        call = maybe_signature(task, app=app)
        return [_called(call, (x,)) for x in it]

    def xstarmap(task: Any, it: Iterable[Any]) -> list[Any]:
        """`[task(*x) for x in it]`."""
        call = maybe_signature(task, app=app)
        return [_called(call, x) for x in it]

    def apply_chunks(task: Any, it: Iterable[Any], n: int) -> Any:
        """Send the chunks."""
        return chunks.apply_chunks(task, it, n, app=app)

    def accumulate(*args: Any, index: int | None = None) -> Any:
        """Its arguments, or the one at `index`: the result of a group of no tasks, or of others' results."""
        return args if index is None else args[index]

    def give_up_group(group_id: str) -> None:
        """Fails: runs where the sender of `group_id` in parts was not heard of again. See `liteq.sending.parts`."""
        raise ChordError(f"group {group_id} was not sent as a whole: its sender ended, or raised, in the middle of it")

    def backend_cleanup() -> None:
        """Delete results, dead letters and runs that have expired. A worker does so by itself, too."""
        app.storage.expire(result_expires_s=app.conf.result_expires, dead_expires_s=app.conf.dead_expires)
        app.storage.runs.expire(app.conf.workflow_expires)

    app.task(name=MAP, typing=False)(xmap)
    app.task(name=STARMAP, typing=False)(xstarmap)
    app.task(name=CHUNKS, typing=False)(apply_chunks)
    app.task(name=ACCUMULATE, typing=False)(accumulate)
    app.task(name=GIVE_UP, ignore_result=True)(give_up_group)
    app.task(name="celery.backend_cleanup", ignore_result=True)(backend_cleanup)
    add_webhook(app)


def _called(call: Any, args: Iterable[Any]) -> Any:
    """The return value of the task of `call` for these further arguments; that of an `async def` is awaited."""
    value = call.type(*call.args, *args, **call.kwargs)
    return call.type.plan.run_coroutine(value) if is_awaited(value) else value
