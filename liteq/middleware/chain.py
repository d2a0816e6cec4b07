"""`Middlewares`: all those of one app, in their order, as one function around a call or an execution."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from liteq.middleware.base import Call, Execution, Middleware

__all__ = ["Middlewares", "Through", "ThroughAsync"]

T = TypeVar("T")
R = TypeVar("R")

Hook = Callable[[T, Callable[[T], Any]], Any]
Through = Callable[[Execution, Callable[[Execution], Any]], Any]
ThroughAsync = Callable[[Execution, Callable[[Execution], Awaitable[Any]]], Awaitable[Any]]

TWINS = {"on_publish": "aon_publish", "on_execute": "aon_execute"}

# Set where the next call that is sent has been through the `aon_publish` of those that have one.
_awaited: ContextVar[bool] = ContextVar("liteq_middleware_awaited", default=False)


class Middlewares:
    """The middleware of one app: `app.middleware`. `changed` is called when there is one more, or one less."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._all: list[Middleware] = []
        self._changed = changed
        self._look()

    def add(self, middleware: Middleware) -> None:
        """Have `middleware` around what is sent and executed from now on: inside those that were added before.

        To be called where tasks are defined, so that senders and workers have the same. Raises TypeError for anything
        but an instance of a subclass of `liteq.Middleware`, and for a method that is async and should not be, or the
        other way round; ValueError for one that is there already.
        """
        _check(middleware)
        if any(one is middleware for one in self._all):
            raise ValueError(f"{middleware!r} is among the middleware already")
        self._all.append(middleware)
        self._look()
        self._changed()

    def remove(self, middleware: Middleware) -> None:
        """Take `middleware` out again. Raises ValueError where it is not there."""
        self._all.remove(middleware)
        self._look()
        self._changed()

    def __iter__(self) -> Iterator[Middleware]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def _look(self) -> None:
        self._publish = self._hooks("on_publish")
        self.publishes = bool(self._publish)
        """Whether there is one around what is sent."""
        self._publish_awaited = self._hooks("on_publish", without="aon_publish")
        self._apublish = self._hooks("aon_publish")
        self._around = _through(self._hooks("on_execute"))
        self._around_async_task = _through(self._hooks("on_execute", without="aon_execute"))
        self._around_awaited = _through(self._hooks("aon_execute"))

    def _hooks(self, name: str, *, without: str = "") -> list[Hook[Any]]:
        """The methods `name`, but for those that only pass on, and those whose class has a method `without`."""
        return [getattr(one, name) for one in self._all if _has(one, name) and not (without and _has(one, without))]

    # -- sending -----------------------------------------------------------------------------------------------------

    def publish(
        self,
        task: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        write: Callable[[Call], R],
        result: Callable[[R], Any] = lambda written: written,
    ) -> R:
        """Pass a call through to `write`, which makes or sends its message; what that returned.

        `result` makes of this what the middleware is given. Raises what it raises, and RuntimeError for one that does
        not call `send` once.
        """
        hooks = self._publish
        if _awaited.get():
            _awaited.set(False)
            hooks = self._publish_awaited
        written: list[R] = []

        def send(call: Call) -> Any:
            _check_call(call, written)
            written.append(write(call))
            return result(written[0])

        _around(hooks, send)(_call_of(task, args, kwargs, options))
        if not written:
            raise RuntimeError(_UNSENT.format(task))
        return written[0]

    @property
    def awaits_sending(self) -> bool:
        """Whether there is an `aon_publish`."""
        return bool(self._apublish)

    async def apublish(
        self,
        task: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        write: Callable[[Call], Awaitable[R]],
    ) -> R:
        """As `publish`, by `aon_publish`; `write` is to come through `publish` once, for the others."""
        written: list[R] = []

        async def send(call: Call) -> Any:
            _check_call(call, written)
            token = _awaited.set(True)
            try:
                written.append(await write(call))
            finally:
                _awaited.reset(token)
            return written[0]

        await _around(self._apublish, send)(_call_of(task, args, kwargs, options))
        if not written:
            raise RuntimeError(_UNSENT.format(task))
        return written[0]

    # -- executing ---------------------------------------------------------------------------------------------------

    def around(self, *, is_async: bool = False) -> Through | None:
        """The function of an execution and what runs it that is around each; None: there is nothing around it.

        `is_async`: around an `async def` task, for which `aon_execute` is called in place of `on_execute`.
        """
        return self._around_async_task if is_async else self._around

    def around_async(self) -> ThroughAsync | None:
        """As `around`, by `aon_execute`."""
        return self._around_awaited


_UNSENT = "a middleware did not call send() for the call of {!r}, so nothing was sent: to refuse it, raise an exception"


def _through(hooks: Sequence[Hook[Any]]) -> Through | None:
    if not hooks:
        return None

    def through(execution: Execution, run: Callable[[Execution], Any]) -> Any:
        return _around(hooks, run)(execution)

    return through


def _around(hooks: Sequence[Hook[T]], innermost: Callable[[T], Any]) -> Callable[[T], Any]:
    """`innermost` with `hooks` around it, the first outermost."""
    for hook in reversed(hooks):
        innermost = _inside(hook, innermost)
    return innermost


def _inside(hook: Hook[T], inner: Callable[[T], Any]) -> Callable[[T], Any]:
    return lambda given: hook(given, inner)


def _call_of(task: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Call:
    own = dict(options)
    headers = dict(own.pop("headers", None) or {})
    return Call(task, tuple(args), dict(kwargs), own, headers)


def _check_call(call: object, written: Sequence[object]) -> None:
    if not isinstance(call, Call):
        raise TypeError(f"send() takes the call that on_publish() was given, not {call!r:.80}")
    if written:
        raise RuntimeError(f"a middleware called send() twice for one call of {call.task!r}: call it once")


def _has(middleware: Middleware, name: str) -> bool:
    return getattr(type(middleware), name) is not getattr(Middleware, name)


def _check(middleware: object) -> None:
    if isinstance(middleware, type):
        raise TypeError(f"middleware is added as an instance: app.middleware.add({middleware.__name__}())")
    if not isinstance(middleware, Middleware):
        raise TypeError(f"middleware is an instance of a subclass of liteq.Middleware, not {middleware!r:.80}")
    kind = type(middleware).__name__
    for name, twin in TWINS.items():
        if iscoroutinefunction(getattr(middleware, name)):
            raise TypeError(f"{kind}.{name} is async, and is called by code that cannot await it: name it {twin}")
        if not iscoroutinefunction(getattr(middleware, twin)):
            raise TypeError(f"{kind}.{twin} has to be async: write `async def {twin}`, or name it {name}")
