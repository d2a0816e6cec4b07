"""The Tasks extension: the handle of what was sent is its id, good after the client and the server have ended."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from mcp.client.extension import ClientExtension, ResultClaim
from mcp.shared.exceptions import MCPError
from mcp.types import Request, RequestParams, Result
from pydantic import ConfigDict, Field

from liteq.testing import drain

from .conftest import MODES


class Handle(Result):
    """The answer to a call whose task goes on."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = Field(alias="resultType")
    task_id: str = Field(alias="taskId")
    status: str


class OfExtension(ClientExtension):
    """A client that takes handles."""

    identifier = "io.modelcontextprotocol/tasks"

    def claims(self) -> Any:
        async def resolve(_claimed: Any, _context: Any) -> Any:
            raise AssertionError("the tests take the handle as it is")

        return [ResultClaim(result_type="task", model=Handle, resolve=resolve)]


class Params(RequestParams):
    taskId: str


class Anything(Result):
    model_config = ConfigDict(extra="allow")


class Asked(Request[Params, Literal["tasks/get", "tasks/cancel", "tasks/update"]]):
    name_param = "taskId"


def handle_of(agent, name, /, **arguments):
    """The handle with which a tool answers."""

    async def call():
        return await agent.client.session.call_tool(name, arguments, allow_claimed=True)

    return agent.do(call)


def asked(agent, method, id_):
    async def ask():
        return await agent.client.session.send_request(Asked(method=method, params=Params(taskId=id_)), Anything)

    return agent.do(ask).model_extra


MODERN = {"mode": "2026-07-28", "extensions": [OfExtension()]}


def test_a_handle_outlives_the_client_and_the_server(agent, app):
    first = agent(["view"], tasks=["shop.add"], **MODERN)
    handle = handle_of(first, "run_add", x=1)
    assert (handle.result_type, handle.status) == ("task", "working")
    assert app.storage.reader.find(handle.task_id).task == "shop.add"
    drain(app)
    other = agent(["view", "payloads"], **MODERN)  # another server, another client, that has sent nothing
    found = asked(other, "tasks/get", handle.task_id)
    assert (found["status"], found["result"]["isError"]) == ("completed", False)
    assert found["result"]["structuredContent"]["result"] == 3
    assert found["result"]["structuredContent"] == {
        name: value
        for name, value in other.call("wait", id=handle.task_id).items()
        if name not in {"ended", "waited_s"}
    }


def test_a_task_that_failed_is_completed_with_an_error(agent, app):
    mine = agent(["view", "payloads"], tasks=["shop.charge"], **MODERN)
    handle = handle_of(mine, "run_charge", order=1, card="4111")
    drain(app)
    found = asked(mine, "tasks/get", handle.task_id)
    assert (found["status"], found["result"]["isError"]) == ("completed", True)
    assert found["result"]["structuredContent"]["error"] == {"type": "ValueError", "message": "declined: ***"}


def test_a_run_is_cancelled_by_its_handle(agent, app):
    mine = agent(["view", "workflows", "cancel"], **MODERN)
    handle = handle_of(mine, "start_workflow", name="shop.pick", input={"order": 7})
    drain(app)
    assert asked(mine, "tasks/get", handle.task_id)["status"] == "working"
    asked(mine, "tasks/cancel", handle.task_id)
    drain(app)
    assert asked(mine, "tasks/get", handle.task_id)["status"] == "cancelled"
    asked(mine, "tasks/cancel", handle.task_id)  # once more: it is acknowledged


def test_without_the_right_nothing_is_cancelled(agent, app):
    mine = agent(["view"], tasks=["shop.add"], **MODERN)
    handle = handle_of(mine, "run_add", x=1)
    with pytest.raises(MCPError, match="to cancel needs the right 'cancel'"):
        asked(mine, "tasks/cancel", handle.task_id)
    assert app.storage.reader.find(handle.task_id).state == "pending"


def test_what_is_not_there_or_not_seen_has_no_handle(agent, app):
    other = app.tasks["shop.mail"].delay("a")
    mine = agent(["view"], queues=["celery"], **MODERN)
    for id_ in ("not-there", other.id):
        with pytest.raises(MCPError, match="there is no task with this id"):
            asked(mine, "tasks/get", id_)


