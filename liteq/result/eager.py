"""EagerResult: the result of a task that ran in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from liteq import states
from liteq.context import assert_will_not_block
from liteq.exceptions import TaskRevokedError
from liteq.result.progress import Progress, progress_from
from liteq.result.single import AsyncResult
from liteq.storage.reading.inspect import Record

if TYPE_CHECKING:
    from liteq.result.streaming import Chunk

__all__ = ["EagerResult"]

R = TypeVar("R")


class EagerResult(AsyncResult[R]):
    """The result of a task that ran in this process (`apply`, `task_always_eager`)."""

    app = None  # type: ignore[assignment]  # no file knows of it
    backend: Any = None  # as Celery's; code may assign one, to be asked for its states
    _duplicate = False
    supports_native_join = False  # as Celery's: it is in no file that others could be read from with it

    def __init__(
        self, id: str, ret_value: Any, state: str, traceback: str | None = None, name: str | None = None
    ) -> None:
        self.id = id
        self._result = ret_value
        self._state = state
        self._traceback = traceback
        self._name = name
        self._telling: Any = None  # what it told while it ran (execution/telling.py)

    def exists(self) -> bool:
        return True

    def ready(self) -> bool:
        return True

    def get(self, timeout: float | None = None, propagate: bool = True, *args: Any, **options: Any) -> R:
        """Its return value; raises its exception when it failed and `propagate`."""
        if options.get("disable_sync_subtasks", True):
            assert_will_not_block()
        if self._state == states.SUCCESS:
            value = self._result
        elif self._state in states.PROPAGATE_STATES:
            if propagate:
                raise self._result if isinstance(self._result, BaseException) else RuntimeError(self._result)
            value = self._result
        else:
            value = None
        callback = options.get("callback")
        if callback is not None:
            callback(self.id, value)
        return value  # type: ignore[no-any-return]

    wait = get

    @property
    def progress(self) -> Progress | None:
        document = None if self._telling is None else self._telling.document
        return None if document is None else progress_from(document)

    def stream(self, name: str, after: int = 0) -> Iterator[Chunk]:
        """The chunks that it emitted, in its last attempt."""
        from liteq.result import streaming

        chunks = [] if self._telling is None else self._telling.chunks.get(name, ())
        return iter([streaming.read(chunk) for chunk in chunks[after:]])

    async def astream(self, name: str, after: int = 0) -> AsyncIterator[Chunk]:
        """`stream()` for async code."""
        for chunk in self.stream(name, after):
            yield chunk

    async def aget(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> R:
        """`get()`: there is nothing to wait for."""
        return self.get(timeout, propagate, **options)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], object] | None = None) -> Any:
        return self.get(propagate=propagate, callback=callback, disable_sync_subtasks=False)

    maybe_reraise = maybe_throw

    def _find(self) -> Record | None:
        return None

    def _get_task_meta(self) -> dict[str, Any]:
        """Its own state and value, under the names of the document that a backend keeps."""
        known = {"result": self._result, "status": self._state, "traceback": self._traceback, "name": self._name}
        return {"task_id": self.id, **known, "children": []}

    async def aexists(self) -> bool:
        return True

    async def ameta(self) -> dict[str, Any]:
        return self._get_task_meta()

    @property
    def position(self) -> str:
        """A position that every replica has reached: there is nothing to wait for."""
        from liteq.result.position import Position

        return str(Position(0, 0, self.id))

    @property
    def state(self) -> str:
        return self._state

    status = state

    @property
    def result(self) -> Any:
        return self._result

    info = result

    @property
    def traceback(self) -> str | None:
        return self._traceback

    @property
    def children(self) -> list[AsyncResult[Any]]:
        return []

    def forget(self) -> None:
        pass

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """Pretend that it never ran: `get()` raises TaskRevokedError."""
        self._state, self._result, self._traceback = states.REVOKED, TaskRevokedError("revoked"), None

    def _forget_alone(self) -> None:
        """It is in no file."""

    def _alone(self) -> Any:
        return type(self), (self.id, self._result, self._state, self._traceback, self._name)

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"
