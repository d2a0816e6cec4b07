"""Amounts: of money, which is a Decimal or its text and never a float, and of things that are counted."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

__all__ = ["checked_count", "checked_money"]


def checked_money(value: Any, what: str) -> Decimal:
    """`value` as a Decimal. Raises TypeError for a float, ValueError for what is no amount from 0."""
    if isinstance(value, bool) or not isinstance(value, (Decimal, str, int)):
        hint = ": a float is not exact" if isinstance(value, float) else ""
        raise TypeError(f'{what} is a Decimal or its text, as "0.02", not {value!r}{hint}')
    try:
        found = Decimal(value)
    except InvalidOperation:
        found = Decimal(-1)
    if not found.is_finite() or found < 0:
        raise ValueError(f'{what} is an amount from 0, as "0.02", not {value!r}')
    return found


def checked_count(value: Any, what: str) -> int:
    """`value`, a whole number from 0. Raises TypeError for what is no whole number, ValueError below 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is a whole number, not {value!r}")
    if value < 0:
        raise ValueError(f"{what} is a whole number from 0, not {value!r}")
    return value
