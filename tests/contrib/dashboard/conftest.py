"""These need Jinja2: `tox -e dashboard`. `client(app)` asks the route table, without a host before it."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from liteq import LiteQ

INSTALLED = importlib.util.find_spec("jinja2") is not None
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]

BASE = "/ops"


class Answer:
    """A response, with its body as text and as JSON."""

    def __init__(self, response: Any) -> None:
        self.status = response.status
        self.headers = dict(response.headers)
        body = response.body
        self.body = body if isinstance(body, bytes) else b"".join(body)
        self.text = self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The words of an action, which the next page shows."""
        from types import SimpleNamespace
        from urllib.parse import unquote

        from liteq_dashboard.render import MESSAGE_COOKIE, cookies

        sent = SimpleNamespace(headers={"cookie": self.headers.get("set-cookie", "")})
        return unquote(cookies(sent).get(MESSAGE_COOKIE, ""))

    def words(self) -> str:
        """The text of a page without its tags, in one line."""
        from html import unescape

        return unescape(" ".join(re.sub(r"<[^>]*>", " ", self.text).split()))


class Client:
    """`get` and `post` on the route table: what the pages answer to one viewer."""

    def __init__(self, app: LiteQ, viewer: Any, base: str = BASE) -> None:
        self.app, self.viewer, self.base = app, viewer, base

    def get(self, path: str, **headers: str) -> Answer:
        """GET a path with its query; below the base, or relative to it. Keywords are headers, `-` as `_`."""
        return self.ask("GET", path, headers)

    def post(self, path: str, form: dict[str, Any] | None = None, *, json: object = None, **headers: str) -> Answer:
        """POST a form, or JSON."""
        return self.ask("POST", path, headers, form, json)

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        form: dict[str, Any] | None = None,
        document: object = None,
    ) -> Answer:
        from liteq_dashboard.http import Reader, Request
        from liteq_dashboard.routes import Table, answer, routes

        parts = urlsplit(path.removeprefix(self.base).lstrip("/"))
        from urllib.parse import unquote

        request = Request(
            method=method,
            path=unquote(parts.path),
            viewer=self.viewer,
            base=self.base,
            query=parse_qs(parts.query, keep_blank_values=True),
            form={name: value if isinstance(value, list) else [str(value)] for name, value in (form or {}).items()},
            json=document,
            headers={name.lower().replace("_", "-"): value for name, value in headers.items()},
        )
        return Answer(answer(request, Reader(self.app, self.viewer.sight), Table(routes())))


@pytest.fixture
def client() -> Callable[..., Client]:
    """`client(app)` as admin; `client(app, "viewer")` with a role; `client(app, viewer=Viewer(...))`."""
    from liteq_dashboard import Viewer

    def make(app: LiteQ, role: str = "admin", *, viewer: Any = None, queues: Any = None) -> Client:
        return Client(app, viewer or Viewer("ann", [role], queues))

    return make
