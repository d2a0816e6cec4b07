"""`celery.utils.functional` and `kombu.utils.functional`: small functions over sequences and calls."""

from __future__ import annotations

import inspect
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import islice, tee, zip_longest
from typing import Any

__all__ = [
    "LRUCache",
    "chunks",
    "dictfilter",
    "first",
    "fun_accepts_kwargs",
    "fun_takes_argument",
    "fxrange",
    "is_list",
    "lazy",
    "lookahead",
    "maybe",
    "maybe_evaluate",
    "maybe_list",
    "memoize",
    "mlazy",
    "noop",
    "padlist",
    "pass1",
    "retry_over_time",
    "uniq",
]


def noop(*_args: Any, **_kwargs: Any) -> None:
    """Do nothing, with any arguments."""


def pass1(arg: Any, *_args: Any, **_kwargs: Any) -> Any:
    """Its first argument."""
    return arg


def maybe(typ: Callable[[Any], Any], val: Any) -> Any:
    """`typ(val)`; None stays None."""
    return val if val is None else typ(val)


def is_list(obj: Any, scalars: Any = (Mapping, str), iters: Any = (Iterable,)) -> bool:
    """Whether `obj` is iterable, and neither a string nor a mapping."""
    return isinstance(obj, iters) and not isinstance(obj, scalars or ())


def maybe_list(obj: Any, scalars: Any = (Mapping, str)) -> Any:
    """`obj`, in a list where it is a scalar; None stays None."""
    return obj if obj is None or is_list(obj, scalars) else [obj]


def dictfilter(d: Mapping[str, Any] | None = None, **kw: Any) -> dict[str, Any]:
    """`d` and `kw` without the keys whose value is None."""
    return {key: value for key, value in {**(d or {}), **kw}.items() if value is not None}


def first(predicate: Callable[[Any], Any] | None, it: Iterable[Any]) -> Any:
    """The first of `it` for which `predicate` is true (that is not None, without one); None where there is none."""
    return next((value for value in it if (predicate(value) if predicate else value is not None)), None)


def uniq(it: Iterable[Any]) -> Iterator[Any]:
    """Each of `it` once, in their order."""
    return iter(dict.fromkeys(it))


def chunks(it: Iterable[Any], n: int) -> Iterator[list[Any]]:
    """`it` in lists of `n`."""
    elements = iter(it)
    while part := list(islice(elements, n)):
        yield part


def padlist(container: Sequence[Any], size: int, default: Any = None) -> list[Any]:
    """The first `size` of `container`, with `default` where there are fewer."""
    return [*container[:size], *[default] * (size - len(container))]


def lookahead(it: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """(element, the next one, or None) of `it`."""
    here, following = tee(it)
    next(following, None)
    return zip_longest(here, following)


def fun_accepts_kwargs(fun: Callable[..., Any]) -> bool:
    """Whether `fun` takes any keyword."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(fun).parameters.values())


def fun_takes_argument(name: str, fun: Callable[..., Any], position: int | None = None) -> bool:
    """Whether `fun` can be given `name`, or that many positional arguments."""
    parameters = inspect.signature(fun).parameters
    kinds = {p.kind for p in parameters.values()}
    if kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}:
        return True
    if position is not None:
        return len(parameters) >= position
    return name in parameters


class lazy:  # noqa: N801 - Celery's name
    """A call that is made when it is asked for, each time anew."""

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._fun, self._args, self._kwargs = fun, args, kwargs

    def evaluate(self) -> Any:
        """Make the call."""
        return self._fun(*self._args, **self._kwargs)

    __call__ = evaluate

    def __str__(self) -> str:
        return str(self())

    def __repr__(self) -> str:
        return repr(self())

    def __eq__(self, other: object) -> bool:
        return bool(self() == other)

    def __hash__(self) -> int:
        return hash(self())


class mlazy(lazy):  # noqa: N801 - Celery's name
    """A call that is made once, when it is first asked for."""

    evaluated = False

    def evaluate(self) -> Any:
        """Make the call, once; its return value."""
        if not self.evaluated:
            self._value = super().evaluate()
            self.evaluated = True
        return self._value

    __call__ = evaluate


def maybe_evaluate(value: Any) -> Any:
    """`value`, evaluated where it is lazy."""
    return value.evaluate() if isinstance(value, lazy) else value


class LRUCache(OrderedDict[Any, Any]):
    """A mapping of at most `limit` keys (None: of any number): the one that was not used for longest goes."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        self.move_to_end(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while self.limit and len(self) > self.limit:
            super().__delitem__(next(iter(self)))


def memoize(
    maxsize: int | None = None,
    keyfun: Callable[[Any, Any], Any] | None = None,
    Cache: Any = LRUCache,  # noqa: N803
) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: remember the return value for the same arguments; `.clear()` forgets."""

    def decorate(fun: Callable[..., Any]) -> Any:
        cache, lock = Cache(limit=maxsize), threading.Lock()

        @wraps(fun)
        def remembered(*args: Any, **kwargs: Any) -> Any:
            key = keyfun(args, kwargs) if keyfun else (args, tuple(sorted(kwargs.items())))
            with lock:
                if key in cache:
                    return cache[key]
            value = fun(*args, **kwargs)
            with lock:
                cache[key] = value
            return value

        remembered.clear = cache.clear  # type: ignore[attr-defined]
        return remembered

    return decorate


def fxrange(
    start: float = 1.0, stop: float | None = None, step: float = 1.0, repeatlast: bool = False
) -> Iterator[float]:
    """`range` of floats, `stop` included; with `repeatlast` the last one again for ever."""
    value = float(start)
    while not stop or value <= stop:
        yield value
        value += step
    while repeatlast:
        yield value - step


def retry_over_time(
    fun: Callable[..., Any],
    catch: Any,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    errback: Callable[[BaseException, Iterator[float], int], float] | None = None,
    max_retries: int | None = None,
    interval_start: float = 2,
    interval_step: float = 2,
    interval_max: float = 30,
    callback: Callable[[], object] | None = None,
    timeout: float | None = None,
) -> Any:
    """Call `fun` until it raises no `catch`, at most `max_retries` times more, or for `timeout` seconds.

    The pauses begin with `interval_start` seconds and grow by `interval_step` up to `interval_max`. `errback(exc,
    pauses, retries)` returns how long the next one is. Raises the last error.
    """
    growing = fxrange(interval_start, interval_max + interval_start, interval_step, repeatlast=True)
    pauses = (min(pause_s, float(interval_max)) for pause_s in growing)
    end = time.monotonic() + timeout if timeout else None
    retries = 0
    while True:
        try:
            return fun(*(args or ()), **(kwargs or {}))
        except catch as exc:
            if max_retries is not None and retries >= max_retries:
                raise
            if end is not None and time.monotonic() > end:
                raise
            pause_s = float(errback(exc, pauses, retries) if errback else next(pauses))
        if callback is not None:
            callback()
        time.sleep(pause_s)
        retries += 1
