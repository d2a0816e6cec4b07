"""`celery.utils.objects`, and two classes of `celery.local`: small classes that programs name, or add to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import TracebackType
from typing import Any

from liteq.app import Task
from liteq.utils.proxy import Proxy

__all__ = ["Bunch", "FallbackContext", "PromiseProxy", "class_property", "mro_lookup"]


class Bunch:
    """An object with the attributes that it is given."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class FallbackContext:
    """A block's `provided` object, else one that `fallback(*args, **kwargs)` makes and that ends with the block."""

    def __init__(self, provided: Any, fallback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.provided, self.fallback, self.args, self.kwargs = provided, fallback, args, kwargs
        self._made: Any = None

    def __enter__(self) -> Any:
        if self.provided is not None:
            return self.provided
        self._made = self.fallback(*self.args, **self.kwargs)
        return self._made.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Any:
        return None if self._made is None else self._made.__exit__(kind, error, traceback)


class _OrTask(type(Proxy)):  # type: ignore[misc]
    """The type of `PromiseProxy`."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return issubclass(type(instance), (cls, Task))


class PromiseProxy(Proxy, metaclass=_OrTask):
    """A stand-in for what `local(*args, **kwargs)` returns, called once, when that is first asked for.

    Celery's `@app.task` returns one, and programs know a task by it; so a task of an app is an instance.
    """

    __slots__ = ()

    def __init__(
        self,
        local: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(cache(partial(local, *args, **(kwargs or {}))), name=name or "promise")


class class_property:  # noqa: N801 - Celery's name
    """A property of a class: `getter(cls)`."""

    def __init__(
        self, getter: Callable[[Any], Any] | None = None, setter: Callable[[Any, Any], Any] | None = None
    ) -> None:
        self._getter, self._setter = getter, setter

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if self._getter is None:
            raise AttributeError("this class_property cannot be read")
        return self._getter(type(instance) if owner is None else owner)

    def __set__(self, instance: Any, value: Any) -> None:
        if self._setter is None:
            raise AttributeError("this class_property cannot be set")
        self._setter(type(instance), value)

    def setter(self, setter: Callable[[Any, Any], Any]) -> class_property:
        """The same property, which can also be set."""
        return type(self)(self._getter, setter)


def mro_lookup(cls: type, attr: str, stop: Any = (), monkey_patched: Any = ()) -> type | None:
    """The first class in the MRO of `cls` that defines `attr`; None if none does up to the first of `stop`.

    A definition in that one counts if its `__module__` is not in `monkey_patched`.
    """
    for one in cls.__mro__:
        if one in stop:
            module = getattr(one.__dict__.get(attr), "__module__", None)
            return None if module is None or module in monkey_patched else one
        if attr in one.__dict__:
            return one
    return None
