"""Rows of what HTTP clients and browsers ask for: routes and URL parameters."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

from surface_row import ROOT, Row
from surface_tree import parsed

from liteq import LiteQ
from liteq.edge.gateway import Gateway
from liteq.edge.openapi import PARAMETERS
from liteq.monitor.documents import HEALTH
from liteq.storage.sqlite.url import OPTIONS as SQLITES

__all__ = ["of_parameters", "of_routes"]

STATUS = ("GET /health", "GET /status", "GET /tasks/{id}")  # of liteq_flask and liteq_fastapi


def of_routes() -> Iterator[Row]:
    """The dashboard's pages and its API, the gateway's calls, SQS's actions, the frameworks' status pages."""
    for route in sorted(_dashboard(), key=lambda one: (one.path, one.method)):
        yield Row("route", f"{route.method} /{route.path}", "dashboard", f"`{route.right}`")
    for method, path, right in gateway():
        yield Row("route", f"{method} {path}", "gateway", f"`{right}`" if right else "")
    for action in sqs_actions():
        yield Row("route", f"POST / {action}", "gateway, as SQS")
    for name in STATUS:
        yield Row("route", name, "status pages of Flask and FastAPI", "the token")


def of_parameters() -> Iterator[Row]:
    """Parameters behind the `?`: of broker URLs, of the dashboard, of the status pages."""
    for name in SQLITES:
        yield Row("parameter", name, "`sqlite:` broker URL")
    for name in _literal("liteq_postgres.url", "OURS"):
        yield Row("parameter", name, "`postgresql:` broker URL, beside libpq's")
    from liteq_dashboard.openapi import MACHINES, QUERY

    for path, names in sorted(QUERY.items()):
        for name in names:
            yield Row("parameter", name, f"`GET /api/v1/{path}`")
    for page, asked in MACHINES.items():
        for name in asked:
            yield Row("parameter", name, f"`GET /{page}` of the dashboard")
    for name, pages in sorted(_asked().items()):
        yield Row("parameter", name, "pages of the dashboard: " + ", ".join(sorted(pages)))
    for name in HEALTH:
        yield Row("parameter", name, "`GET /health` of the status pages")
    for (method, path), given in PARAMETERS.items():
        for one in given:
            if one["in"] == "query":
                yield Row("parameter", one["name"], f"`{method} {path}` of the gateway")


def _dashboard() -> Any:
    """The dashboard's table. Its pages need Jinja2 to be shown, and nothing of it to be listed."""
    sys.path.append(str(ROOT / "contrib"))
    if importlib.util.find_spec("jinja2") is None:
        for name in ("jinja2", "jinja2.runtime", "markupsafe"):
            sys.modules[name] = _StandIn(name)
    from liteq_dashboard.routes import routes

    return routes()


class _StandIn(ModuleType):
    """A module that is not installed: has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


def gateway() -> list[tuple[str, str, str]]:
    """The method, path and right of each call of the gateway."""
    return [(one.method, one.path, one.right) for one in _gateway()._table.routes]


def _gateway() -> Gateway:
    return Gateway(LiteQ("surface", broker="sqlite:///surface.db", set_as_current=False))


def sqs_actions() -> list[str]:
    """The actions of SQS that the gateway knows."""
    return sorted(_gateway()._face._actions)


def _asked() -> dict[str, set[str]]:
    """The parameters that the dashboard's pages read, each with the modules that do."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "contrib" / "liteq_dashboard").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "request.get"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.setdefault(str(node.args[0].value), set()).add(path.stem)
    return found


def _literal(module: str, name: str) -> Any:
    tree = parsed(module)
    for node in tree.body if tree else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise LookupError(f"{module} has no {name}")
