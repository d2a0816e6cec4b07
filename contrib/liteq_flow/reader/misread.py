"""Texts that look like references and are none: an expression, a secret, a misspelt step."""

from __future__ import annotations

import re
from collections.abc import Iterator

from liteq.utils.misspelt import nearest
from liteq_flow.reader.yaml_places import Path, Spot
from liteq_flow.values import NAMESPACES, PATH, SHORT

__all__ = ["misread"]

DOTTED = re.compile(r"(?<!\\)\$\{\s*([A-Za-z_][A-Za-z0-9_]*)(\.[^}]*)\}")
WHOLE = re.compile(PATH)
PROSE = frozenset({"description", "title"})


def misread(spot: Spot, ids: frozenset[str], path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The places of such texts, and what is wrong with each. `ids`: of the steps."""
    if isinstance(spot.value, str):
        for match in DOTTED.finditer(spot.value):
            if what := _wrong(match[0], match[1], match[2], ids):
                yield path, what
    elif isinstance(spot.value, dict):
        for key, one in spot.value.items():
            if key not in PROSE:
                yield from misread(one, ids, (*path, key))
    elif isinstance(spot.value, list):
        for index, one in enumerate(spot.value):
            yield from misread(one, ids, (*path, index))


def _wrong(text: str, root: str, rest: str, ids: frozenset[str]) -> str:
    """The fault of `${root.rest}`; "" where it is a reference, or no attempt at one."""
    if root == "secrets":
        name = rest.removeprefix(".")
        return f"{text}: a secret is in the environment of commands, as ${name}"
    known = {*NAMESPACES, *ids}
    if root in known:
        whole = WHOLE.fullmatch(text[2:-1])
        why = "a reference is a path and nothing else, as ${params.day}; no expression is evaluated"
        return "" if whole else f"{text}: {why}"
    alike = {one.lower(): one for one in known}
    if root in SHORT or not (found := nearest(root, alike)):
        return ""
    near = alike[found]
    return f"{text}: there is no {root!r}; did you mean {near!r}? A backslash before `${{` keeps it as text"
