"""Prices of models: those of the package `genai-prices`, where it is installed. An unknown price is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Any

__all__ = ["price_of"]


@cache
def _calculator() -> Any:
    """The function of the package, and its class for usage; None where it is not installed."""
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    return calc_price, Usage


def price_of(model: str | None, tokens: Mapping[str, int]) -> Decimal | None:
    """The price of an answer of `model`, a name or "provider:name"; None where it is not known.

    `tokens`: input, output, cache_read, cache_write, each with "_tokens" behind it.
    """
    found = None if model is None else _calculator()
    if found is None or model is None:
        return None
    calc_price, usage = found
    provider, _, name = model.rpartition(":")
    try:
        price = calc_price(usage(**tokens), name, provider_id=provider or None)
    except Exception:  # noqa: BLE001 - its tables do not know the model, or the model not such tokens
        return None
    return Decimal(price.total_price)
