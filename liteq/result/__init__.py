"""Results: the fate of a message, asked by its id from any process. The names are Celery's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liteq.context import App, allow_join_result, assert_will_not_block, denied_join_result, get_current_app
from liteq.result.eager import EagerResult
from liteq.result.group import GroupResult, ResultSet
from liteq.result.single import AsyncResult, ResultBase

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultBase",
    "ResultSet",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
]


def result_from_tuple(r: ResultBase | Sequence[Any], app: App | None = None) -> Any:
    """The result that `as_tuple()` described."""
    if isinstance(r, ResultBase):
        return r
    app = app if app is not None else get_current_app()
    line: list[tuple[Any, Any]] = []  # the last first: a chain may be longer than Python's stack
    described: Any = r
    while described:
        node, members = described
        id_, described = node if isinstance(node, (list, tuple)) else (node, None)
        line.append((id_, members))
    result: Any = None
    for id_, members in reversed(line):
        if members is None:
            result = AsyncResult(id_, app=app, parent=result)
        else:
            result = GroupResult(id_, [result_from_tuple(member, app) for member in members], parent=result, app=app)
    return result
