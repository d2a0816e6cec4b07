"""`Call`: a call of an async body, to be awaited. Its place was given when it was made, not when it is awaited."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from liteq.workflow.history.machine import Machine
    from liteq.workflow.history.places import Wait

__all__ = ["Call", "Pend", "called"]

R = TypeVar("R")


class Pend(BaseException):
    """Raised inside a call of an async body that is to wait: what awaits the call then waits."""

    def __init__(self, wait: Wait) -> None:
        self.wait = wait


class Call(Coroutine[Any, Any, R]):
    """A coroutine that may be left alone: one that is never awaited, since the body was left before, is no mistake."""

    __slots__ = ("__weakref__", "_inner", "_make")

    def __init__(self, make: Callable[[], Coroutine[Any, Any, R]]) -> None:
        self._make = make
        self._inner: Coroutine[Any, Any, R] | None = None

    def _begun(self) -> Coroutine[Any, Any, R]:
        if self._inner is None:
            self._inner = self._make()
        return self._inner

    def __await__(self) -> Generator[Any, Any, R]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    def throw(self, *exc: Any) -> Any:
        return self._begun().throw(*exc)

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()


def called(machine: Machine, function: Callable[..., R], *args: Any, **kwargs: Any) -> Call[R]:
    """Do a call of an async body now, and hand its end out to the code that awaits it.

    Its place is given, and its effect recorded, here; it waits, returns and raises where it is awaited.
    """
    try:
        value = function(*args, **kwargs)
    except Pend as pend:
        wait = pend.wait
        return Call(lambda: _waited(machine, wait))
    except Exception as exc:  # noqa: BLE001 - raised where it is awaited
        failure = exc
        return Call(lambda: _raised(failure))
    return Call(lambda: _value(value))


async def _value(value: R) -> R:
    return value


async def _raised(exc: Exception) -> Any:
    raise exc


async def _waited(machine: Machine, wait: Wait) -> Any:
    assert machine.pending is not None, "a call is awaited in the body that made it"
    return await machine.pending.wait(wait)
