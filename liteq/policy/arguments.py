"""Does a call fit a task's parameters? Asked at every `delay()`, so the common answers are worked out beforehand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from inspect import Parameter
from typing import Any

from liteq.utils.misspelt import meant, nearest

__all__ = ["REDACTED", "Parameters", "check_sensitive"]

REDACTED = "***"
VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
OF_SENDING = frozenset({"countdown", "eta", "expires", "queue", "priority", "task_id", "link", "link_error"})
POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Parameters:
    """The parameters of a function. `bound`: its first parameter is filled in by the worker (`self`)."""

    def __init__(self, name: str, function: Callable[..., Any], *, bound: bool = False) -> None:
        self.name = name
        self._function = function
        self._bound = bound

    @cached_property
    def signature(self) -> inspect.Signature:
        signature = inspect.signature(self._function)
        parameters = list(signature.parameters.values())
        if self._bound and parameters and parameters[0].kind in POSITIONAL:
            signature = signature.replace(parameters=parameters[1:])
        return signature

    @cached_property
    def _shape(self) -> tuple[int, int, bool]:
        """(fewest, most, whether counting is enough) for a call with positional arguments alone."""
        required = most = 0
        simple = True
        for p in self.signature.parameters.values():
            if p.kind in POSITIONAL:
                most += 1
                required += p.default is Parameter.empty
            elif p.kind is Parameter.VAR_POSITIONAL:
                most = 1 << 30
            elif p.kind is Parameter.KEYWORD_ONLY and p.default is Parameter.empty:
                simple = False
        return required, most, simple

    def positional_left(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
        """How many positional arguments it takes beside these; a large number where it has `*args`."""
        most = self._shape[1]
        if most >= 1 << 30:
            return most
        names = [p.name for p in self.signature.parameters.values() if p.kind in POSITIONAL][len(args) :]
        return next((i for i, name in enumerate(names) if name in kwargs), len(names))

    @cached_property
    def _by_count(self) -> dict[int, tuple[frozenset[str], frozenset[str]] | None]:
        return {}

    def _keywords_after(self, n: int) -> tuple[frozenset[str], frozenset[str]] | None:
        """(those required, those allowed) by keyword after `n` positional ones; None where that is no simple matter."""
        parameters = list(self.signature.parameters.values())
        if any(p.kind not in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY) for p in parameters):
            return None
        left = [p for i, p in enumerate(parameters) if i >= n or p.kind is Parameter.KEYWORD_ONLY]
        return frozenset(p.name for p in left if p.default is Parameter.empty), frozenset(p.name for p in left)

    def changed(
        self,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        new_args: Sequence[Any] | None,
        new_kwargs: Mapping[str, Any] | None,
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """`args` and `kwargs` with new ones in the place of one of them, or of both (None: as it was).

        What was given by name and now is by position, or the other way round, is given once.
        """
        old_args, old_kwargs = list(args or ()), kwargs or {}
        if new_args is not None and new_kwargs is not None:
            return new_args, new_kwargs
        places = {
            p.name: place
            for place, p in enumerate(p for p in self.signature.parameters.values() if p.kind in POSITIONAL)
            if p.kind is Parameter.POSITIONAL_OR_KEYWORD
        }
        if new_args is not None:
            given = len(new_args)
            return new_args, {key: value for key, value in old_kwargs.items() if places.get(key, given) >= given}
        by_name = dict(new_kwargs or {})
        for name, place in places.items():
            if name in by_name and place < len(old_args):
                old_args[place] = by_name.pop(name)
        return old_args, by_name

    def redacted(
        self,
        sensitive: bool | Sequence[str],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        in_front: tuple[int, int] = (0, 0),
    ) -> tuple[list[Any], dict[str, Any]]:
        """`args` and `kwargs` with REDACTED for each argument whose parameter is in `sensitive`, for all where True.

        What goes to `*args` has the name of that parameter, and so has what goes to `**kwargs`. What goes to no
        parameter is hidden too. `in_front`: how many positional arguments, at least and at most, the call will have
        before these; an argument is hidden where it may come to stand at a sensitive parameter.
        """
        if sensitive is True:
            return [REDACTED] * len(args), dict.fromkeys(kwargs, REDACTED)
        hidden: set[str | None] = {sensitive} if isinstance(sensitive, str) else set(sensitive or ())
        if not hidden:
            return list(args), dict(kwargs)
        positional, rest, named = [], None, None
        for p in self.signature.parameters.values():
            if p.kind in POSITIONAL:
                positional.append(p.name)
            elif p.kind is Parameter.VAR_POSITIONAL:
                rest = p.name
            elif p.kind is Parameter.VAR_KEYWORD:
                named = p.name
        hidden.add(None)  # no parameter
        least, most = in_front[0], min(in_front[1], max(in_front[0], len(positional)))
        at = [name in hidden for name in positional] + [rest in hidden] * (len(args) + most)
        known = self.signature.parameters
        return (
            [REDACTED if any(at[n + least : n + most + 1]) else value for n, value in enumerate(args)],
            {
                key: REDACTED if key in hidden or (key not in known and named in hidden) else value
                for key, value in kwargs.items()
            },
        )

    def _hint(self, kwargs: Mapping[str, Any]) -> str:
        """More on keywords that it does not have: the nearest that it has, and where options of a sending belong."""
        known = [p.name for p in self.signature.parameters.values() if p.kind not in VARIADIC]
        for name in kwargs.keys() - known:
            if name in OF_SENDING:
                return f"; options of a sending go to apply_async(args, kwargs, {name}=...)"
            if near := nearest(name, known):
                return f"; it has no {name!r}: did you mean {near!r}?"
        return ""

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises TypeError, as the call itself would, when the arguments do not fit."""
        fewest, most, simple = self._shape
        n = len(args)
        if not kwargs:
            if simple and fewest <= n <= most:
                return
        elif n <= most:
            try:
                keywords = self._by_count[n]
            except KeyError:
                keywords = self._by_count[n] = self._keywords_after(n)
            if keywords is not None and keywords[0] <= kwargs.keys() <= keywords[1]:
                return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"{self.name}() {exc}{self._hint(kwargs)}") from None


def check_sensitive(sensitive: Any, function: Callable[..., Any], what: str) -> None:
    """Refuse an option `sensitive` that hides nothing: a name that is no parameter of `function` leaves one in sight.

    With `**kwargs` each name may be one. Raises TypeError and ValueError; `what` is whose option it is.
    """
    if sensitive is None or isinstance(sensitive, bool):
        return
    names = [sensitive] if isinstance(sensitive, str) else sensitive
    if not isinstance(names, (list, tuple, set, frozenset)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{what}: sensitive is a list of parameters, or True for all, not {sensitive!r:.80}")
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # a function in C, of which nothing is known
        return
    if any(one.kind is Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    for name in names:
        if name not in parameters:
            raise ValueError(f"{what}: sensitive: it has no parameter {name!r} to hide{meant(name, list(parameters))}")
