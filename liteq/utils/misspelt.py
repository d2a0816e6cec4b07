"""Misspelt names: the nearest known one, the error that tells it, and a record of which names somebody asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from liteq.exceptions.texts import alike

__all__ = ["Asked", "meant", "nearest", "suggesting", "unexpected", "unknown_name"]

P = ParamSpec("P")
R = TypeVar("R")

LIKELY = 0.8  # from which likeness on a name is a misspelt one, where names of one's own are allowed too


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name of `known` that looks most like `name`; None where none does. `cutoff`: the least likeness, 0 to 1."""
    return next(iter(alike(name.lower(), sorted(known), n=1, cutoff=cutoff)), None)


def meant(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The end of an error message: "; did you mean 'x'?" where a name of `known` is near, else `otherwise`."""
    near = nearest(name, known)
    said = otherwise if near is None else f"did you mean {near!r}?"
    return f"; {said}" if said else ""


def unknown_name(noun: str, names: Collection[str], known: Collection[str]) -> str:
    """The error for the first of `names` that is not in `known`, with the nearest that is; "" where all are known.

    `noun`: of one name ("parameter").
    """
    for name in sorted(set(names).difference(known)):
        rest = f"use {', '.join(sorted(known))}" if known else f"no {noun} is taken here"
        return f"unknown {noun} {name!r:.80}{meant(name, known, rest)}"
    return ""


def unexpected(where: str, names: Iterable[str], known: Iterable[str], remedy: str = "") -> TypeError:
    """The error for options called `names` that `where` ("task 'shop.add'") does not have; tells the nearest ones."""
    known, names = list(known), sorted(names)
    told = []
    for name in names:
        near = nearest(name, known)
        told.append(f"{name!r}" + (f" (did you mean {near!r}?)" if near else ""))
    several = "s" if len(told) > 1 else ""
    text = f"{where}: unknown option{several} {', '.join(told)}"
    return TypeError(f"{text}; {remedy}" if remedy else text)


def suggesting(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: a keyword that `function` does not have is refused with the nearest of its parameters.

    Raises TypeError, as the call itself would. For functions that are not called often: one frame more.
    """
    parameters = [*inspect.signature(function).parameters]
    known = [name for name in parameters if name != "self"]

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        unknown = kwargs.keys() - known
        if unknown:
            name = function.__qualname__
            if parameters[:1] == ["self"] and args:  # the class that the caller knows, and not one above it
                of = type(args[0]).__name__
                private = function.__name__.startswith("_")  # its caller knows what is made: "step 'shop.charge'"
                name = getattr(args[0], "what", f"{of}()") if private else f"{of}.{function.__name__}()"
            else:
                name = f"{name}()"
            raise unexpected(name, unknown, known)
        return function(*args, **kwargs)

    return call


class Asked(dict[str, Any]):
    """A dict that notes which of its keys were asked for: those that were read, all where it was gone through."""

    def __init__(self, *args: Any, **items: Any) -> None:
        super().__init__(*args, **items)
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self.asked.add(key)
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[str]:
        self._all()
        return super().__iter__()

    def keys(self) -> Any:
        self._all()
        return super().keys()

    def values(self) -> Any:
        self._all()
        return super().values()

    def items(self) -> Any:
        self._all()
        return super().items()

    def copy(self) -> dict[str, Any]:
        self._all()
        return dict(super().items())

    def _all(self) -> None:
        self.asked.update(super().keys())
