"""Text for people: a time, and text that others wrote, fit for a terminal or a log line."""

from __future__ import annotations

from liteq.clock import from_ms

__all__ = ["excerpt", "iso_time", "printable"]


def iso_time(ms: int | None) -> str | None:
    """A time of the file, in ms since the epoch, in ISO format and UTC; None stays None."""
    return None if ms is None else from_ms(ms).isoformat(timespec="milliseconds")


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
