"""Results that are waited for together: ResultSet, and GroupResult, of a group that was sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from liteq.context import App, assert_will_not_block, get_current_app
from liteq.result.eager import EagerResult
from liteq.result.parents import raise_of_parents
from liteq.result.position import await_for, wait_for
from liteq.result.promises import call_when_done
from liteq.result.record import app_of_backend, line_as_tuple, line_of
from liteq.result.single import OF_GET, AsyncResult, ResultBase
from liteq.result.waiting import Deadline, DoneBell
from liteq.serialization import decode, encode
from liteq.storage.reading.inspect import Record
from liteq.utils.misspelt import suggesting, unexpected

__all__ = ["GroupResult", "ResultSet", "result_from_tuple"]


def _is_expected(result: Any) -> bool:
    return not result.ready() and not getattr(result, "ignored", False)


class ResultSet(ResultBase):
    """Some results, to be waited for together; in the order in which they were added."""

    def __init__(
        self, results: Iterable[Any], app: App | None = None, ready_barrier: Any = None, **kwargs: Any
    ) -> None:
        self.results: list[Any] = list(results)
        self._app = app if app is None or app.files is None else app.here

    @property
    def app(self) -> Any:
        if self._app is None:
            # That of an eager result is None: no file knows of it.
            apps = (result.app for result in self.results if result.app is not None)
            self._app = next(apps, None) or get_current_app()
        return self._app

    @app.setter
    def app(self, app: App) -> None:
        self._app = app

    @property
    def backend(self) -> Any:
        return self.app.backend

    @backend.setter
    def backend(self, backend: Any) -> None:
        if (app := app_of_backend(backend)) is not None:
            self.app = app

    supports_native_join = True

    def add(self, result: Any) -> None:
        """Add `result`, if it is not there."""
        if result not in self.results:
            self.results.append(result)

    def update(self, results: Iterable[Any]) -> None:
        for result in results:
            self.add(result)

    def remove(self, result: Any) -> None:
        """Raises KeyError when `result`, a result or its id, is not there."""
        try:
            self.results.remove(self.app.AsyncResult(result) if isinstance(result, str) else result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        if result in self.results:
            self.results.remove(result)

    def clear(self) -> None:
        self.results[:] = []

    def successful(self) -> bool:
        return all(result.successful() for result in self.results)

    def failed(self) -> bool:
        return any(result.failed() for result in self.results)

    def waiting(self) -> bool:
        return any(not result.ready() for result in self.results)

    def ready(self) -> bool:
        return all(result.ready() for result in self.results)

    def completed_count(self) -> int:
        """How many have succeeded."""
        self._prefetch()
        return sum(int(result.successful()) for result in self.results)

    def maybe_throw(self, callback: Callable[[str, Any], object] | None = None, propagate: bool = True) -> None:
        for result in self.results:
            result.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    def forget(self) -> None:
        self._forget_alone()

    def _forget_alone(self) -> None:
        for result in self.results:
            result.forget()

    @suggesting
    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Cancel those that have not started, in one transaction."""
        self.app.revoke([leaf.id for leaf in self._leaves()], terminate=terminate, signal=signal)

    def _leaves(self) -> Iterator[AsyncResult[Any]]:
        for result in self.results:
            if isinstance(result, ResultSet):
                yield from result._leaves()
            else:
                yield result

    def _prefetch(self) -> None:
        """Read the rows of all members at once; those that have finished are not read again."""
        open_ = [leaf for leaf in self._leaves() if leaf._record is None and not isinstance(leaf, EagerResult)]
        if len(open_) < 2:
            return
        found: dict[str, Record] = self.app.storage.reader.find_many([leaf.id for leaf in open_])
        for leaf in open_:
            record = found.get(leaf.id)
            if record is not None and record.has_ended:
                leaf._record = record

    @suggesting
    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], object] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], object] | None = None,
        after: str | None = None,
    ) -> list[Any]:
        """Wait for all; their results, in order. Raises as `AsyncResult.get`, of the first that failed."""
        return self.join(
            timeout, propagate, interval, callback, no_ack, on_message, disable_sync_subtasks, on_interval, after
        )

    @suggesting
    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], object] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], object] | None = None,
        after: str | None = None,
    ) -> list[Any]:
        """As `get`."""
        if disable_sync_subtasks:
            assert_will_not_block()
        timeout = wait_for(self.app, after, timeout)
        values = []
        for result in self._in_order(timeout, on_interval):
            if propagate and self.parent is not None and not result.successful():
                raise_of_parents(self.parent)
            value = result.get(timeout=0, propagate=propagate, disable_sync_subtasks=False, on_message=on_message)
            if callback is not None:
                callback(result.id, value)
            values.append(value)
        return values

    join_native = join

    def then(
        self, callback: Callable[[Any], object], on_error: Callable[[Any], object] | None = None, weak: bool = False
    ) -> Any:
        """Call `callback(self)` once all have finished, from a thread of its own; returns self."""
        return call_when_done(self, callback, on_error)

    async def aget(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> list[Any]:
        """`get()` for async code, as `AsyncResult.aget`."""
        from liteq.result.hub import finished

        if not options.keys() <= OF_GET:
            raise unexpected("ResultSet.aget()", options.keys() - OF_GET, (*OF_GET, "timeout", "propagate"))
        if options.pop("disable_sync_subtasks", True):
            assert_will_not_block()
        timeout = await await_for(self.app, options.pop("after", None), timeout)
        callback = options.get("callback")
        open_ = {leaf.id: leaf for leaf in self._leaves() if not leaf.ignored and leaf._record is None}
        ids = [id_ for id_, leaf in open_.items() if not isinstance(leaf, EagerResult)]
        if not ids:
            return self.get(0, propagate, disable_sync_subtasks=False, **options)
        values = []
        async with finished(self.app, ids, timeout) as rows:
            for result in self.results:
                for leaf in result._leaves() if isinstance(result, ResultSet) else (result,):
                    if leaf.id in rows:
                        leaf._record = await rows[leaf.id]
                values.append(result.get(0, propagate, disable_sync_subtasks=False))
                if callback is not None:
                    callback(result.id, values[-1])
        return values

    def iter_native(self, timeout: float | None = None, **options: Any) -> Iterator[tuple[str, Any]]:
        """(id, meta) of each member as it is found finished, in order; of a group in it, (id, its results)."""
        for result in self._in_order(timeout, None):
            yield result.id, result.results if isinstance(result, ResultSet) else result._get_task_meta()

    def _in_order(self, timeout: float | None, on_interval: Callable[[], object] | None) -> Iterator[Any]:
        """Each member once it has finished. One listener; only the member that is waited for is read at a ring."""
        bell: DoneBell | None = None
        deadline = Deadline(self.app, timeout) if self.results else None
        if deadline is not None:
            deadline.tries(self._prefetch)
        try:
            for result in self.results:
                assert deadline is not None
                while deadline.tries(partial(_is_expected, result)):
                    if bell is None:
                        bell = DoneBell(self.app)
                        continue  # it may have finished just before we listened
                    bell.wait(deadline.left(result.id))
                    if on_interval is not None:
                        deadline.tries(on_interval)
                yield result
        finally:
            if bell is not None:
                bell.__exit__()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __eq__(self, other: object) -> bool:
        return other.results == self.results if isinstance(other, ResultSet) else NotImplemented

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(r) for r in self.results)}]>"


