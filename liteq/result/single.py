"""AsyncResult: the state, and in time the result, of one message."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from liteq import states
from liteq.context import App, assert_will_not_block, get_current_app
from liteq.exceptions import IncompleteStream, TimeoutError
from liteq.message import Flag
from liteq.result.graph import DependencyGraph
from liteq.result.messages import StatesTold
from liteq.result.parents import ParentWatch, raise_of_parents
from liteq.result.position import await_for, wait_for
from liteq.result.promises import call_when_done
from liteq.result.reading import state_of, value_of
from liteq.result.record import RecordResult, ResultBase, app_of_backend, forget_line, line_as_tuple, line_of
from liteq.result.waiting import RECHECK_S, Deadline, DoneBell, both
from liteq.serialization import decode
from liteq.storage.reading.inspect import Record
from liteq.utils.misspelt import suggesting, unexpected

if TYPE_CHECKING:
    from liteq.result.streaming import Chunk

__all__ = ["AsyncResult", "ResultBase"]

R = TypeVar("R")

OF_GET = frozenset(
    {"interval", "no_ack", "follow_parents", "callback", "on_message", "on_interval", "disable_sync_subtasks"}
    | {"EXCEPTION_STATES", "PROPAGATE_STATES", "after"}
)


class AsyncResult(RecordResult, Generic[R]):
    """The state, and in time the result, of the message `id`. `R` is what its task returns.

    An unknown id is PENDING, as in Celery; `exists()` tells.
    """

    TimeoutError = TimeoutError
    supports_native_join = True
    parent: ResultBase | None = None
    _duplicate: bool | None = None
    ignored: bool = False
    """True where the sender asked for no result: `get()` returns None at once."""

    def __init__(
        self,
        id: str,
        backend: Any = None,
        task_name: str | None = None,
        app: App | None = None,
        parent: ResultBase | None = None,
    ) -> None:
        if id is None:
            raise ValueError(f"AsyncResult requires a valid id, not {type(id)}")
        self.id = id
        if app is None:
            app = app_of_backend(backend) or get_current_app()
        self.app = app if app.files is None else app.here
        if task_name is not None:
            self._name = task_name
        if parent is not None:
            self.parent = parent

    # -- questions

    @property
    def duplicate(self) -> bool:
        """Whether the call that it is of has sent nothing new: a message of before stands for it (`liteq.Unique`).

        Of a part of a canvas, and of what went by an outbox: whether it follows such a message. That costs a read.
        """
        if self._duplicate is None:
            record = self._find()
            return record is not None and bool(record.flags & Flag.FOLLOWS)
        return self._duplicate

    def ready(self) -> bool:
        """Whether it has finished, well or badly."""
        return self.state in states.READY_STATES or self._record is not None

    def successful(self) -> bool:
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        return self.state == states.FAILURE

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], object] | None = None) -> Any:
        """The result; raises the task's exception when it failed and `propagate`."""
        record = self._find()
        if record is None:
            return None
        state = state_of(record)
        value = value_of(record, state, self._read)
        if propagate and state in states.PROPAGATE_STATES:
            raise value if isinstance(value, BaseException) else RuntimeError(value)
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    def throw(self, exc: BaseException | None = None, tb: TracebackType | None = None) -> None:
        """Raise `exc`, in place of the result; without one the task's own exception, if it failed."""
        if exc is not None:
            raise exc.with_traceback(tb)
        self.maybe_throw()

    # -- waiting

    @suggesting
    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], object] | None = None,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
        progress: bool = False,
        EXCEPTION_STATES: Any = states.EXCEPTION_STATES,  # noqa: N803 - Celery's name
        PROPAGATE_STATES: Any = states.PROPAGATE_STATES,  # noqa: N803
        after: str | None = None,
    ) -> R:
        """Wait until it has finished; the return value of the task.

        Raises the task's exception when it failed (not with `propagate=False`, which returns it), that of the link that
        broke for a later one of a chain, ChordError for the body of a chord whose header failed, TaskRevokedError when
        revoked, TimeoutError after `timeout` seconds, and RuntimeError inside a task. `follow_parents`: raise the
        exception of the first parent that failed, as soon as that is seen (each second), in place of the consequence:
        that of a member of a chord's header, not the ChordError. `on_message`: called with the meta of each state that
        is seen meanwhile, looked for each `interval` seconds. `no_ack` is accepted for Celery's sake. `progress`: draw
        what the task reports of it meanwhile, on the standard error. `after`: a position; a replica (`?mode=ro`) is
        waited for until it is as far, with NotYetThere where it is not in time.
        """
        if self.ignored:
            return None  # type: ignore[return-value]
        if disable_sync_subtasks:
            assert_will_not_block()
        timeout = wait_for(self.app, after, timeout)
        followed = follow_parents and propagate and self.parent is not None
        tell = StatesTold(self, on_message) if on_message is not None else None
        if self._record is None:
            watch = ParentWatch(self.parent, self.app.clock) if followed else None
            if watch is not None:
                watch()
            with _drawn(self) if progress else nullcontext() as look, DoneBell(self.app) as bell:
                looks = both(both(watch, look), both(tell, on_interval))
                self._wait(bell, Deadline(self.app, timeout), looks, RECHECK_S if tell is None else interval)
        if followed and not self.successful():
            raise_of_parents(self.parent)
        if tell is not None:
            tell()
        return self.maybe_throw(propagate, callback)  # type: ignore[no-any-return]

    wait = get

    def then(
        self, callback: Callable[[Any], object], on_error: Callable[[Any], object] | None = None, weak: bool = False
    ) -> Any:
        """Call `callback(self)` once it has succeeded, `on_error(self)` once it has failed; returns self.

        From a thread of its own, also when it has finished already. What a callback raises is logged. Where its result
        is ignored, neither is called, and the log says so.
        """
        return call_when_done(self, callback, on_error)

    async def aget(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> R:
        """`get()` for async code: a waiting coroutine takes no thread, and any number of them one listener.

        Raises as `get()`. When it is cancelled, it stops to wait; the task is not revoked by that.
        """
        if not options.keys() <= OF_GET:
            raise unexpected("AsyncResult.aget()", options.keys() - OF_GET, (*OF_GET, "timeout", "propagate"))
        if self.ignored:
            return None  # type: ignore[return-value]
        if options.get("disable_sync_subtasks", True):
            assert_will_not_block()
        timeout = await await_for(self.app, options.pop("after", None), timeout)
        if self._record is None:
            from liteq.result.hub import finished

            async with finished(self.app, [self.id], timeout) as rows:
                self._record = await rows[self.id]
        return self.get(0, propagate, **options)

    async def aexists(self) -> bool:
        """`exists()` for async code."""
        from liteq.utils.async_threads import reading

        return await reading(self.app, self.exists)

    async def ameta(self) -> dict[str, Any]:
        """Its state as of now, for async code: status, result (or the meta of a state of its own), date_done, ..."""
        from liteq.utils.async_threads import reading

        return await reading(self.app, self._get_task_meta)

    def _unfinished(self) -> bool:
        if self._record is None:
            self._record = self.app.storage.reader.find_ended(self.id)
        return self._record is None

    def _wait(
        self, bell: DoneBell, deadline: Deadline, on_interval: Callable[[], object] | None, every_s: float
    ) -> None:
        while deadline.tries(self._unfinished):
            bell.wait(min(deadline.left(self.id), every_s))
            if on_interval is not None:
                deadline.tries(on_interval)

    def _get_task_meta(self) -> dict[str, Any]:
        """The document that Celery's backends store of a task, as `app.backend.get_task_meta(id)` returns it."""
        record = self._find()
        state = state_of(record)
        return {
            "task_id": self.id,
            "status": state,
            "result": None if record is None else value_of(record, state, self._read),
            "traceback": self.traceback,
            "children": [],
            "date_done": self.date_done,
            "name": self.name,
            "args": self.args,
            "kwargs": self.kwargs,
            "worker": self.worker,
            "retries": self.retries,
            "queue": self.queue,
            "group_id": None if record is None else record.group_id,
            "parent_id": None if record is None else record.parent_id,
            **self._stamps(record),
        }

    @staticmethod
    def _stamps(record: Record | None) -> dict[str, Any]:
        document = decode(record.options) if record is not None and record.options else {}
        names = document.get("stamped_headers")
        return {**(document.get("stamps") or {}), "stamped_headers": names} if names else {}

    # -- meanwhile

    def stream(self, name: str, after: int = 0) -> Iterator[Chunk]:
        """The chunks that the task emits to the stream `name` (`self.emit`), as they come; it ends with the task.

        From the offset `after` on, that of the last one seen. Those of a retry bear a higher `attempt`. Raises
        RuntimeError inside a task. Of an unknown id there are none.
        """
        assert_will_not_block()
        from liteq.result import streaming

        return streaming.stream(self.app, self.id, name, after)

    async def astream(self, name: str, after: int = 0) -> AsyncIterator[Chunk]:
        """`stream()` for async code: a reader takes no thread."""
        assert_will_not_block()
        from liteq.result import streaming

        async for chunk in streaming.astream(self.app, self.id, name, after):
            yield chunk

    # -- actions

    @suggesting
    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Cancel it, if it has not started yet. With `terminate`, its process is killed if it has."""
        self.app.revoke([self.id], terminate=terminate, signal=signal)

    def forget(self) -> None:
        """Delete it from the file, if it has finished; and its parents."""
        forget_line(self)

    # -- family

    @property
    def children(self) -> list[Any]:
        """The tasks that its body sent, and those after it: its callbacks, and the next task of its chain.

        Costs a scan of the messages that were sent since.
        """
        storage = self.app.storage
        sent = [
            self.app.GroupResult.restore(id_) if is_group else AsyncResult(id_, app=self.app)
            for id_, is_group in storage.reader.sent_by(self.id)
        ]
        behind: list[Any] = [AsyncResult(id_, app=self.app) for id_ in storage.reader.followers(self.id)]
        return [result for result in sent if result is not None] + behind  # a group may have been deleted

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """(parent, node) of this result and its children, breadth first.."""
        queue: deque[tuple[Any, Any]] = deque([(None, self)])
        seen: set[Any] = set()
        while queue:
            parent, node = queue.popleft()
            yield parent, node
            if node in seen:
                continue
            seen.add(node)
            queue.extend((node, child) for child in node.children or ())

    def build_graph(self, intermediate: bool = False, formatter: Any = None) -> DependencyGraph:
        """This result and what depends on it, as a graph. Raises IncompleteStream while one of them is unfinished.

        `intermediate`: as far as it is known now.
        """
        graph = DependencyGraph()
        for parent, node in self.iterdeps(intermediate=True):
            if not intermediate and not node.ready():
                raise IncompleteStream
            graph.add_arc(node)
            if parent is not None:
                graph.add_edge(parent, node)
        return graph

    @property
    def graph(self) -> DependencyGraph:
        """`build_graph()`."""
        return self.build_graph()

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """(node, its result) of this result and its children, waiting for each."""
        for _, node in self.iterdeps(intermediate=intermediate):
            yield node, node.get(**kwargs)

    def get_leaf(self) -> Any:
        """Wait for it and for the tasks after it; the last one's result."""
        value = None
        for _, value in self.collect():  # noqa: B007 - the last one counts
            pass
        return value

    def as_tuple(self) -> Any:
        return line_as_tuple(self)

    def _described(self, above: Any) -> Any:
        return (self.id, above), None

    def _forget_alone(self) -> None:
        self._record = None
        self.app.storage.forget([self.id])

    def as_list(self) -> list[str]:
        """The ids of this result and its parents, the latest first."""
        ids = [self.id]
        parent = self.parent
        while parent is not None:
            ids.append(getattr(parent, "id", ""))
            parent = parent.parent
        return ids

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return other.id == self.id
        return other == self.id if isinstance(other, str) else NotImplemented

    def __reduce__(self) -> Any:
        return line_of, (tuple(one._alone() for one in reversed(self.line())),)

    def _alone(self) -> Any:
        return type(self), (self.id, None, self._name, None)


def _drawn(result: AsyncResult[Any]) -> AbstractContextManager[Callable[[], None]]:
    from liteq.result.drawing import drawn

    return drawn(result)
