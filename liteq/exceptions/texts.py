"""Words for messages: values that may not print, and names that look like one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["alike", "closest", "text_of"]


def text_of(value: Any, render: Callable[[Any], str] = repr) -> str:
    """`value` as text by `render`, else by repr; where that fails too, a text that says so. Never raises.

    For exceptions and values of the user's: what cannot be printed must not hide the failure that is told of.
    """
    for attempt in (render, repr):
        try:
            return str.__str__(attempt(value))
        except Exception:  # noqa: BLE001, S112 - the next one, or the text below
            continue
    return f"<{type(value).__qualname__} that cannot be printed>"


def alike(name: str, known: Iterable[str], n: int = 3, cutoff: float = 0.5) -> list[str]:
    """Up to `n` names of `known` that look like `name`, the likest first. `cutoff`: the least likeness, 0 to 1."""
    import difflib  # only for a mistyped name

    return difflib.get_close_matches(name, list(known), n=n, cutoff=cutoff)


def closest(name: str, known: Iterable[str]) -> str:
    """The names of `known` that look like `name`, for an error message; "none" when there are none."""
    return ", ".join(map(repr, alike(name, known))) or "none"
