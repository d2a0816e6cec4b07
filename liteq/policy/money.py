"""Money in whole units of 1e-10: so that sums are exact in any engine, and a price of a token is more than nothing."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["MOST", "as_text", "from_units", "to_units"]

UNIT = 10  # digits behind the point
MOST = Decimal(10) ** 8  # of one amount: sums of many are whole numbers of 64 bits


def to_units(money: Decimal) -> int:
    """An amount in units; the nearest. Raises ValueError for more than MOST."""
    if money > MOST:
        raise ValueError(f"an amount of money is {MOST:,} at most, not {money}")
    return int(money.scaleb(UNIT).to_integral_value())


def from_units(units: int) -> Decimal:
    """An amount of so many units, without zeros behind it."""
    money = Decimal(units).scaleb(-UNIT).normalize()
    return money if money.as_tuple().exponent <= 0 else money.quantize(Decimal(1))  # type: ignore[operator]


def as_text(money: Decimal) -> str:
    """An amount as people write it."""
    return format(money, "f")
