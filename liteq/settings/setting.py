"""`Setting`: one row of the table of settings, and the check of what it is set to."""

from __future__ import annotations

import reprlib
from datetime import timedelta
from math import isfinite
from string import Formatter
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from liteq.exceptions import ImproperlyConfigured
from liteq.utils.durations import numeric_s
from liteq.utils.records import dataclass

__all__ = ["Setting"]

_LONGEST_SHOWN = 80  # characters of a refused value in an error


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `unit` is "s", "bytes", "KiB" or ""; a timedelta and text as "5m" are taken where the unit is "s".

    `celery` is its name in Celery, None where it is liteq's own. `choices`, `minimum` and `maximum` say what it takes;
    `fields` make it an address with these names in braces.
    """

    name: str
    type: Any
    default: Any
    doc: str
    unit: str = ""
    celery: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[type, ...]:
        """The classes that a value may have; () for any."""
        if self.type is Any:
            return ()
        kinds = get_args(self.type) if isinstance(self.type, UnionType) else (self.type,)
        return tuple(get_origin(kind) or kind for kind in kinds)

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return "LITEQ_" + self.name.upper()

    def check(self, value: Any) -> Any:
        """`value` as this setting keeps it. Raises ImproperlyConfigured, which says what is allowed."""
        classes = self.classes
        if not classes or (value is None and NoneType in classes):
            return value
        if self.unit == "s" and isinstance(value, (timedelta, str)):
            value = self._seconds(value)
        if list in classes and isinstance(value, str):
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        if not self._fits(value, classes):
            value = self._coerce(value)
        if not self._in_range(value):
            raise self._refused(value)
        return value

    def _seconds(self, value: timedelta | str) -> Any:
        """A span of time in seconds; the text of a number below 0 as it is, to be refused by its range."""
        try:
            return numeric_s(value, self.name)
        except ValueError:
            return value

    @staticmethod
    def _fits(value: Any, classes: tuple[type, ...]) -> bool:
        if isinstance(value, bool):  # an int to isinstance, never meant as one
            return bool in classes
        return isinstance(value, classes) or (float in classes and isinstance(value, int))

    def _coerce(self, value: Any) -> Any:
        """`"4"` to 4, `"yes"` to True: what pydantic takes without loss."""
        if isinstance(value, bool):
            raise self._refused(value)
        from pydantic import TypeAdapter, ValidationError  # 180 ms and 20 MiB, for odd values only

        try:
            return TypeAdapter(self.type).validate_python(value)
        except ValidationError:
            raise self._refused(value) from None

    def _in_range(self, value: Any) -> bool:
        if self.choices and value is not None:
            return value in self.choices
        if self.fields and isinstance(value, str):
            return value.startswith(("https://", "http://")) and _braced(value) <= set(self.fields)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return True
        low, high = self.minimum, self.maximum
        return isfinite(value) and (low is None or value >= low) and (high is None or value <= high)

    def _refused(self, value: Any) -> ImproperlyConfigured:
        shown = reprlib.repr(value) if isinstance(value, (int, dict, list, tuple, set)) else repr(value)
        shown = shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "..."
        return ImproperlyConfigured(f"the setting {self.name} = {shown} is not allowed: it takes {self.allowed}")

    @property
    def allowed(self) -> str:
        """Its allowed values, in words."""
        if self.fields:
            words = f"http:// or https:// with {', '.join(f'{{{field}}}' for field in self.fields)}"
        elif self.choices:
            words = " or ".join(repr(choice) for choice in self.choices)
        else:
            words = " or ".join(_WORDS.get(kind, kind.__name__) for kind in self.classes if kind is not NoneType)
            words = words or "anything"
        if self.minimum is not None:
            words += f" from {self.minimum:g}"
        if self.maximum is not None:
            words += f" up to {self.maximum:g}"
        units = {"s": " (seconds, or text as '5m')", "": ""}.get(self.unit, f" ({self.unit})")
        return words + units + (", or None" if NoneType in self.classes else "")


_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}


def _braced(template: str) -> set[str | None]:
    """The names in braces of a template; None among them where it cannot be read."""
    try:
        found = {name for _, name, spec, how in Formatter().parse(template) if name is not None or spec or how}
    except ValueError:
        return {None}
    return set[str | None](found)
