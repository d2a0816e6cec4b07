"""Text that others wrote, made fit for a terminal or a log line."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""`text` with everything that is not printable written as an escape: CR, LF, ESC, marks that turn the direction.

    A name with a line break in it could otherwise forge a log line, one with ESC could drive the terminal.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
