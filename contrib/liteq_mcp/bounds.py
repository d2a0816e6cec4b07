"""Documents as an agent is given them: 8 kB a field and 48 kB in all, and it is told how much more there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from liteq.utils.json_text import to_json

__all__ = ["LONGEST_FIELD", "LONGEST_RESULT", "bounded", "fitting", "plain", "size_of"]

LONGEST_FIELD: Final = 8_000  # characters of one text
LONGEST_RESULT: Final = 48_000  # bytes of a document as JSON
DEEPEST: Final = 20
LEAST: Final = 200  # characters to which a text is cut where the whole is too large
SAID: Final = 40  # characters more, in which the cut is told
MANY: Final = 20  # entries of a dict that is cut as a list is: things by their names
LEFT_OUT: Final = "left_out"


def plain(document: Any) -> Any:
    """`document` as JSON has it: what has no form there is text."""
    return json.loads(to_json(document))


def size_of(document: Any) -> int:
    """The bytes of a document as JSON."""
    return len(to_json(document))


def bounded(document: dict[str, Any]) -> dict[str, Any]:
    """`document` as JSON has it, cut to what an agent is given.

    A text that was cut says so at its end; lists and maps that were cut are named in `left_out`: {"steps": 40}, by how
    many.
    """
    found: dict[str, Any] = _cut(plain(document), 0)
    left: dict[str, int] = {}
    while (over := size_of(found) - LONGEST_RESULT + (size_of(left) + 100 if left else 0)) > 0:
        parts = _parts(found, "", MANY) or _parts(found, "", 1)
        largest = max(parts, key=lambda one: one.size, default=None)
        if largest is None:
            break
        if isinstance(largest.value, str):
            _set(largest, _shown(largest.value, max(LEAST, len(largest.value) - over)))
        else:
            _shorten(largest, over, left)
    return {**found, LEFT_OUT: left} if left else found


def fitting(page: Callable[[int], dict[str, Any]], limit: int) -> dict[str, Any]:
    """The page of up to `limit` items; a smaller one where it would be cut, so that `next` goes on behind its last."""
    found = page(limit)
    while (size := size_of(found)) > LONGEST_RESULT and limit > 1:
        limit = max(1, min(limit - 1, limit * LONGEST_RESULT // size))
        found = page(limit)
    return found


class _Part(NamedTuple):
    """A list, a map or a text that can be shortened, and where it stands."""

    path: str
    inside: Any
    key: str | int
    value: list[Any] | dict[str, Any] | str
    size: int


def _parts(value: Any, path: str, many: int) -> list[_Part]:
    """Lists that are large by their own length, maps of more than `many` entries, and long texts, outer ones first.

    No map of which one part has a tenth or more: that part is cut, and the other entries stay.
    """
    entries: list[tuple[str | int, Any]] = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    found: list[_Part] = []
    for key, inner in entries:
        at = f"{path}.{key}" if path else str(key)
        inside = _parts(inner, at, many)
        if _can_be_shorter(inner, many):
            size = size_of(inner)
            if not isinstance(inner, dict) or all(one.size * 10 < size for one in inside):
                found.append(_Part(at, value, key, inner, size))
        found += inside
    return found


def _can_be_shorter(value: Any, many: int) -> bool:
    if isinstance(value, str):  # cut, and said so, it has to be shorter than it was
        return len(value) > LEAST + SAID
    return (isinstance(value, list) and len(value) > 1) or (isinstance(value, dict) and len(value) > many)


def _shorten(part: _Part, over: int, left: dict[str, int]) -> None:
    """Take as many entries from the end of a list or a map as make up for `over` bytes, but never the first."""
    of_map = isinstance(part.value, dict)
    items: list[Any] = list(part.value.items() if isinstance(part.value, dict) else part.value)
    whole = len(items)
    while len(items) > 1 and over > 0:
        over -= size_of(items.pop()) + 1
    _set(part, dict(items) if of_map else items)
    left[part.path] = left.get(part.path, 0) + whole - len(items)


def _set(part: _Part, value: Any) -> None:
    part.inside[part.key] = value


def _cut(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _shown(value, LONGEST_FIELD)
    if depth >= DEEPEST and isinstance(value, (dict, list)):
        return f"(more: {len(value)} below)"
    if isinstance(value, dict):
        return {_shown(key, LEAST): _cut(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner, depth + 1) for inner in value]
    return value


def _shown(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} characters more)"
