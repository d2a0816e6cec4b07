"""Rate limits, as pure arithmetic: Celery's notation for a rate, and the bucket that keeps one.

The bucket is GCRA (the generic cell rate algorithm): one number, the time at which a bucket that is never idle would
have its next token, stands for the whole state. So a rate that all workers share is one number in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, inf, isfinite

from liteq.utils.records import dataclass

__all__ = ["BURST_S", "Bucket", "amount_in", "per_second"]

UNITS: Mapping[str, float] = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
SLACK_S = 1e-3  # a time that was rounded on its way through the file is not ahead
LEAST = 1 / (366 * 86_400)  # a slower rate would fill its bucket at a time that no file can hold
BURST_S = 0.05  # tokens of so long may be taken at once: a fast rate is not kept by waking for each single task


def per_second(rate: str | float | None) -> float:
    """A rate in tasks a second: `"10/s"`, `"100/m"`, `"5/h"`, `"100/d"`; a number alone is a second's, 0.0: no limit.

    Raises ValueError for what is no rate.
    """
    if rate is None or rate == "":
        return 0.0
    number, slash, unit = rate.strip().partition("/") if isinstance(rate, str) else (rate, "", "")
    try:
        value = float(number) / UNITS[unit.strip() or "s"]
    except (KeyError, TypeError, ValueError):
        value = -1.0
    if (
        isinstance(rate, bool)
        or not isfinite(value)
        or value < 0
        or 0 < value < LEAST
        or (slash and not str(unit).strip())
    ):
        raise ValueError(
            f'{rate!r} is no rate: write "10/s", "100/m", "5/h", "100/d", or a number of tasks a second, not fewer '
            "than one task a year; 0: no limit"
        )
    return value


def amount_in(rate: str) -> tuple[int, float]:
    """An amount in a time, of what is counted and not started: `"200k/m"` is (200_000, 60.0); `k` and `M` multiply.

    Raises ValueError for what is none, TypeError for what is no text.
    """
    if not isinstance(rate, str):
        raise TypeError(f'an amount in a time is a text as "200k/m", not {rate!r}')
    number, _, unit = rate.replace(",", "").replace("_", "").strip().partition("/")
    number, unit = number.strip(), unit.strip()
    factor = {"k": 1_000, "K": 1_000, "M": 1_000_000}.get(number[-1:], 1)
    try:
        amount = float(number[:-1] if factor > 1 else number) * factor
        period_s = UNITS[unit]
    except (KeyError, ValueError):
        amount, period_s = -1.0, 1.0
    if not isfinite(amount) or amount < 1 or amount >= 1 << 53:
        raise ValueError(f'{rate!r} is no amount in a time: write "200k/m", "10k/s", "1M/h" or "5M/d"')
    return int(amount), period_s


@dataclass(slots=True)
class Bucket:
    """Tokens that come at `rate` a second. Times are seconds, of whichever clock the caller keeps to.

    `full_at` is when a bucket from which nothing more is taken will be full again.
    """

    rate: float
    full_at: float = -inf

    @property
    def burst(self) -> int:
        """How many tokens it holds at most: one, as Celery's, or what comes in BURST_S."""
        return max(1, int(self.rate * BURST_S))

    def cap(self, now: float) -> bool:
        """Be no emptier than empty: after the clock was set back, `full_at` is too far ahead. Whether it was."""
        empty = now + self.burst / self.rate
        if self.full_at <= empty + SLACK_S:
            return False
        self.full_at = empty
        return True

    def tokens(self, now: float) -> int:
        """How many may be taken now."""
        missing = (self._ahead(now) - now) * self.rate
        return max(0, floor(self.burst - missing + 1e-6))

    def take(self, n: int, now: float) -> None:
        """Take `n` tokens, which were there."""
        self.full_at = self._ahead(now) + n / self.rate

    def wait_s(self, now: float) -> float:
        """Seconds until there is one, where there are none; of a fast rate, until there are several."""
        wanted = max(1, self.burst // 2)
        missing = (self._ahead(now) - now) * self.rate
        return max(0.0, (missing - (self.burst - wanted)) / self.rate)

    def _ahead(self, now: float) -> float:
        return max(now, min(self.full_at, now + self.burst / self.rate))
