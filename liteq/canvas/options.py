"""Options of signatures: how those of a call join their own, as attributes, and values that may be one or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NoReturn

__all__ = ["as_list", "item", "merged_options", "option", "refuse", "without_polling"]

# A later call cannot change these: a member that left its group would stall it.
KEPT = frozenset({"group_id", "stamped_headers"})

POLLING = frozenset({"interval", "max_retries"})


def as_list(value: Any) -> list[Any]:
    """`value` as a list: [] for None, the items of a list or tuple, else the one value."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def item(name: str, kind: Callable[[Any], Any] | None = None) -> Any:
    """An attribute of a signature that is its item `name`; an assigned value is made a `kind`."""

    def assign(sig: Any, value: Any) -> None:
        sig[name] = value if kind is None else kind(value)

    return property(itemgetter(name), assign)


def option(name: str) -> Any:
    """An attribute of a signature that is its option `name`, None where it is not set."""

    def assign(sig: Any, value: Any) -> None:
        sig.options[name] = value

    return property(lambda sig: sig.options.get(name), assign)


def merged_options(own: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`own` overridden by `over`, but for the group's id and for stamps, which stay as they are."""
    if not over:
        return dict(own)
    kept = KEPT.union(own.get("stamped_headers") or ()) & own.keys()
    return {**own, **{key: value for key, value in over.items() if key not in kept}}


def without_polling(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` of a chord without those that tell Celery how often, and how many times, to look for its results."""
    return {name: value for name, value in options.items() if name not in POLLING}


def refuse(value: object, where: str) -> NoReturn:
    """Raise a TypeError that says what belongs in `where` instead of `value`."""
    if hasattr(value, "s") and hasattr(value, "name"):
        hint = f"the task {value.name!r} itself; write .s(...) or .si(...) to say what it is called with"
    else:
        hint = f"{type(value).__name__} {value!r:.80}"
    raise TypeError(f"{where} takes signatures, not {hint}")