class GroupResult(ResultSet):
    """The results of a group, under the group's id."""

    def __init__(
        self, id: str | None = None, results: Iterable[Any] = (), parent: ResultBase | None = None, **kwargs: Any
    ) -> None:
        super().__init__(results, **kwargs)
        self.id = id
        self.parent = parent

    @property
    def children(self) -> list[Any]:
        return self.results

    def save(self, backend: Any = None) -> GroupResult:
        """Keep under its id which results it consists of, for `restore` in any process; as long as results are kept.

        Not needed for a group that was sent as one: it is in the file. Returns itself.
        """
        self._keep(self.as_tuple(), backend)
        return self

    def delete(self, backend: Any = None) -> None:
        """Have `restore` find it no more. The results of its members stay: `forget` deletes those."""
        self._keep(None, backend)  # one that was sent would be found without being saved

    def _keep(self, described: Any, backend: Any) -> None:
        app = self.app_of(backend) or self.app
        app.storage.saved_groups.save(self.id, encode(described, what=f"the group {self.id}"))

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: App | None = None) -> GroupResult | None:
        """The group that was saved, or sent, under `id`; None when the file knows none."""
        app = app if app is not None else (cls.app_of(backend) or get_current_app())
        saved = app.storage.saved_groups.load(id)
        if saved is not None:
            described = decode(saved)
            restored: GroupResult | None = None if described is None else result_from_tuple(described, app)
            return restored
        sent = app.storage.reader.find_group(id)
        members = [] if sent is None else app.storage.reader.group_members(id)
        found: list[Any] = [
            AsyncResult(member, app=app) if kind == "task" else cls.restore(member, app=app)
            for _, kind, member in members
        ]
        results = [result for result in found if result is not None]
        if sent is None or (sent.size and not results):  # its counter outlives members that were forgotten
            return None
        return cls(id, results, app=app)

    @staticmethod
    def app_of(backend: Any) -> Any:
        return getattr(backend, "app", None)

    def as_tuple(self) -> Any:
        return line_as_tuple(self)

    def _described(self, above: Any) -> Any:
        return (self.id, above), [result.as_tuple() for result in self.results]

    def as_list(self) -> list[str | None]:
        return [self.id, *(leaf.id for leaf in self._leaves())]

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<GroupResult: {self.id} [{', '.join(str(r) for r in self.results)}]>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return other.id == self.id and other.results == self.results and other.parent == self.parent
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> Any:
        return line_of, (tuple(one._alone() for one in reversed(self.line())),)

    def _alone(self) -> Any:
        return type(self), (self.id, self.results)


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
