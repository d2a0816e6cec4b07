"""`actx`: `ctx` for `async def` bodies. What writes or waits is awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, NoReturn, ParamSpec, TypeVar, cast, overload

from liteq.canvas import Signature
from liteq.utils.durations import Duration
from liteq.workflow.calling import children, effects, waits
from liteq.workflow.calling.handles import AsyncHandle, Failure, Handle
from liteq.workflow.calling.saga import AsyncSaga, AsyncShield
from liteq.workflow.calling.waits import NOTHING, Approval
from liteq.workflow.context import Common, _continue
from liteq.workflow.declared.adhoc import as_step, named_step
from liteq.workflow.declared.step_options import StepOptions
from liteq.workflow.history.calls import Call, called
from liteq.workflow.stepping.inside import StepFrame

__all__ = ["AsyncContext", "actx"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
D = TypeVar("D")


class AsyncContext(Common):
    """`actx`. Each call has its place when it is made, and is to be awaited."""

    _name = "actx"
    _is_async = True

    def _call(self, what: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Call[Any]:
        scope = self._body(what)
        return called(scope.machine, function, scope, *args, **kwargs)

    def timer(self, duration: Duration) -> AsyncHandle[None]:
        """A handle that ends after `duration`, for a race; it is not awaited itself."""
        return cast("AsyncHandle[None]", super().timer(duration))

    def event(self, name: str, *, type: Any = None) -> AsyncHandle[Any]:
        """A handle that ends with the next event `name`, for a race; it is not awaited itself."""
        return cast("AsyncHandle[Any]", super().event(name, type=type))

    @overload
    def run(self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
    @overload
    def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
    def run(self, fn: Any, /, *args: Any, **kwargs: Any) -> Call[Any]:
        """Run any function as a step: `await actx.run(fetch, url)`."""
        scope = self._body("run()")
        return scope.awaited_step(as_step(scope.machine.app, fn), args, kwargs)

    @overload
    def step(
        self, name: str, fn: Callable[..., Awaitable[R]], *, key: str | None = None, args: Sequence[Any] = (),
        options: StepOptions | None = None,
    ) -> Call[R]: ...  # fmt: skip
    @overload
    def step(
        self, name: str, fn: Callable[..., R], *, key: str | None = None, args: Sequence[Any] = (),
        options: StepOptions | None = None,
    ) -> Call[R]: ...  # fmt: skip
    def step(
        self, name: str, fn: Callable[..., Any], *, key: str | None = None, args: Sequence[Any] = (),
        options: StepOptions | None = None,
    ) -> Call[Any]:  # fmt: skip
        """Run `fn(*args)` as the step `name`, as `ctx.step`; `fn` may be a plain function or return an awaitable."""
        scope = self._body("step()")
        step = named_step(scope.machine.app, name, fn, key, args, options, is_async=True)
        return scope.awaited_step(step, args, {})

    @overload
    def call(self, target: Signature, /) -> Call[Any]: ...
    @overload
    def call(self, target: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
    @overload
    def call(self, target: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
    def call(self, target: Any, /, *args: Any, **kwargs: Any) -> Call[Any]:
        """Run a task, a workflow, a step or a whole canvas in the pool and wait for it: its result."""
        return self._call("call()", children.call, target, *args, **kwargs)

    @overload
    def spawn(self, target: Signature, /) -> Call[AsyncHandle[Any]]: ...
    @overload
    def spawn(
        self, target: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Call[AsyncHandle[R]]: ...
    @overload
    def spawn(self, target: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Call[AsyncHandle[R]]: ...
    def spawn(self, target: Any, /, *args: Any, **kwargs: Any) -> Call[Any]:
        """Start a call without waiting for it, and return its handle."""
        return self._call("spawn()", children.spawn, target, *args, **kwargs)

    @overload
    def gather(
        self, handles: Iterable[Handle[R]], *, on_error: Literal["raise", "wait"] = "raise"
    ) -> Call[list[R]]: ...
    @overload
    def gather(self, handles: Iterable[Handle[R]], *, on_error: Literal["collect"]) -> Call[list[R | Failure]]: ...
    def gather(self, handles: Iterable[Handle[Any]], *, on_error: str = "raise") -> Any:
        """The results of all, in their order; `on_error` as of `ctx.gather`."""
        return self._call("gather()", children.gather, handles, on_error=on_error)

    @overload
    def map(
        self, target: Callable[[T], Coroutine[Any, Any, R]], items: Iterable[T], *, limit: int | None = None,
        on_error: str = "raise",
    ) -> Call[list[R]]: ...  # fmt: skip
    @overload
    def map(
        self, target: Callable[[T], R], items: Iterable[T], *, limit: int | None = None, on_error: str = "raise"
    ) -> Call[list[R]]: ...
    def map(self, target: Any, items: Iterable[Any], *, limit: int | None = None, on_error: str = "raise") -> Call[Any]:
        """`target` of each of `items` in the pool, at most `limit` at once over all workers; results in their order."""
        return self._call("map()", children.map_, target, items, limit=limit, on_error=on_error)

    def race(self, handles: Iterable[Handle[R]], *, cancel: bool = True) -> Call[tuple[int, R]]:
        """(index, result) of the first that ends, the same for ever; `cancel`: and the others are cancelled."""
        return self._call("race()", children.race, handles, cancel=cancel)

    def sleep(self, duration: Duration) -> Call[None]:
        """Wait; no worker is held meanwhile."""
        return self._call("sleep()", waits.sleep, duration)

    def sleep_until(self, moment: datetime) -> Call[None]:
        """Wait until a time. Raises ValueError for a naive one."""
        return self._call("sleep_until()", waits.sleep_until, moment)

    @overload
    def wait_event(
        self, name: str, *, timeout: Duration | None = None, type: type[T], key: str | None = None
    ) -> Call[T]: ...
    @overload
    def wait_event(
        self, name: str, *, timeout: Duration | None = None, default: D, type: type[T], key: str | None = None
    ) -> Call[T | D]: ...
    @overload
    def wait_event(
        self, name: str, *, timeout: Duration | None = None, default: Any = NOTHING, type: None = None,
        key: str | None = None,
    ) -> Call[Any]: ...  # fmt: skip
    def wait_event(
        self, name: str, *, timeout: Duration | None = None, default: Any = NOTHING, type: Any = None,
        key: str | None = None,
    ) -> Call[Any]:  # fmt: skip
        """The payload of the next event `name`, the oldest first; timeout, default and key as of `ctx.wait_event`."""
        return self._call("wait_event()", waits.wait_event, name, timeout=timeout, default=default, type=type, key=key)

    def approval(
        self, title: str, *, details: Any = None, form: Any = None, timeout: Duration | None = None,
        default: bool | None = None, remind: Duration | None = None, key: str | None = None,
    ) -> Call[Approval]:  # fmt: skip
        """A person's decision, as `ctx.approval`."""
        return self._call(
            "approval()", waits.approval, title, details=details, form=form, timeout=timeout, default=default,
            remind=remind, key=key,
        )  # fmt: skip

    def send(self, run_id: str, name: str, payload: Any = None) -> Call[None]:
        """Send an event to a run, once. Raises RunEnded."""
        return self._call("send()", effects.send, run_id, name, payload)

    def set(self, key: str, value: Any) -> Call[None]:
        """Store a value that `run.get_state()` shows at once."""
        return self._call("set()", effects.set_state, key, value)

    def tag(self, *tags: str) -> Call[None]:
        """Add tags, by which `app.runs(tags=...)` finds the run."""
        return self._call("tag()", effects.tag, *tags)

    def emit(self, stream: str, chunk: Any) -> Call[None]:
        """Add a chunk to a stream, which `run.stream()` reads."""
        frame = self._any("emit()")
        if isinstance(frame, StepFrame):
            return called(frame.machine, frame.emit, stream, chunk)
        return called(frame.machine, effects.emit, frame, stream, chunk)

    def saga(self) -> AsyncSaga:
        """`async with actx.saga() as saga:`, where `saga.add(undo, ...)` is run if the block fails or is cancelled."""
        return AsyncSaga(self._body("saga()"))

    def shield(self) -> AsyncShield:
        """`async with actx.shield():`, in which steps run although the run was cancelled."""
        return AsyncShield(self._body("shield()"))

    async def continue_as_new(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Begin anew with other arguments and no history, under the same id; undelivered events stay."""
        _continue(self._body("continue_as_new()"), args, kwargs)


actx = AsyncContext()