def test_who_sees_nothing_gets_the_id_of_what_was_started(agent, app):
    """It was told that there is no such task, when the task had been sent: so it sent it again."""
    mine = agent(["workflows"], tasks=["shop.add"], **MODERN)
    for name, given in (("run_add", {"x": 1}), ("start_workflow", {"name": "shop.pick", "input": {"order": 7}})):
        sent = handle_of(mine, name, **given).structured_content
        assert app.storage.reader.find(sent["id"]) is not None


def test_a_client_without_the_extension_gets_the_id(agent, app):
    for mode in MODES:
        sent = agent(["view"], tasks=["shop.add"], mode=mode).call("run_add", x=1)
        assert app.storage.reader.find(sent["id"]) is not None
    plain = agent(["view"], mode="2026-07-28")
    with pytest.raises(MCPError, match="Missing required client capability"):
        asked(plain, "tasks/get", sent["id"])


# -- anybody's server --------------------------------------------------------------------------------------------------


@pytest.fixture
def theirs(app):
    """A server of the SDK's, with two tools over tasks of `app`."""
    from mcp.server.mcpserver import MCPServer

    from liteq_mcp import Tasks

    tasks = Tasks(app)

    @tasks.tool(app.tasks["shop.add"])
    def plus_one(x: int) -> dict:
        """Add one."""
        return {"x": x, "y": 1}

    tasks.tool(app.tasks["shop.pick"])
    server = MCPServer("theirs", extensions=[tasks])

    @server.tool()
    @tasks.tool(app.tasks["shop.add"])
    def add_later(x: int, y: int):
        """Add, some time."""

    return server


def test_tasks_are_tools_of_anybodys_server(app, theirs, connected):
    mine = connected(theirs, **MODERN)
    tools = mine.tools()
    assert tools.keys() == {"plus_one", "pick", "add_later"}
    assert "Add one." in tools["plus_one"].description
    assert tools["plus_one"].input_schema["properties"]["x"]["type"] == "integer"
    one, two = handle_of(mine, "plus_one", x=1), handle_of(mine, "add_later", x=1, y=5)
    run = handle_of(mine, "pick", order=7)
    drain(app)
    results = [asked(mine, "tasks/get", one.task_id), asked(mine, "tasks/get", two.task_id)]
    assert [one["result"]["structuredContent"]["result"] for one in results] == [2, 6]
    assert asked(mine, "tasks/get", run.task_id)["status"] == "working"
    foreign = app.tasks["shop.mail"].delay("a")
    with pytest.raises(MCPError, match="there is no task with this id"):
        asked(mine, "tasks/get", foreign.id)


def test_their_clients_without_the_extension_get_the_id(app, theirs, connected):
    for mode in MODES:
        sent = connected(theirs, mode=mode).call("plus_one", x=1)
        assert sent["state"] == "PENDING"
        assert app.storage.reader.find(sent["id"]).task == "shop.add"


def test_a_parameter_without_a_name_gets_its_argument_by_its_place(app, connected):
    from mcp.server.mcpserver import MCPServer

    from liteq_mcp import Tasks

    @app.task(name="shop.places")
    def places(a: int = 1, b: int = 2, /, c: int = 3) -> list[int]:
        return [a, b, c]

    tasks = Tasks(app)
    tasks.tool(places)
    mine = connected(MCPServer("theirs", extensions=[tasks]))
    sent = [mine.call("places", b=7, c=8)["id"], mine.call("places")["id"]]
    drain(app)
    assert [app.AsyncResult(id_).get(timeout=0) for id_ in sent] == [[1, 7, 8], [1, 2, 3]]


def test_a_parameter_without_a_name_that_needs_an_argument_is_told(app):
    from liteq_mcp.signatures import by_place

    @app.task(name="shop.needs")
    def needs(a: int, b: int = 2, /) -> int:
        return a + b

    assert by_place(needs, {"a": 1}) == ([1], {})
    with pytest.raises(ValueError, match="a: this argument is missing"):
        by_place(needs, {"b": 1})
