"""Calls that exclude others: `Unique`, and its two usual forms, `Debounce` and `Throttle`. What is asked for, alone.

The sender makes a key of each such call (liteq/sending/uniqueness.py), the file keeps it
(liteq/storage/sending/unique.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from liteq.utils.durations import Duration, limit_ms, seconds, to_span_ms
from liteq.utils.misspelt import meant, suggesting

__all__ = ["By", "Debounce", "Exclusive", "Throttle", "Unique", "of_document", "unique_of"]

By = str | Sequence[str] | Callable[..., str | None] | None

STATES: Final = ("unfinished", "unstarted")
CONFLICTS: Final = ("keep", "replace", "postpone")


class Exclusive:
    """The base of the three: a value, equal to another of the same fields."""

    FIELDS: ClassVar[tuple[str, ...]] = ()
    KIND: ClassVar[str] = ""
    by: By

    def document(self) -> dict[str, Any]:
        """Its fields as JSON: so it travels in a signature. Raises TypeError where `by` is a function."""
        if callable(self.by):
            raise TypeError(f"{self!r} has a function, which cannot travel: name parameters, or write a template")
        return {"kind": self.KIND, **{name: getattr(self, name) for name in self.FIELDS}}

    def _fields(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.FIELDS)

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *map(repr, self._fields())))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.FIELDS)
        return f"{type(self).__name__}({shown})"


class Unique(Exclusive):
    """One of equal calls at a time: while a call stands, an equal call sends nothing, and has the result of the first.

    `by`: the arguments by which two calls are equal: names of parameters, a template ("{order.shop}"), or a function of
    the arguments that returns text (a call for which it returns None is never a duplicate). None: all arguments,
    defaults included.
    `states`: a call stands until it has finished ("unfinished"), or until it starts ("unstarted").
    `within`: a call also stands for this span after it was sent, finished or not.
    `on_conflict`: the effect of a new call on the one that stands. "keep": none. "replace": the one that stands gets
    the arguments and options of the new call, unless it runs. "postpone": as "replace", and it is due when the new
    call would be.

    Raises TypeError, ValueError for values that are none of these.
    """

    FIELDS = ("by", "states", "within", "on_conflict")
    KIND = "unique"

    @suggesting
    def __init__(
        self, by: By = None, *, states: str = "unfinished", within: Duration | None = None, on_conflict: str = "keep"
    ) -> None:
        self.by = _checked_by(by, "Unique: by")
        self.states = _one_of(states, STATES, "Unique: states")
        self.within = None if within is None else seconds(within, "Unique: within")
        self.on_conflict = _one_of(on_conflict, CONFLICTS, "Unique: on_conflict")
        self.within_ms = None if within is None else limit_ms(within, "Unique: within")


class Debounce(Exclusive):
    """Of calls that follow each other, only the last one runs: with its arguments, `wait` after it was made.

    `max_wait`: the task runs at the latest this span after the first of the calls, however many follow. `by`: as for
    `Unique`, but with None all calls of the task are equal. A call that is made while the task runs is not lost: it is
    the first of the next calls. Raises TypeError, ValueError.
    """

    FIELDS = ("wait", "max_wait", "by")
    KIND = "debounce"

    @suggesting
    def __init__(self, wait: Duration, max_wait: Duration | None = None, by: By = None) -> None:
        self.wait = seconds(wait, "Debounce: wait")
        self.wait_ms = limit_ms(wait, "Debounce: wait", needed=True)
        self.max_wait = None if max_wait is None else seconds(max_wait, "Debounce: max_wait")
        self.max_wait_ms = None if max_wait is None else to_span_ms(max_wait, "Debounce: max_wait")
        if self.max_wait_ms is not None and self.max_wait_ms < self.wait_ms:
            raise ValueError(f"Debounce: max_wait is at least wait ({wait!r}), not {max_wait!r}")
        self.by = _checked_by(by, "Debounce: by")


class Throttle(Exclusive):
    """Of the calls in each period `every`, the first one runs; with `trailing` also the last, when the period is over.

    A period begins when its first call starts, so no two calls start within a period. The other calls have the result
    of the first one; with `trailing`, that of the last one. `by`: as for `Unique`, but with None all calls of the task
    are equal. Raises TypeError, ValueError.
    """

    FIELDS = ("every", "by", "trailing")
    KIND = "throttle"

    @suggesting
    def __init__(self, every: Duration, by: By = None, trailing: bool = False) -> None:
        self.every = seconds(every, "Throttle: every")
        self.every_ms = limit_ms(every, "Throttle: every", needed=True)
        self.by = _checked_by(by, "Throttle: by")
        if not isinstance(trailing, bool):
            raise TypeError(f"Throttle: trailing is True or False, not {trailing!r}")
        self.trailing = trailing


OF_KIND: Final[Mapping[str, type[Exclusive]]] = {one.KIND: one for one in (Unique, Debounce, Throttle)}
USAGE: Final = "True, False, or one of Unique(...), Debounce(wait), Throttle(every)"


def unique_of(value: Any, what: str = "unique") -> Exclusive | None:
    """The meaning of the option `unique`: None for None and False, `Unique()` for True; also of a `document()`.

    Raises TypeError, ValueError for any other value; `what` names the option in the error.
    """
    if value is None or value is False:
        return None
    if value is True:
        return Unique()
    if isinstance(value, Exclusive):
        return value
    if isinstance(value, Mapping) and "__value__" in value:  # as a process reads it that has not loaded its type
        value = value["__value__"]
    if isinstance(value, Mapping) and value.get("kind") in OF_KIND:
        return of_document(value)
    raise TypeError(f"{what} is {USAGE}, not {value!r}")


def of_document(document: Mapping[str, Any]) -> Exclusive:
    """The value of which `document()` made this. Raises TypeError, ValueError, LookupError for what it did not make."""
    return OF_KIND[document["kind"]](**{name: value for name, value in document.items() if name != "kind"})


def _one_of(value: Any, known: tuple[str, ...], what: str) -> str:
    if value in known:
        return str(value)
    raise ValueError(f"{what} is {' or '.join(map(repr, known))}, not {value!r}{meant(str(value), known)}")


def _checked_by(by: Any, what: str) -> By:
    if by is None or callable(by) or (isinstance(by, str) and by):
        return by  # type: ignore[no-any-return]
    if isinstance(by, Sequence) and not isinstance(by, (str, bytes)) and by and all(isinstance(n, str) for n in by):
        return tuple(by)
    raise TypeError(f'{what} is names of parameters, a template such as "{{order.shop}}", or a function, not {by!r}')
