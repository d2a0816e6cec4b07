"""Options of signatures: how those of a call join their own, and values that may be one or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

__all__ = ["as_list", "merged_options", "refuse"]

# A later call cannot change these: a member that left its group would stall it.
KEPT = frozenset({"group_id", "stamped_headers"})


def as_list(value: Any) -> list[Any]:
    """`value` as a list: [] for None, the items of a list or tuple, else the one value."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def merged_options(own: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`own` overridden by `over`, but for the group's id and for stamps, which stay as they are."""
    if not over:
        return dict(own)
    kept = KEPT.union(own.get("stamped_headers") or ()) & own.keys()
    return {**own, **{key: value for key, value in over.items() if key not in kept}}


def refuse(value: object, where: str) -> NoReturn:
    """Raise a TypeError that says what belongs in `where` instead of `value`."""
    if hasattr(value, "s") and hasattr(value, "name"):
        hint = f"the task {value.name!r} itself; write .s(...) or .si(...) to say what it is called with"
    else:
        hint = f"{type(value).__name__} {value!r:.80}"
    raise TypeError(f"{where} takes signatures, not {hint}")
