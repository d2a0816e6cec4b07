"""A recorded run of an agent is a test without a model: its answers come out of the file, and a change is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic_ai import Agent

from liteq import LiteQ
from liteq.cli import main
from liteq.testing import NotRecorded, WorkflowTest, drain
from liteq_pydantic_ai import LiteQDurability

from .scripted import Script, call, results


def made(app: LiteQ, script: Script, question: list[str]) -> Any:
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability()])

    @agent.tool_plain
    def look(x: int) -> str:
        return f"{x}!"

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run(question[0])).output

    return asks


def test_it_answers_without_the_model(app: LiteQ, tmp_path: Path) -> None:
    script = Script([call("look", x=1), call("look", x=2)], lambda m: f"{results(m)}")
    question = ["what?"]
    asks = made(app, script, question)
    run = asks.start()
    drain(app)
    answer = run.result(0)
    exported = CliRunner().invoke(main, ["-b", f"sqlite:///{tmp_path}/queue.db", "workflow", "export", run.id])
    assert exported.exit_code == 0, exported.output
    recording = tmp_path / "asks.jsonl"
    recording.write_text(exported.stdout)
    with WorkflowTest(app, recording=recording) as bench:
        assert bench.run(asks) == answer
    assert script.asked == [0, 1]
    with WorkflowTest(app, recording=recording, live=["look"]) as bench:
        assert bench.run(asks) == answer
    question[0] = "why?"
    with WorkflowTest(app, recording=recording) as bench, pytest.raises(NotRecorded, match=r"support__model\.request"):
        bench.run(asks)
    with WorkflowTest(app, recording=recording, live=["model"]) as bench:
        assert bench.run(asks) == answer
    assert script.asked == [0, 1, 0, 1]
