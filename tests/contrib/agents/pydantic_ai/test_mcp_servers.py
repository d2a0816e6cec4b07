"""Tools of an MCP server: a session is held by the run, let go while the run waits, and opened again where needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.exceptions import UserError
from pydantic_ai.mcp import MCPToolset

from liteq import LiteQ
from liteq.testing import WorkflowTest
from liteq.workflow import actx
from liteq_pydantic_ai import LiteQDurability

from .scripted import Script, call, results

SERVER = Path(__file__).resolve().parent / "mcp_server.py"


def numbers(log: Path) -> MCPToolset[Any]:
    transport = StdioTransport(sys.executable, [str(SERVER), str(log)], keep_alive=False)
    return MCPToolset(transport, id="numbers", include_instructions=True, init_timeout=60, read_timeout=60)


def test_its_tools_are_steps_and_its_session_waits_for_nobody(app: LiteQ, bench: WorkflowTest, tmp_path: Path) -> None:
    log = tmp_path / "log"
    both = [call("add", a=1, b=2), call("add", a=3, b=4)]
    script = Script(both, [call("slow")], [call("add", a=5, b=6)], lambda m: f"{results(m)}")
    agent = Agent(script.model, name="adds", toolsets=[numbers(log)], capabilities=[LiteQDurability(retries=1)])

    @agent.tool_plain(metadata={"liteq": False})
    async def slow() -> str:
        await actx.sleep("1h")
        return "slept"

    @app.workflow(name="adds")
    async def adds() -> str:
        return (await agent.run("add")).output

    run = bench.start(adds)
    assert run.status == "waiting", "an open session does not keep the run awake"
    assert sorted(log.read_text().splitlines()) == ["add 1 2", "add 3 4", "session"], "one session for all its steps"
    bench.advance("1h")
    assert run.result(0) == "{'add-1-2': 3, 'add-3-4': 7, 'slow-': 'slept', 'add-5-6': 11}"
    assert log.read_text().splitlines()[3:] == ["session", "add 5 6"], "opened again, and nothing was repeated"
    names = [step.name for step in run.steps()]
    assert names.count("adds__mcp_server__numbers.call_tool.add") == 3
    assert "adds__mcp_server__numbers.get_tools" in names
    assert "Add numbers with `add`." in str(script.seen[0]), "its instructions are told to the model"


def test_one_that_a_run_is_given_is_refused(app: LiteQ, bench: WorkflowTest, tmp_path: Path) -> None:
    agent = Agent(Script("done").model, name="adds", capabilities=[LiteQDurability()])

    @app.workflow(name="adds")
    async def adds() -> str:
        return (await agent.run("add", toolsets=[numbers(tmp_path / "log")])).output

    with pytest.raises(UserError, match="cannot be added at runtime with liteq"):
        bench.run(adds)
    assert not (tmp_path / "log").exists()
