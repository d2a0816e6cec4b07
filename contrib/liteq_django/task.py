"""DjangoTask: Celery's `delay_on_commit` and `apply_async_on_commit`."""

from __future__ import annotations

from functools import partial
from typing import Any, ParamSpec, TypeVar

from liteq.app import Task

__all__ = ["DjangoTask"]

P = ParamSpec("P")
R = TypeVar("R")


class DjangoTask(Task[P, R]):
    """The base of all tasks in a Django process.

    Where liteq can put the message into the transaction itself (the queue in the same database, or the outbox),
    `delay()` inside `atomic()` is committed or rolled back with it, and these two add nothing. They are here for code
    that was written for Celery, and for a queue elsewhere without an outbox.
    """

    abstract = True

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """`delay()` once the transaction has been committed; at once where there is none. There is no result yet."""
        _on_commit(partial(self.delay, *args, **kwargs))

    def apply_async_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """`apply_async()` once the transaction has been committed; at once where there is none."""
        _on_commit(partial(self.apply_async, *args, **kwargs))


def _on_commit(send: Any) -> None:
    from django.db import transaction

    transaction.on_commit(send)
