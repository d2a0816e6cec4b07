"""`app.AsyncResult` and its like: the classes of `liteq.result`, with the app filled in."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from liteq.app.compat.amqp import AMQP
from liteq.result import AsyncResult, GroupResult, ResultSet

__all__ = ["Results"]


class _OfApp(type):
    """A class whose call makes an instance of its plain class: what an app sends and what it makes are of one class.

    A subclass of such a class is an ordinary one, and gets the app too.
    """

    made_for: Any
    plain: type[Any]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("app", cls.made_for)
        plain = cls.__dict__.get("plain")
        return super().__call__(*args, **kwargs) if plain is None else plain(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or isinstance(instance, cls.__dict__.get("plain", ()))


def _bound(plain: type[Any], app: Any, **more: Any) -> Any:
    return _OfApp(plain.__name__, (plain,), {"made_for": app, "plain": plain, "__module__": plain.__module__, **more})


class Results:
    """The half of `LiteQ` that makes results of ids, and says which queues there are."""

    @cached_property
    def amqp(self) -> AMQP:
        """For code that asks Celery's app for its queues."""
        return AMQP(self)

    @cached_property
    def AsyncResult(self) -> type[AsyncResult[Any]]:  # noqa: N802 - Celery's name
        """The result of a message: `app.AsyncResult(id)`."""
        made: type[AsyncResult[Any]] = _bound(AsyncResult, self)
        return made

    @cached_property
    def ResultSet(self) -> type[ResultSet]:  # noqa: N802 - Celery's name
        """Some results, to be waited for together: `app.ResultSet(results)`."""
        made: type[ResultSet] = _bound(ResultSet, self)
        return made

    @cached_property
    def GroupResult(self) -> type[GroupResult]:  # noqa: N802 - Celery's name
        """The results of a group: `app.GroupResult(id, results)`; `app.GroupResult.restore(id)`."""

        def restore(id: str, backend: Any = None, app: Any = None) -> GroupResult | None:
            return GroupResult.restore(id, backend, self if app is None else app)

        made: type[GroupResult] = _bound(GroupResult, self, restore=staticmethod(restore))
        return made
