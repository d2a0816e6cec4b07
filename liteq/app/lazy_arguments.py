"""BeatLazyFunc: an argument of an entry of `beat_schedule` that is worked out each time when the entry is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["BeatLazyFunc", "has_lazy", "marked", "worked_out"]

MARK = "liteq.lazy"


class BeatLazyFunc:
    """A function whose result is the argument: `"args": (BeatLazyFunc(datetime.now),)`.

    Called by the beat that sends the entry, just before that.
    """

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._func = func
        self._args, self._kwargs = args, kwargs

    def __call__(self) -> Any:
        return self.delay()

    def delay(self) -> Any:
        """Call the function; its result."""
        return self._func(*self._args, **self._kwargs)


def has_lazy(config: Mapping[str, Any]) -> bool:
    """Whether an entry has such an argument: only a process that has the configuration can send it."""
    kwargs = config.get("kwargs") or {}
    return any(isinstance(value, BeatLazyFunc) for value in (*(config.get("args") or ()), *kwargs.values()))


def marked(value: Any) -> Any:
    """An argument as a row can hold it: a lazy one by its function's name."""
    if not isinstance(value, BeatLazyFunc):
        return value
    function = value._func
    return {MARK: f"{function.__module__}.{getattr(function, '__qualname__', function)}"}


def worked_out(config: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The args and kwargs of an entry, its lazy ones called."""
    args, kwargs = config.get("args") or (), config.get("kwargs") or {}
    return [_value(value) for value in args], {key: _value(value) for key, value in kwargs.items()}


def _value(value: Any) -> Any:
    return value() if isinstance(value, BeatLazyFunc) else value
