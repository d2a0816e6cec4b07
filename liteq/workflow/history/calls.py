"""`Call`: a call of an async body, to be awaited. Its place was given when it was made, not when it is awaited."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from liteq.exceptions import WorkflowCancelled

if TYPE_CHECKING:
    from liteq.workflow.history.machine import Machine
    from liteq.workflow.history.places import Wait

__all__ = ["Call", "Pend", "called", "raising"]

R = TypeVar("R")


class Pend(BaseException):
    """Raised inside a call of an async body that is to wait: what awaits the call then waits."""

    def __init__(self, wait: Wait) -> None:
        self.wait = wait


class Call(Coroutine[Any, Any, R]):
    """A coroutine that may be left alone where the body is left. Else one that is never awaited is warned of.

    `what`: its name, for that warning.
    """

    __slots__ = ("__weakref__", "_inner", "_machine", "_make", "_what")

    def __init__(self, machine: Machine, what: str, make: Callable[[], Coroutine[Any, Any, R]]) -> None:
        self._machine = machine
        self._what = what
        self._make = make
        self._inner: Coroutine[Any, Any, R] | None = None

    def __del__(self) -> None:
        if self._inner is None and self._machine.leaving is None and not self._machine.asked:
            warnings.warn(f"{self._what} was never awaited: write `await` before it", RuntimeWarning, stacklevel=2)

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
        self._begun().close()


def name_of(function: Callable[..., Any]) -> str:
    """The name by which the author of a body knows a call."""
    name = function.__name__.rstrip("_")
    return "handle.result()" if name == "result_of" else f"actx.{name}()"


def called(machine: Machine, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Call[R]:
    """Do a call of an async body now, and hand its end out to the code that awaits it.

    Its place is given, and its effect recorded, here; it waits, returns and raises where it is awaited.
    """
    try:
        value = function(*args, **kwargs)
    except Pend as pend:
        wait = pend.wait
        return Call(machine, name_of(function), lambda: _waited(machine, wait))
    except (Exception, WorkflowCancelled) as exc:  # noqa: BLE001 - raised where it is awaited
        return raising(machine, name_of(function), exc)
    return Call(machine, name_of(function), lambda: _value(value))


def raising(machine: Machine, what: str, exc: BaseException) -> Call[Any]:
    """A call that raises `exc` where it is awaited.

    A cancel, too: the calls beside it are made as they were before it was asked for, and keep their places.
    """
    return Call(machine, what, lambda: _raised(exc))


async def _value(value: R) -> R:
    return value


async def _raised(exc: BaseException) -> Any:
    raise exc


async def _waited(machine: Machine, wait: Wait) -> Any:
    assert machine.pending is not None, "a call is awaited in the body that made it"
    return await machine.pending.wait(wait)
