"""Text for people: a time, and text that others wrote, fit for a terminal or a log line; and the mark of a list."""

from __future__ import annotations

from shlex import join
from typing import Any

from liteq.clock import from_ms

__all__ = ["as_command", "excerpt", "iso_time", "old", "place_of", "printable", "span", "times"]

_DIGITS = 19  # of a number that SQLite keeps
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def iso_time(ms: int | None) -> str | None:
    """A time of the file, in ms since the epoch, in ISO format and UTC; None stays None."""
    return None if ms is None else from_ms(ms).isoformat(timespec="milliseconds")


def times(**ms: int | None) -> dict[str, Any]:
    """Each time in ms, and beside it in ISO form and UTC: {"created", "created_iso"}."""
    return {key: value for name, at in ms.items() for key, value in ((name, at), (f"{name}_iso", iso_time(at)))}


def place_of(after: str | None) -> int:
    """The place in a list behind which a page begins, 0 for its begin. Raises ValueError for a mark that is none."""
    if after and not (after.isascii() and after.isdigit() and len(after) < _DIGITS):
        raise ValueError("`after` is no mark of this list: take it from the `next` of the page before")
    return int(after or 0)


def span(seconds: float) -> str:
    """A span of time in words, in its two largest units: "2.5 s", "40 s", "3 min 20 s", "2 d 4 h"."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = int(seconds)
    for n, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            smaller, name = (*_UNITS, (1, "s"))[n + 1]
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def old(seconds: float) -> str:
    """An age in words, in whole seconds for the first two minutes: "0 s old", "12 s old", "3 min 20 s old"."""
    return f"{int(seconds)} s old" if seconds < 120 else f"{span(seconds)} old"


def printable(text: str) -> str:
    r"""`text` with everything that is not printable written as an escape: CR, LF, ESC, marks that turn the direction.

    A name with a line break in it could otherwise forge a log line, one with ESC could drive the terminal.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def excerpt(text: str, most: int, rest: str) -> str:
    """`text` where it has `most` characters or fewer; else its beginning and its end, and what `rest` says between."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} {rest}]\n{text[-half:]}"


def as_command(verb: str, *names: str) -> str:
    """A `liteq` command in a text, to be copied into a shell: a name may have blanks, quotes or a star in it."""
    return f"`liteq {verb} {join(names)}`"
