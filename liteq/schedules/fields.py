"""The grammar of one field of a crontab: `*`, `*/n`, `a`, `a-b`, `a-b/n`, names, and lists of these."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from liteq.exceptions import ImproperlyConfigured

__all__ = ["ParseException", "crontab_parser", "expand"]

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
NAMES = {name: i for i, name in enumerate(DAYS)} | {name: i for i, name in enumerate(MONTHS, 1)}
FULL_NAMES = (
    "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "january", "february", "march",
    "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip


class ParseException(ImproperlyConfigured, ValueError):
    """Raised when a field of a crontab cannot be read."""


class crontab_parser:  # noqa: N801 - Celery's name
    """Reads one field with `max_` values from `min_` on: `crontab_parser(60).parse("*/15")` is `{0, 15, 30, 45}`.

    A range may wrap around: `fri-mon`, `22-4`.
    """

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.min_ = min_
        self.max_ = max_

    @property
    def last(self) -> int:
        return self.min_ + self.max_ - 1

    def parse(self, spec: str) -> set[int]:
        """The values that `spec` means. Raises ParseException, a ValueError."""
        found: set[int] = set()
        for part in spec.split(","):
            if not part.strip():
                raise ParseException(f"crontab: an empty part in {spec!r}")
            found.update(self._part(part.strip()))
        return found

    def _part(self, part: str) -> Iterable[int]:
        span, slash, step = part.partition("/")
        values = self._span(span)
        if not slash:
            return values
        if not step.isdecimal() or int(step) == 0:
            raise ParseException(f"crontab: {part!r}: after the slash comes a number from 1 on")
        return values[:: int(step)]

    def _span(self, span: str) -> list[int]:
        if span == "*":
            return list(range(self.min_, self.last + 1))
        first, dash, last = span.partition("-")
        if not dash:
            return [self._value(first)]
        low, high = self._value(first), self._value(last)
        if high < low:
            return [*range(low, self.last + 1), *range(self.min_, high + 1)]
        return list(range(low, high + 1))

    def _value(self, text: str) -> int:
        value = int(text) if text.isdecimal() else self._named(text)
        if not self.min_ <= value <= self.last:
            hint = " (Sunday is 0)" if value == 7 and self.last == 6 else ""
            raise ParseException(f"crontab: {value} is not in {self.min_}-{self.last}{hint}")
        return value

    @staticmethod
    def _named(text: str) -> int:
        name = text.lower()
        value = NAMES.get(name[:3])
        if value is None or not any(full.startswith(name) for full in FULL_NAMES):
            raise ParseException(f"crontab: {text!r} is neither a number nor the name of a day or a month")
        return value


def expand(spec: Any, max_: int, min_: int = 0) -> set[int]:
    """The values that a field of a crontab means: a number, a text in the grammar above, or an iterable of numbers.

    Raises ParseException, a ValueError, for what cannot be read or is out of range, and TypeError for anything else.
    """
    if isinstance(spec, str):
        return crontab_parser(max_, min_).parse(spec)
    if not isinstance(spec, (int, Iterable)):
        raise TypeError(f"crontab: a field is a number, a string or an iterable of numbers, not {type(spec)}")
    values = {spec} if isinstance(spec, int) else set(spec)
    for value in values:
        if value not in range(min_, min_ + max_):
            raise ParseException(f"crontab: {value!r} is not in {min_}-{min_ + max_ - 1}")
    return values
