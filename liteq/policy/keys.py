"""Keys made of a call's arguments: by a template such as "user:{user_id}", or by a function of the program's.

A template names parameters, and walks from there by attributes and mapping keys: "{order.shop}". It is no format
string: what is behind a name is a text, a number, a time or the like, never asked for names that begin with `_`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from inspect import Parameter
from string import Formatter
from typing import Any, Final, Protocol

from liteq.utils.misspelt import meant
from liteq.utils.names import checked_name

__all__ = ["LATER", "Key", "KeyNotYet", "compile_key"]

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
LATER: Final = object()
"""The place of an argument that is not there yet: the result of the task before it, in a canvas."""


class KeyNotYet(TypeError):
    """Raised for a key of arguments that are not all there."""


class Key(Protocol):
    """The key of a call; None: it has none.

    Raises KeyNotYet where it needs an argument that is LATER, or is missing; TypeError, ValueError for arguments that
    make no key; and what a function raises.
    """

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any], /) -> str | None: ...


class Template:
    """A key of a text with fields."""

    def __init__(self, text: str, signature: inspect.Signature | None, what: str) -> None:
        self.text, self.what = text, what
        self._parts: list[str | _Field] = []
        for literal, field in _parsed(text, what):
            if literal:
                self._parts.append(literal)
            if field is not None:
                self._parts.append(_Field(field, signature, what))

    @property
    def names(self) -> frozenset[str]:
        """The parameters that it names."""
        return frozenset(part.name for part in self._parts if isinstance(part, _Field))

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        return _checked("".join([p if type(p) is str else p(args, kwargs) for p in self._parts]), self.what)  # type: ignore[operator]


class Function:
    """A key of a function of the same arguments."""

    def __init__(self, function: Callable[..., str | None], what: str) -> None:
        self.function, self.what = function, what

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        if any(value is LATER for value in args) or any(value is LATER for value in kwargs.values()):
            raise KeyNotYet(f"{self.what}: the function is called with all arguments, and one is not there yet")
        return _checked(self.function(*args, **kwargs), self.what)


class _Field:
    """A field of a template: the text of one argument, or of something in it."""

    def __init__(self, field: str, signature: inspect.Signature | None, what: str) -> None:
        self.field, self.what = field, what
        self.name, *self.path = field.split(".")
        for name in (self.name, *self.path):
            if not name.isidentifier() or name.startswith("_"):
                raise ValueError(
                    f"{what}: {{{field}}} is no field; name a parameter, and behind dots attributes or mapping keys of "
                    "it, none that begins with _: {order.shop}"
                )
        self.place, self.default = _place(self.name, signature, what)

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        if self.place is not None and self.place < len(args):
            value = args[self.place]
        else:
            value = kwargs.get(self.name, self.default)
        for name in self.path:
            if value is LATER or value is Parameter.empty:
                break
            value = self._step(value, name)
        if value is LATER or value is Parameter.empty:
            raise KeyNotYet(f"{self.what}: the argument {self.name!r} is not there")
        return value if type(value) is str else self._text(value)

    def _step(self, value: Any, name: str) -> Any:
        try:
            return value[name] if isinstance(value, Mapping) else getattr(value, name)
        except (KeyError, AttributeError):
            raise TypeError(
                f"{self.what}: {{{self.field}}} is not in the argument {self.name!r}: {name!r} is neither a key nor an "
                f"attribute of {value!r}"
            ) from None

    def _text(self, value: Any) -> str:
        if isinstance(value, Enum):  # what it is when it has been on its way
            value = value.value
        cls = type(value)
        if (
            callable(value)
            or isinstance(value, (Mapping, list, tuple, set, frozenset, bytes))
            or (_own_text(cls) == (object.__str__, object.__repr__))
        ):
            raise TypeError(
                f"{self.what}: {{{self.field}}} is a {cls.__name__}, which makes no key; name what tells it from "
                f"others: {{{self.field}.id}}"
            )
        return str(value)


def _own_text(cls: Any) -> tuple[Any, Any]:
    """How instances become text; of a class that leaves that to `object` it is their place in memory."""
    return cls.__str__, cls.__repr__


def _place(name: str, signature: inspect.Signature | None, what: str) -> tuple[int | None, Any]:
    """(place among the positional arguments, default) of the parameter `name`."""
    if signature is None:  # of a task that this process does not know: by its name alone
        return None, Parameter.empty
    found = signature.parameters.get(name)
    if found is not None and found.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        names = [p.name for p in signature.parameters.values() if p.kind in POSITIONAL]
        return (names.index(name) if name in names else None), found.default
    if any(p.kind is Parameter.VAR_KEYWORD for p in signature.parameters.values()) and found is None:
        return None, Parameter.empty
    known = [p.name for p in signature.parameters.values() if p.kind is not Parameter.VAR_POSITIONAL]
    hint = meant(name, known, f"it has {', '.join(map(repr, known)) or 'none'}")
    raise ValueError(f"{what}: there is no parameter {name!r} for one value{hint}")


def _parsed(text: str, what: str) -> Iterator[tuple[str, str | None]]:
    """The (literal, field behind it or None) of a template. Raises ValueError for what is none."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError as exc:
        raise ValueError(f"{what}: {text!r} is no template ({exc}); a brace of its own is written twice") from None
    for literal, field, form, conversion in parts:
        if form or conversion:
            raise ValueError(f"{what}: a field of {text!r} has a format; a key takes a value as it is: {{{field}}}")
        yield literal, field


def _checked(key: Any, what: str) -> str | None:
    """`key`; None for an empty one. Raises TypeError, ValueError for what cannot be one."""
    return None if key is None or key == "" else checked_name(key, f"{what}: a key")


def compile_key(
    spec: str | Callable[..., str | None] | None, signature: inspect.Signature | None, *, what: str
) -> Key | None:
    """The key that `spec` makes of each call's arguments; None for no key.

    `spec`: a template over the arguments, defaults included, or a function of them. `signature`: without `self`; None
    of a task that this process does not know, where a template finds only what is given by name. `what`: names the
    option in errors ("task 'shop.bill': concurrency_key"). Raises ValueError for a template that names no parameter of
    `signature`, and tells the nearest; TypeError for what is neither.
    """
    if spec is None:
        return None
    if isinstance(spec, str):
        if not spec:
            raise ValueError(f'{what}: a template is not empty; write one such as "user:{{user_id}}"')
        return Template(spec, signature, what)
    if not callable(spec):
        raise TypeError(f'{what} is a template such as "user:{{user_id}}" or a function of the arguments, not {spec!r}')
    return Function(spec, what)
