"""Results: the fate of a message, asked by its id from any process. The names are Celery's."""

from __future__ import annotations

from liteq.context import allow_join_result, assert_will_not_block, denied_join_result
from liteq.result.eager import EagerResult
from liteq.result.group import GroupResult, ResultSet, result_from_tuple
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
