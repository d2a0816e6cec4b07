"""Here-documents: the word behind `<<`, the body, and a quoted one's body that references are put into."""

from __future__ import annotations

import re

from liteq_flow.shells.shell_cursor import Cursor
from liteq_flow.shells.shell_pieces import BREAKS, Delimiter, ShellRefused

__all__ = ["fill_quoted", "read_body", "read_delimiter"]

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_delimiter(here: Cursor) -> Delimiter:
    """The word behind `<<`, and the `-` before it; it becomes a part."""
    strips = here.next("-")
    if strips:
        here.take()
    while here.next(" ") or here.next("\t"):
        here.take()
    start, word = here.at, ""
    while not here.ended and here.text[here.at] not in BREAKS:
        char = here.text[here.at]
        if char in "'\"":
            close = here.text.find(char, here.at + 1)
            close = len(here.text) if close < 0 else close
            word += here.text[here.at + 1 : close]
            here.at = close + 1
        else:
            here.at += 1 + (char == "\\")
            word += here.text[here.at - 1 : here.at]
    raw = here.text[start : here.at]
    delimiter = Delimiter(raw, word, any(char in raw for char in "'\"\\"), strips)
    here.pieces.parts.append(delimiter)
    return delimiter


def read_body(here: Cursor, delimiter: Delimiter) -> tuple[str, str]:
    """The lines up to the delimiter's, and that line, which is empty where there is none."""
    start, continued = here.at, False
    while not here.ended:
        line_start = here.at
        end = here.text.find("\n", here.at)
        here.at = len(here.text) if end < 0 else end + 1
        line = here.text[line_start : here.at]
        bare = line.rstrip("\n")
        if not continued and (bare.lstrip("\t") if delimiter.strips_tabs else bare) == delimiter.word:
            return here.text[start:line_start], line
        slashes = len(bare) - len(bare.rstrip("\\"))
        continued = not delimiter.quoted and slashes % 2 == 1
    return here.text[start:], ""


def fill_quoted(body: Cursor, delimiter: Delimiter) -> None:
    """Cut the body of `<<'END'`: it becomes one of `<<END`, and what its quotes kept from the shell is escaped."""
    if not PLAIN.fullmatch(delimiter.word):
        raise ShellRefused(f"a reference in a here-document that ends with {delimiter.raw}; use a plain word")
    delimiter.plain = True
    while not body.ended:
        run, escapes = body.slashes()
        if run:
            body.pieces.parts.append("\\\\" * (run - escapes) + ("\\$" if escapes else ""))
            body.at += run + escapes
        elif body.slot("double") is None:
            char = body.text[body.at]
            body.at += 1
            body.pieces.parts.append(f"\\{char}" if char in "$`" else char)
