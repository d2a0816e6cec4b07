"""Checks of a step's options, as they are declared or given for a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from liteq.utils.durations import Duration, seconds
from liteq.utils.misspelt import meant, nearest
from liteq.utils.names import checked_name
from liteq.workflow.declared.money import checked_count, checked_money

__all__ = [
    "Backoff", "Doubt", "Errors", "Fallback", "Spends", "checked_backoff", "checked_classes", "checked_doubt",
    "checked_fallback", "checked_function", "checked_retries", "checked_scope", "checked_spends", "is_count",
]  # fmt: skip

Backoff = float | tuple[float, float] | Callable[[int], float]
Errors = type[Exception] | tuple[type[Exception], ...]
Spends = Decimal | str | int | Mapping[str, Any] | Callable[..., Any] | Literal[True]
"""An estimate of what one attempt takes: money, or {"cost": "0.02", "tokens": 4000, "requests": 1}, or a function of
the step's arguments that returns one of these; True: the most that the step ever took.
"""
Fallback = Mapping[str, Sequence[Any]]
Doubt = Literal["repeat", "ask"] | Callable[..., Any]
OF_SPENDING = ("cost", "tokens", "requests")
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def is_count(number: Any) -> bool:
    """Whether `number` is a whole number from 0."""
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def checked_retries(retries: Any, what: str) -> int:
    if not is_count(retries):
        raise ValueError(f"{what}: retries is a whole number from 0, not {retries!r}")
    return retries  # type: ignore[no-any-return]


def checked_function(function: Any, what: str, of: str) -> Callable[..., Any] | None:
    """`function`, or None; `what` names its option, and `of` what it is a function of."""
    if function is not None and not callable(function):
        raise TypeError(f"{what} is a function {of}, or a step, not {function!r}")
    made: Callable[..., Any] | None = function
    return made


def checked_backoff(backoff: Any, what: str) -> Backoff:
    if callable(backoff):
        made: Callable[[int], float] = backoff
        return made
    if isinstance(backoff, (tuple, list)) and len(backoff) == 2:
        return seconds(backoff[0], f"the backoff of {what}"), seconds(backoff[1], f"the backoff of {what}")
    if isinstance(backoff, (tuple, list)):
        raise ValueError(
            f"the backoff of {what} is seconds, (first, longest), or a function of the attempt: {backoff!r}"
        )
    span: Duration = backoff
    return seconds(span, f"the backoff of {what}")


def checked_classes(errors: Any, what: str) -> tuple[type[Exception], ...]:
    found = tuple(errors) if isinstance(errors, (tuple, list, set, frozenset)) else (errors,)
    if not all(isinstance(one, type) and issubclass(one, BaseException) for one in found):
        raise TypeError(f"{what}: retry_on and give_up_on are exception classes, not {errors!r}")
    return found


def checked_scope(scope: Any, what: str) -> str | None:
    """The kind of tag that a memo's key has a part of: "tenant" of "tenant:a"."""
    if scope is None:
        return None
    name = checked_name(scope, f"the memo_scope of {what}")
    if ":" in name:
        raise ValueError(
            f"the memo_scope of {what} is the first word of a tag, as 'tenant' of 'tenant:a', not {name!r}"
        )
    return name


def checked_spends(spends: Any, what: str) -> Any:
    """The estimate as {"cost": Decimal, "tokens": int, "requests": int}, as far as it says; a function, True or None.

    Raises TypeError, ValueError for what is none; a float of money among them.
    """
    if spends is None or spends is True or callable(spends):
        return spends
    what = f"{what}: spends"
    if not isinstance(spends, Mapping):
        return {"cost": checked_money(spends, what)}
    found: dict[str, Any] = {}
    for name, value in spends.items():
        if name not in OF_SPENDING:
            raise ValueError(f"{what}: there is no {name!r} to spend{meant(str(name), OF_SPENDING, 'cost, tokens')}")
        found[name] = checked_money(value, what) if name == "cost" else checked_count(value, f"{what}: {name}")
    return found


def checked_fallback(
    fallback: Any, signature: Callable[[], inspect.Signature | None], what: str
) -> dict[str, tuple[Any, ...]] | None:
    """The other values of one argument, in the order in which they are tried; None for none."""
    if not fallback:
        return None
    if not isinstance(fallback, Mapping) or len(fallback) != 1:
        raise TypeError(f'{what}: fallback is one argument with other values, as {{"model": ["m2", "m3"]}}')
    ((name, values),) = fallback.items()
    if isinstance(values, str) or not isinstance(values, (list, tuple)) or not values:
        raise TypeError(f"{what}: fallback: the other values of {name!r} are a list, not {values!r}")
    known = signature()
    if known is not None and name not in known.parameters:
        parameters = known.parameters.values()
        if all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters):
            names = [one.name for one in parameters if one.kind not in VARIADIC]
            raise ValueError(f"{what}: fallback: there is no parameter {name!r}{meant(str(name), names)}")
    return {name: tuple(values)}


def checked_doubt(doubt: Any, what: str) -> Any:
    """None for "repeat", "ask", or the function that looks at the destination."""
    if doubt is None or doubt == "repeat":
        return None
    if doubt == "ask" or callable(doubt):
        return doubt
    near = nearest(str(doubt), ("repeat", "ask"))
    hint = f"; did you mean {near!r}?" if near else ""
    raise ValueError(f"{what}: doubt is 'repeat', 'ask' or a function of (step_key, ...), not {doubt!r}{hint}")
