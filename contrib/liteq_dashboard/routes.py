"""The route table: every page and every call of the API once, with its method, path and the right that it needs."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Iterable
from dataclasses import replace

from liteq.utils.misspelt import unknown_name
from liteq.utils.names import unescaped
from liteq_dashboard import pages
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.openapi import MACHINES, PREFIX, QUERY, body_of_path, wrong_type
from liteq_dashboard.render import problem

__all__ = ["Found", "Table", "answer", "routes"]

NAMED = re.compile(r"\{(\w+)\}")

Found = tuple[Route, dict[str, str]]


@functools.cache
def routes() -> tuple[Route, ...]:
    """The routes of all modules in `pages/`."""
    found: list[Route] = []
    for module in pkgutil.iter_modules(pages.__path__):
        found += importlib.import_module(f"{pages.__name__}.{module.name}").ROUTES
    return tuple(found)


class Table:
    """Routes, and which of them fits a path: where two do, the one that says more of it.

    Raises ValueError when a line stands in it twice.
    """

    def __init__(self, lines: Iterable[Route]) -> None:
        self.routes = tuple(sorted(lines, key=_place))
        seen = [(route.method, NAMED.sub("{}", route.path)) for route in self.routes]
        if twice := {line for line in seen if seen.count(line) > 1}:
            raise ValueError(f"routes that stand in the table twice: {sorted(twice)}")
        self._patterns = [(_pattern(route.path), route) for route in self.routes]

    def match(self, method: str, path: str) -> Found | Response:
        """The route for `method` and `path` with the named parts; or 404, or 405 with the methods that there are."""
        wanted = "GET" if method == "HEAD" else method
        others: set[str] = set()
        for pattern, route in self._patterns:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if route.method == wanted:
                return route, {name: unescaped(text) for name, text in found.groupdict().items()}
            others.add(route.method)
        if others:
            allowed = ", ".join(sorted(others | ({"HEAD"} if "GET" in others else set())))
            return problem(405, f"use {allowed} here", {"allow": allowed})
        return problem(404, "there is no such page")


def _place(route: Route) -> tuple[list[tuple[bool, str]], str]:
    return [(part.startswith("{"), part) for part in route.path.split("/")], route.method


def _pattern(path: str) -> re.Pattern[str]:
    parts = NAMED.split(path)  # text, name, text, name, ...
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?P<{name}>[^/]+)" for name in parts[1::2]]
    return re.compile("".join(parts))


def answer(request: Request, reader: Reader, table: Table) -> Response:
    """The answer to `request` by the table: 404, 405, 403 without the right, 400 for a wrong name, else its page's."""
    found = table.match(request.method, request.path)
    if isinstance(found, Response):
        return found
    route, path_args = found
    if not request.viewer.can(route.right):
        return problem(403, f"this needs the right {route.right!r}, which you do not have")
    refused = _refused(request, route)
    return route.page(replace(request, path_args=path_args), reader) if refused is None else refused


def _refused(request: Request, route: Route) -> Response | None:
    """415 or 400 for a body, a name or a type that the call does not take, with the nearest that it does; else None.

    A page for people takes whatever a link to it may bring.
    """
    path = route.path.removeprefix(PREFIX)
    if path == route.path and path not in MACHINES:
        return None
    unknown = unknown_name("parameter", request.query, QUERY.get(path, MACHINES.get(path, ())))
    if unknown:
        return problem(400, unknown)
    if request.form and request.json is None:
        return problem(415, "send application/json")
    if isinstance(request.json, dict):
        fields = body_of_path(path)
        if wrong := unknown_name("field", request.json, fields) or wrong_type(request.json, fields):
            return problem(400, wrong)
    return None
