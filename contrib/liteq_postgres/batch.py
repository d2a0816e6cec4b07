"""One statement in place of many: the values of all rows come as an array for each parameter.

So a batch of a verb is one message, one plan and one pass of the server, where the verb says that it may be (AT_ONCE).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Final

__all__ = ["arrays", "at_once"]

INTEGER, TEXT, BYTES = 20, 25, 17  # the server's numbers of the types
NAMES: Final = {INTEGER: "bigint", TEXT: "text", BYTES: "bytea"}
HEADER: Final = struct.Struct(">iiIii")
LENGTH: Final = struct.Struct(">i")
NULL: Final = LENGTH.pack(-1)
INSERT: Final = re.compile(r"(?P<into>INSERT .*?)\bVALUES\s*\((?P<values>.*)\)\s*(?P<rest>ON CONFLICT .*)", re.DOTALL)
CHANGE: Final = re.compile(r"(?P<what>(?P<word>UPDATE|DELETE) .*)(?P<rest>\bWHERE .*)", re.DOTALL)


@lru_cache(maxsize=256)
def at_once(sql: bytes, types: tuple[int, ...]) -> bytes | None:
    """`sql`, which has parameters of these types, for arrays of them; None where it has no such form."""
    if not types or not set(types) <= NAMES.keys():
        return None
    names = [f"${n}::{NAMES[kind]}[]" for n, kind in enumerate(types, 1)]
    rows = f"unnest({', '.join(names)}) AS v ({', '.join(f'p{n}' for n in range(1, len(types) + 1))})"
    text = re.sub(r"\$(\d+)", r"v.p\1", sql.decode().strip())
    if found := INSERT.fullmatch(text):
        return f"{found['into']}SELECT {found['values']} FROM {rows} {found['rest']}".encode()
    if found := CHANGE.fullmatch(text):
        word = "FROM" if found["word"] == "UPDATE" else "USING"
        return f"{found['what']}{word} {rows} {found['rest']}".encode()
    return None


def arrays(types: Sequence[int], rows: Iterable[Sequence[object]]) -> list[bytes] | None:
    """The columns of `rows` as the server's arrays; None where a value is of another type than its column."""
    try:
        return [_array(kind, column) for kind, column in zip(types, zip(*rows, strict=True), strict=True)]
    except (TypeError, AttributeError, ValueError, OverflowError, struct.error):
        return None


def _array(kind: int, column: Sequence[object]) -> bytes:
    n, first = len(column), column[0]
    head = HEADER.pack(1, None in column, kind, n, 1)
    if column.count(first) == n:  # as most columns of a batch are
        return head + _element(kind, first) * n
    if kind == INTEGER and None not in column:
        return head + struct.pack(f">{'iq' * n}", *chain.from_iterable(zip(repeat(8), column, strict=False)))
    return head + b"".join([_element(kind, value) for value in column])


def _element(kind: int, value: object) -> bytes:
    """A value as an element of an array. Raises what `arrays` knows for one of another type."""
    if value is None:
        return NULL
    if kind == INTEGER:
        return LENGTH.pack(8) + int.to_bytes(value, 8, "big", signed=True)  # type: ignore[arg-type]
    if kind == BYTES:
        return LENGTH.pack(len(value)) + value  # type: ignore[arg-type, operator]
    if "\0" in value:  # type: ignore[operator]
        raise ValueError(value)
    text = str.encode(value)  # type: ignore[arg-type]
    return LENGTH.pack(len(text)) + text
