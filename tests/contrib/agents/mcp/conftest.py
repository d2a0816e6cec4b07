"""These need the SDK of the Model Context Protocol: `tox -e agents`. `agent(...)` is its official client, connected."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ

INSTALLED = importlib.util.find_spec("mcp") is not None
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]

MODES = ("2026-07-28", "legacy")  # both protocols: of a request each, and of a handshake


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path / 'q.db'}", result_expires=3600)
    _declare(app)
    yield app
    app.close()


def _declare(app: LiteQ) -> None:
    from liteq.workflow import ctx

    @app.task(name="shop.add")
    def add(x: int, y: int = 2) -> int:
        """Add two numbers."""
        return x + y

    @app.task(name="shop.charge", sensitive=["card"])
    def charge(order: int, card: str) -> str:
        raise ValueError(f"declined: {card}")

    @app.task(name="shop.mail", queue="mail")
    def mail(to: str) -> str:
        return f"sent to {to}"

    @app.workflow(name="shop.refund")
    def refund(order: int, amount: float) -> str:
        """Refund an order, once a person agrees."""
        decision = ctx.approval("refund?", details={"order": order, "amount": amount})
        return "refunded" if decision.ok else "refused"

    @app.workflow(name="shop.pick")
    def pick(order: int) -> Any:
        return ctx.wait_event("picked")


class Failed(Exception):
    """A tool answered with an error."""


class Agent:
    """An official client, of which each call is answered before it returns. `asked`: the questions to its person."""

    def __init__(self, portal: Any, client: Any, asked: list[str]) -> None:
        self._portal, self.client, self.asked = portal, client, asked

    def do(self, method: Callable[..., Any], *args: Any) -> Any:
        return self._portal.call(method, *args)

    def tools(self) -> dict[str, Any]:
        return {one.name: one for one in self.do(self.client.list_tools).tools}

    def result(self, name: str, /, **arguments: Any) -> Any:
        return self.do(self.client.call_tool, name, arguments)

    def call(self, name: str, /, **arguments: Any) -> Any:
        """The document that a tool answers with, which fits its schema. Raises Failed with its error."""
        from jsonschema import Draft202012Validator

        found = self.result(name, **arguments)
        if found.is_error:
            raise Failed(found.content[0].text)
        assert json.loads(found.content[0].text) == found.structured_content
        Draft202012Validator(self.schemas[name]).validate(found.structured_content)
        return found.structured_content

    @cached_property
    def schemas(self) -> dict[str, Any]:
        """The schemas of what the tools give."""
        return {name: one.output_schema for name, one in self.tools().items()}

    def read(self, uri: str) -> str:
        return str(self.do(self.client.read_resource, uri).contents[0].text)


@pytest.fixture
def connected() -> Iterator[Callable[..., Agent]]:
    """`connected(server)`: an Agent at a server: an object, an address, or a command that is to be started.

    `person`: what the person says when asked: True, False, "cancel", or a function; None: the client cannot ask.
    """
    from anyio.from_thread import start_blocking_portal
    from mcp import Client
    from mcp.types import ElicitResult

    with start_blocking_portal() as portal, ExitStack() as stack:

        def connect(server: Any, *, mode: str = "auto", person: Any = None, **more: Any) -> Agent:
            asked: list[str] = []

            async def answer(_context: Any, params: Any) -> ElicitResult:
                asked.append(params.message)
                assert params.requested_schema["properties"].keys() == {"confirm"}  # one form with one boolean
                if person == "cancel":
                    return ElicitResult(action="cancel")
                return ElicitResult(action="accept", content={"confirm": person() if callable(person) else person})

            client = Client(server, mode=mode, elicitation_callback=answer if person is not None else None, **more)
            return Agent(portal, stack.enter_context(portal.wrap_async_context_manager(client)), asked)

        yield connect


@pytest.fixture
def agent(app: LiteQ, connected: Callable[..., Agent]) -> Callable[..., Agent]:
    """`agent("admin")`: an Agent with these rights at a server over `app`, in this process; read-only by default."""
    from liteq_dashboard import Viewer
    from liteq_mcp.options import DEFAULT_RIGHTS, Options
    from liteq_mcp.server import mcp_server

    def connect(
        rights: Any = DEFAULT_RIGHTS, *, queues: Any = None, tasks: Any = (), workflows: Any = None, yes: Any = (),
        **more: Any,
    ) -> Agent:  # fmt: skip
        viewer = Viewer("ann", rights, queues)
        options = Options(tuple(tasks), workflows, frozenset(yes))
        return connected(mcp_server(app, lambda _: viewer, options), **more)

    return connect


@pytest.fixture
def acts(app: LiteQ) -> Callable[[], list[tuple[str, str, str, str]]]:
    """The audit, the oldest first: (actor, source, action, target)."""

    def read() -> list[tuple[str, str, str, str]]:
        from liteq.monitor.activity import activity

        items = activity(app)["items"]
        return [(one["actor"], one["source"], one["action"], one["target"]) for one in reversed(items)]

    return read
