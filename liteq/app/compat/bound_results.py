"""`app.AsyncResult` and its like: the classes of `liteq.result`, with the app filled in."""

from __future__ import annotations

from typing import Any

from liteq.context import App
from liteq.result import AsyncResult, GroupResult, ResultSet

__all__ = ["bound_group_result", "bound_result", "bound_result_set"]


class _OfApp(type):
    """A class whose call makes an instance of its plain class: all results are of one class.

    A subclass of such a class is an ordinary one, and gets the app too.
    """

    made_for: App
    plain: type[Any]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("app", cls.made_for)
        plain = cls.__dict__.get("plain")
        return super().__call__(*args, **kwargs) if plain is None else plain(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or isinstance(instance, cls.__dict__.get("plain", ()))


def _bound(plain: type[Any], app: App, **more: Any) -> Any:
    return _OfApp(plain.__name__, (plain,), {"made_for": app, "plain": plain, "__module__": plain.__module__, **more})


def bound_result(app: App) -> type[AsyncResult[Any]]:
    """`app.AsyncResult`."""
    made: type[AsyncResult[Any]] = _bound(AsyncResult, app)
    return made


def bound_result_set(app: App) -> type[ResultSet]:
    """`app.ResultSet`."""
    made: type[ResultSet] = _bound(ResultSet, app)
    return made


def bound_group_result(owner: App) -> type[GroupResult]:
    """`app.GroupResult`, whose `restore` reads the file of `owner`."""

    def restore(id: str, backend: Any = None, app: App | None = None) -> GroupResult | None:
        return GroupResult.restore(id, backend, owner if app is None else app)

    made: type[GroupResult] = _bound(GroupResult, owner, restore=staticmethod(restore))
    return made
