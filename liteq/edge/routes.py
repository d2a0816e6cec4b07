"""The calls of the gateway as a table: a method, a path with named parts, the right it takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache

from liteq.edge.http import Answer, Problem
from liteq.utils.names import unescaped
from liteq.utils.records import NamedTuple

__all__ = ["Route", "Table"]


class Route(NamedTuple):
    """One call: `right` is the one that its key needs, "" for none. `summary`: for the OpenAPI document."""

    method: str
    path: str
    right: str
    call: Callable[..., Answer]
    summary: str


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))


class Table:
    """Finds the call of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route, and the named parts of its path, which `segment` wrote.

        Raises Problem: 404, or 405 with the methods that are there.
        """
        there: list[str] = []
        for route in self.routes:
            if (found := _pattern(route.path).fullmatch(path)) is None:
                continue
            if route.method == method or (method == "HEAD" and route.method == "GET"):
                return route, {name: unescaped(text) for name, text in found.groupdict().items()}
            there.append(route.method)
        if there:
            raise Problem(405, f"{method} is not for this path; use {', '.join(there)}", Allow=", ".join(there))
        raise Problem(404, "no such path; /v1/openapi.json lists what there is")
