"""Sagas and shields: what a body does to clean up, after a failure and after a cancel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from liteq.exceptions import LeaseLost, RateLimited, StorageError, WorkflowCancelled
from liteq.storage.runs.records import END
from liteq.workflow.calling.scope import Scope
from liteq.workflow.declared.adhoc import as_step
from liteq.workflow.history.codec import hash_of
from liteq.workflow.history.frames import Leave

__all__ = ["AsyncSaga", "AsyncShield", "Saga", "Shield"]

logger = logging.getLogger("liteq.workflow")

Compensation = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Saga:
    """The compensations of a block. They run, last in first out, if the block ends by an Exception or a cancel."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._added: list[Compensation] = []

    def add(self, fn: Any, /, *args: Any, **kwargs: Any) -> None:
        """Have `fn` called with these, as a step, if the block fails or is cancelled later on."""
        if not callable(fn):
            raise TypeError(f"saga.add() takes a function or a step, and its arguments, not {fn!r}")
        self._added.append((fn, args, kwargs))

    def __enter__(self) -> Self:
        self._scope.machine.check()
        self._scope.sagas.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        scope = self._scope
        if self in scope.sagas:
            scope.sagas.remove(self)
        if exc is None:
            self._last_look()
        elif self._is_to_run(exc):
            scope.shields += 1
            try:
                while self._added:
                    fn, args, kwargs = self._next()
                    self._compensate(fn, args, kwargs)
            finally:
                scope.shields -= 1

    def _last_look(self) -> None:
        """A cancel that came with the last write of the block undoes it too."""
        try:
            self._cancel_here()
        except WorkflowCancelled as exc:
            self.__exit__(type(exc), exc, None)
            raise

    def _cancel_here(self) -> None:
        """Raise a cancel that is known now, at the end of the block: unless the run has passed it before."""
        scope, machine = self._scope, self._scope.machine
        if not self._added or machine.leaving is not None or scope.shields:
            return
        # A place apart from that of the next call, at which the body may be told of a cancel, too.
        here = (f"{scope.name}{END}", scope.pos + 1)
        if (scope.name, scope.pos + 1) in machine.cancelled_at and here not in machine.cancelled_at:
            is_told = self._was_told()
        else:
            is_told = here in machine.cancelled_at or (machine.is_cancelled and not scope.passed())
        if is_told:
            scope.place("saga", "saga")
            machine.cancel(here)

    def _was_told(self) -> bool:
        """Whether a cancel at the place of the next call was told here: a history from before END has both there."""
        scope, machine = self._scope, self._scope.machine
        row = machine.rows.get((scope.name, scope.pos + 2))
        if row is None:
            return machine.compensated and not scope.passed()
        return any(_is_of(scope, row, *one) for one in self._added)

    def _is_to_run(self, exc: BaseException) -> bool:
        machine = self._scope.machine
        if machine.leaving is not None or isinstance(exc, Leave):
            return False
        if isinstance(exc, RateLimited) and not machine.is_cancelled:
            return False  # the run goes on later
        return isinstance(exc, (Exception, WorkflowCancelled)) or machine.is_cancelled

    def _next(self) -> Compensation:
        """The compensation whose turn it is: the last one that was added, unless history holds another one here.

        Branches that run side by side may have added theirs in another order when the run was here first.
        """
        scope = self._scope
        row = scope.machine.rows.get((scope.name, scope.pos + 1))
        known = range(len(self._added) - 1, -1, -1) if row is not None else ()
        return self._added.pop(next((i for i in known if _is_of(scope, row, *self._added[i])), -1))

    def _note(self) -> None:
        machine = self._scope.machine
        if not machine.compensated:
            machine.compensated = True
            try:
                machine.runs.compensated(machine.hold)
            except (LeaseLost, StorageError) as exc:
                machine.lost(exc)

    def _compensate(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._note()
        with _told(self._scope, fn):
            self._scope.call_step(step_of(self._scope, fn), args, kwargs)


@contextmanager
def _told(scope: Scope, fn: Any) -> Iterator[None]:
    """A block in which `fn` is called: its failure is recorded, and the others still run; it is said if it was no call.

    As of an async step in a plain body, of a workflow, or with arguments that have no hash: history has nothing of it.
    """
    machine = scope.machine
    calls, key = machine.calls, getattr(fn, "key", None)
    known = key is not None and key in machine.used
    try:
        yield
    except Exception:  # one that fails keeps no other from running
        if machine.leaving is None and machine.told and (known or machine.calls == calls):
            name = getattr(fn, "name", None) or getattr(fn, "__qualname__", repr(fn))
            text = "run %s: the compensation %s cannot be called, so what it would undo is not undone"
            logger.exception(text, machine.run_id, name)


class AsyncSaga(Saga):
    """As `Saga`, of an async body: `async with actx.saga() as saga`."""

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        scope = self._scope
        if self in scope.sagas:
            scope.sagas.remove(self)
        if exc is None:
            try:
                self._cancel_here()
            except WorkflowCancelled as cancel:
                await self._undo(cancel)
                raise
        else:
            await self._undo(exc)

    async def _undo(self, exc: BaseException) -> None:
        if not self._is_to_run(exc):
            return
        scope = self._scope
        scope.shields += 1
        try:
            while self._added:
                fn, args, kwargs = self._next()
                self._note()
                with _told(scope, fn):
                    await scope.awaited_step(step_of(scope, fn), args, kwargs)
        finally:
            scope.shields -= 1


class Shield:
    """A block in which steps run although the run was cancelled: for clean-up."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        self._scope.shields += 1

    def __exit__(self, *_: object) -> None:
        self._scope.shields -= 1


class AsyncShield(Shield):
    """As `Shield`: `async with actx.shield()`."""

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()


def _is_of(scope: Scope, row: Any, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether `row` is that of this compensation."""
    try:
        step = step_of(scope, fn)
        return bool(row.name == step.name and row.arghash == hash_of(args, kwargs, step.what))
    except Exception:  # noqa: BLE001 - of one that cannot be called
        return False


def step_of(scope: Scope, fn: Any) -> Any:
    """`fn` as a step: itself, where it is one, or a task's or any other function under its name."""
    return as_step(scope.machine.app, fn)
