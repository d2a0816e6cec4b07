"""The tasks that every app has, under Celery's names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from liteq.canvas import MAP, STARMAP, maybe_signature

__all__ = ["add_builtins"]


def add_builtins(app: Any) -> None:
    """Register what canvases and beat schedules refer to."""

    def xmap(task: Any, it: Iterable[Any]) -> list[Any]:
        """`[task(x) for x in it]`."""
        call = maybe_signature(task, app=app)
        return [call.type(*call.args, x, **call.kwargs) for x in it]

    def xstarmap(task: Any, it: Iterable[Any]) -> list[Any]:
        """`[task(*x) for x in it]`."""
        call = maybe_signature(task, app=app)
        return [call.type(*call.args, *x, **call.kwargs) for x in it]

    def backend_cleanup() -> None:
        """Delete results and dead letters that have expired. A worker does so by itself, too."""
        app.backend.cleanup()

    app.task(name=MAP, typing=False)(xmap)
    app.task(name=STARMAP, typing=False)(xstarmap)
    app.task(name="celery.backend_cleanup", ignore_result=True)(backend_cleanup)
