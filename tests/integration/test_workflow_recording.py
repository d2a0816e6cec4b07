"""A recorded run is a test: its steps are answered out of an export, and a call that is not in it is named."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from liteq import LiteQ
from liteq.monitor.runs.run_export import exported, line_of
from liteq.testing import NotRecorded, WorkflowTest
from liteq.workflow import StepOptions, actx, ctx

app = LiteQ("recorded", broker="sqlite:////nowhere/at/all.db", set_as_current=False)
paid: list[object] = []


@app.step
def model(text: str) -> str:
    paid.append(text)
    return f"answer to {text}"


@app.step(retries=1, backoff=0)
def tool(n: int) -> int:
    paid.append(n)
    if n == 13:
        raise ValueError("thirteen")
    return n * 2


@app.task
def ship(n: int) -> str:
    paid.append(f"shipped {n}")
    return f"box {n}"


@app.workflow
def agent(question: str, n: int = 1) -> list[str]:
    found = [model(question)]
    found.append(str(tool(n)))
    ctx.sleep("1h")
    found.append(model(f"{question} {ctx.now().isoformat()} {ctx.uuid()}"))
    return found


@app.workflow
def asks(n: int) -> str:
    if not ctx.approval("Ship?", details={"n": n}, timeout="2d", default=False).ok:
        return "not shipped"
    where = ctx.wait_event("address")
    boxes = ctx.map(ship, [n, n + 1])
    ship.delay(99)
    return f"{boxes} to {where}, {ctx.call(ship, n)}"


@app.workflow
async def together(n: int) -> list[int]:
    return await asyncio.gather(*(actx.run(abs, -i) for i in range(n)))


@app.workflow
def keyed(run: str = "") -> str:
    return model.options(key=f"{run}.first")("one") + model.options(key=f"{run}.second")("two")


@app.workflow(sensitive=("token",))
def secretly(token: str, n: int) -> str:
    ctx.emit("news", f"with {token}")
    ctx.set("seen", token)
    return model(f"{token} {n}")


def recorded(path, flow, *args, act=lambda run: None, **kwargs):
    """The recording of a run that is executed for real."""
    with WorkflowTest(app) as t:
        run = t.start(flow, *args, **kwargs)
        act(run)
        t.advance("10d")
        path.write_text(line_of(exported(app, run.id)) + "\n")
        result = run.result() if run.status == "succeeded" else None
    paid.clear()
    return result


@pytest.fixture(autouse=True)
def fresh():
    paid.clear()


@pytest.fixture
def tape(tmp_path):
    return tmp_path / "run.jsonl"


def test_a_recorded_run_is_a_test_without_a_model(tape):
    result = recorded(tape, agent, "why?")
    with WorkflowTest(app, recording=tape) as t:
        assert t.run(agent, "why?") == result, "times and ids that its arguments are made of, too"
    assert paid == []


def test_a_recording_answers_without_a_with_and_each_time(tape):
    result = recorded(tape, agent, "why?")
    test = WorkflowTest(app, recording=tape)
    assert test.run(agent, "why?") == test.run(agent, "why?") == result
    assert paid == []


def test_steps_that_are_named_live_are_executed(tape):
    recorded(tape, agent, "why?", 5)
    with WorkflowTest(app, recording=str(tape), live=["tool"]) as t:
        t.run(agent, "why?", 5)
    assert paid == [5]
    with tape.open("rb") as file, WorkflowTest(app, recording=file, live=[model]) as t:
        t.run(agent, "why?", 5)
    assert [str(one)[:4] for one in paid[1:]] == ["why?", "why?"]


def test_a_mock_comes_before_the_recording(tape):
    recorded(tape, agent, "why?", 5)
    with WorkflowTest(app, recording=tape) as t:
        t.mock("tool", result=7)
        assert t.run(agent, "why?", 5)[1] == "7"
    assert paid == []


def test_a_step_with_other_arguments_is_named(tape):
    recorded(tape, agent, "why?")
    with WorkflowTest(app, recording=tape) as t, pytest.raises(NotRecorded) as raised:
        t.run(agent, "how?")
    text = str(raised.value)
    assert "no step 'tests.integration.test_workflow_recording.model'" in text
    assert "at call 1" in text
    assert "what differs: other arguments" in text
    assert paid == []


def test_a_call_more_a_key_and_a_name_that_differ_are_named(tape):
    @app.workflow(name="changing")
    def changing() -> str:
        return model("a")

    recorded(tape, changing)

    def differs(body):
        app.tasks["changing"].function = body
        with WorkflowTest(app, recording=tape) as t, pytest.raises(NotRecorded) as raised:
            t.run(app.tasks["changing"])
        return str(raised.value).partition("what differs: ")[2]

    def twice() -> str:
        return model("a") + model("a")

    def other_key() -> str:
        return model.options(key="k")("a")

    def other_name() -> str:
        return str(ctx.run(len, "a"))

    assert differs(twice).startswith("place (it was called once, and this is one call more)")
    assert differs(other_key).startswith("key (None, not 'k')")
    assert "name (" in differs(other_name)
    assert "builtins.len" in differs(other_name)
    assert paid == []


def test_what_is_not_recorded_passes_every_except_exception_of_the_body(tape):
    @app.workflow(name="catches")
    async def catches(text: str) -> str:
        try:
            return await actx.step("ask", model.function, args=(text,), options=StepOptions())
        except Exception:
            return "caught"

    recorded(tape, catches, "a")
    with WorkflowTest(app, recording=tape) as t:
        assert t.run(catches, "a") == "answer to a"
        with pytest.raises(NotRecorded, match="other arguments"):
            t.run(catches, "b")


def test_a_failure_is_recorded_too(tape):
    recorded(tape, agent, "why?", 13)
    with WorkflowTest(app, recording=tape) as t:
        with pytest.raises(ValueError, match="thirteen"):
            t.run(agent, "why?", 13)
        run = t.start(agent, "why?", 13)
        assert run.steps()[1].attempts == 2
    assert paid == []


def decide(run):
    run.approve("Ship?", by="ann", data={"fast": True})
    run.send("address", "here")


def test_decisions_and_events_of_the_recording_end_the_waits(tape):
    result = recorded(tape, asks, 3, act=decide)
    assert result == "['box 3', 'box 4'] to here, box 3"
    with WorkflowTest(app, recording=tape) as t:
        assert t.run(asks, 3) == result
        run = t.start(asks, 3)
        run.approve("Ship?", ok=False)
        assert run.result() == "not shipped", "one that was started is asked by the test"
    assert paid == []


def test_a_decision_that_nobody_took_is_none_here_either(tape):
    recorded(tape, asks, 3)
    with WorkflowTest(app, recording=tape) as t:
        assert t.run(asks, 3) == "not shipped"


def test_branches_are_answered_at_any_place(tape):
    recorded(tape, together, 3)
    with WorkflowTest(app, recording=tape) as t:
        assert t.run(together, 3) == [0, 1, 2]
        with pytest.raises(NotRecorded):
            t.run(together, 4)


@app.workflow
def child(n: int) -> str:
    return model(f"child {n}")


@app.workflow
def parent(n: int) -> list[str]:
    return [*ctx.gather([ctx.spawn(child, i) for i in range(n)]), ctx.call(model, "sent")]


@pytest.mark.parametrize("whole", [True, False])
def test_children_are_executed_where_they_are_recorded_and_answered_where_not(tape, whole):
    with WorkflowTest(app) as t:
        run = t.start(parent, 2)
        result = run.result()
        ids = [run.id, *(step.child_id for step in run.steps() if step.child_id and whole)]
        tape.write_text("\n".join(line_of(exported(app, id_)) for id_ in ids))
    paid.clear()
    with WorkflowTest(app, recording=tape) as t:
        assert t.run(parent, 2) == result == ["answer to child 0", "answer to child 1", "answer to sent"]
        assert len(app.runs(name=child.name)) == (2 if whole else 0)
    assert paid == []


def test_a_strict_replay_runs_out_of_a_recording(tape):
    result = recorded(tape, agent, "why?")
    app.conf.workflow_strict_replay = True
    try:
        with WorkflowTest(app, recording=tape) as t:
            assert t.run(agent, "why?") == result
    finally:
        app.conf.workflow_strict_replay = False
    assert paid == []


def test_an_async_test_is_answered_too(tape):
    recorded(tape, together, 3)

    async def test() -> None:
        with WorkflowTest(app, recording=tape) as t:
            assert await t.arun(together, 3) == [0, 1, 2]
            with pytest.raises(NotRecorded):
                await t.arun(together, 4)

    asyncio.run(test())


def test_keys_may_bear_the_id_of_the_run(tape):
    @app.workflow(name="by_run")
    def by_run() -> str:
        return model.options(key=f"{ctx.run_id}.first")(f"from {ctx.run_id}")

    recorded(tape, by_run)
    with WorkflowTest(app, recording=tape) as t:
        first = t.run(by_run)
        assert t.run(by_run) == first, "under another id"
    assert paid == []


def test_what_is_sensitive_is_neither_exported_nor_needed(tape):
    recorded(tape, secretly, "s3cr3t-token", 7)
    assert "s3cr3t" not in tape.read_text()
    with WorkflowTest(app, recording=tape) as t:
        assert t.run(secretly, "another", 7) == "answer to *** 7"
    assert paid == []


def test_a_misspelt_live_name_is_refused_with_the_nearest(tape):
    recorded(tape, agent, "why?")
    with pytest.raises(LookupError, match="did you mean 'model'"):
        WorkflowTest(app, recording=tape, live=["modell"])
    with pytest.raises(TypeError, match="a list of names"):
        WorkflowTest(app, recording=tape, live="model")
    with pytest.raises(TypeError, match="live="):
        WorkflowTest(app, live=["model"])


def test_what_is_no_recording_is_refused_with_its_line(tape):
    with pytest.raises(FileNotFoundError, match="--liteq-record"):
        WorkflowTest(app, recording=tape)
    tape.write_text("\n{}\n")
    with pytest.raises(ValueError, match=r"run\.jsonl, line 2: not a run"):
        WorkflowTest(app, recording=tape)


TESTS = """
from pathlib import Path

from liteq import LiteQ
from liteq.testing import WorkflowTest

app = LiteQ("plugged", broker="sqlite:////nowhere/at/all.db", set_as_current=False)

@app.step
def model(text: str) -> str:
    with open("paid", "a") as file:
        file.write(text + ";")
    return text.upper()

@app.workflow
def flow(text: str) -> str:
    return model(text)

def test_flow():
    with WorkflowTest(app, recording=Path("tapes/flow.jsonl")) as t:
        assert t.run(flow, "hello") == "HELLO"
"""


ALONE = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # plugins of the environment take seconds to load


def test_pytest_writes_the_recording_when_it_is_told_to(tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ("liteq.testing.plugin",)\n')
    (tmp_path / "test_flow.py").write_text(TESTS)

    def run(*options):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ALONE)

    first = run()
    assert first.returncode == 1
    assert "there is no recording tapes/flow.jsonl" in first.stdout
    assert run("--liteq-record").returncode == 0
    assert (tmp_path / "paid").read_text() == "hello;"
    last = run()
    assert last.returncode == 0, last.stdout
    assert (tmp_path / "paid").read_text() == "hello;"
