"""Tasks of packages that know no app: every app gets them, those that are made later too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from liteq import context
from liteq.app.task import Task
from liteq.context import App
from liteq.utils.proxy import Proxy

__all__ = ["shared_task"]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def shared_task(fun: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(*, batch: int, **options: Any) -> Callable[[Callable[..., Any]], Task[..., Any]]: ...
@overload
def shared_task(*, bind: Literal[True], **options: Any) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...
@overload
def shared_task(*, bind: Literal[False] = ..., **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def shared_task(*args: Any, **options: Any) -> Any:
    """As `@app.task`, without an app: its task is that of the app which is the current one when it is used."""
    if len(args) > 1 or (args and not callable(args[0])):
        raise TypeError("@shared_task takes options by keyword, and one function")

    def decorate(function: Callable[..., Any]) -> Any:
        def register(app: App) -> Any:
            return app.task_from_function(function, **options)

        for app in context.active_apps():
            if app.finalized:
                register(app)
        context.connect_on_app_finalize(register)  # last: one that is refused is refused here, not in later apps

        def lookup() -> Any:
            app = context.get_current_app()
            name = options.get("name") or app.gen_task_name(function.__name__, function.__module__)
            return app.tasks[name]

        return Proxy(lookup, name=f"shared task {function.__name__}")

    return decorate(args[0]) if args else decorate
