"""`get(on_message=)`: the states that a task goes through, told to a caller while it waits for the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from liteq import states
from liteq.result.reading import state_of
from liteq.storage.reading.inspect import Record

__all__ = ["StatesTold"]


class Waited(Protocol):
    """A result whose states are told."""

    def _find(self) -> Record | None: ...

    def _get_task_meta(self) -> dict[str, Any]: ...


class StatesTold:
    """Calls `on_message` with the meta of `result` at each look that finds another state, or other progress.

    No message brings a state, so one that is followed by the next between two looks is not told.
    """

    def __init__(self, result: Waited, on_message: Callable[[dict[str, Any]], object]) -> None:
        self._result = result
        self._on_message = on_message
        self._last: tuple[str, bytes | None] = (states.PENDING, None)

    def __call__(self) -> None:
        record = self._result._find()
        now = (state_of(record), None if record is None else record.progress)
        if now != self._last and now[0] != states.PENDING:
            self._last = now
            self._on_message(self._result._get_task_meta())
