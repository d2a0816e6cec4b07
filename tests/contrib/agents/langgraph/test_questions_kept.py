"""Questions of a graph behind which its process is killed, before the run has noted them: each is asked, once."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt

from liteq import LiteQ
from liteq.exceptions import WorkflowError
from liteq.workflow import ctx
from liteq_langgraph import LiteQSaver, run, running

from ....integration.runs import Killed, Worker
from .graphs import Seen, line
from .test_running import BODIES, flow_of, noting

BREAKPOINTS = [{"interrupt_before": ["b", "c"]}, {"interrupt_after": ["a", "b"]}]


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Kills the process at the end of the given round of a graph, once."""

    def at(number: int) -> None:
        told, rounds = running.Call._told, []

        def dies(call: running.Call) -> Any:
            rounds.append(told(call))
            if len(rounds) == number:
                raise Killed
            return rounds[-1]

        monkeypatch.setattr(running.Call, "_told", dies)

    return at


def asked_of(app: LiteQ, worker: Worker, run_: Any, log: list[str]) -> list[tuple[Any, int]]:
    """The questions of a run, each approved, with how many nodes had run before it was asked."""
    found = []
    for _ in range(8):
        worker.run()
        app.clock.advance(120)
        for one in run_.approvals()[:1]:
            found.append((one.details, len(log)))
            run_.approve(one.title, data=f"{one.details}!" if isinstance(one.details, str) else None)
    return found


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_second_question_of_a_node(app: LiteQ, worker: Worker, kills: Any, kind: str, number: int) -> None:
    def ask(state: Any) -> Any:
        return {"seen": [interrupt("one"), interrupt("two")]}

    kills(number)
    run_ = flow_of(app, kind, line(ask)).start("x")
    assert [details for details, _ in asked_of(app, worker, run_, [])] == ["one", "two"]
    assert run_.result(0) == ["one!", "two!"]


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("given", BREAKPOINTS)
def test_a_breakpoint(app: LiteQ, worker: Worker, kills: Any, kind: str, number: int, given: dict[str, Any]) -> None:
    log: list[str] = []
    graph = line(*[noting(name, log) for name in "abc"]).compile(checkpointer=LiteQSaver(app), **given)
    kills(number)
    run_ = flow_of(app, kind, graph).start("x")
    assert asked_of(app, worker, run_, log) == [({"next": ["b"]}, 1), ({"next": ["c"]}, 2)]
    assert run_.result(0) == log == ["a", "b", "c"]


def nested(log: list[str]) -> StateGraph[Any]:
    """A graph of a node `a` and a subgraph `in` of `x`, `y` and `z`, which stands before `y` and `z`."""
    builder = StateGraph(Seen)
    builder.add_node("a", noting("a", log))
    builder.add_node("in", line(*[noting(name, log) for name in "xyz"]).compile(interrupt_before=["y", "z"]))
    builder.add_edge(START, "a")
    builder.add_edge("a", "in")
    builder.add_edge("in", END)
    return builder


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_breakpoint_of_a_subgraph(app: LiteQ, worker: Worker, kills: Any, number: int) -> None:
    log: list[str] = []
    kills(number)
    run_ = flow_of(app, "plain", nested(log).compile(checkpointer=LiteQSaver(app), interrupt_before=["in"])).start("x")
    assert asked_of(app, worker, run_, log) == [({"next": ["in"]}, n) for n in (1, 2, 3)]
    assert log == ["a", "x", "y", "z"]


def test_a_question_of_an_older_liteq_is_not_asked_anew(
    app: LiteQ, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It told the checkpoint of the graph alone."""
    told, log = running.Call._told, list[str]()
    monkeypatch.setattr(running.Call, "_told", lambda call: {k: v for k, v in told(call).items() if k != "at"})
    run_ = flow_of(app, "plain", nested(log).compile(checkpointer=LiteQSaver(app))).start("x")
    assert asked_of(app, worker, run_, log) == [({"next": ["in"]}, n) for n in (2, 3)]
    assert log == ["a", "x", "y", "z"]


def test_a_state_that_was_pruned_away_is_told(app: LiteQ, worker: Worker) -> None:
    """A replay has to know it; an empty state in its place would lead the body elsewhere."""
    saver = LiteQSaver(app)
    graph = line(noting("a", [])).compile(checkpointer=saver)

    @app.workflow(name="flow")
    def flow() -> list[str]:
        seen = list(run(graph, {"q": "x", "seen": []}, thread="shared")["seen"])
        ctx.sleep("1h")
        return seen

    run_ = flow.start()
    worker.run()
    saver.delete_thread("shared")
    app.clock.advance(3_600)
    worker.run()
    with pytest.raises(WorkflowError, match="lost the checkpoint"):
        run_.result(0)


def fan_out(app: LiteQ, log: list[str], times: int) -> Any:
    """A graph with a breakpoint before a node that is sent to so many times."""
    builder = StateGraph(Seen)
    builder.add_node("a", noting("a", log))
    builder.add_node("several_at_once", noting("b", log))
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", lambda state: [Send("several_at_once", state)] * times, ["several_at_once"])
    builder.add_edge("several_at_once", END)
    return builder.compile(checkpointer=LiteQSaver(app), interrupt_before=["several_at_once"])


@pytest.mark.parametrize("kind", BODIES)
def test_a_breakpoint_before_a_fan_out_names_each_node_once(app: LiteQ, worker: Worker, kind: str) -> None:
    """With a node's name for each of its calls the key was too long, and the run failed."""
    log: list[str] = []
    run_ = flow_of(app, kind, fan_out(app, log, 40)).start("x")
    worker.run()
    assert [one.title for one in run_.approvals()] == ["go on with several_at_once"]
    run_.approve("go on with several_at_once")
    worker.run()
    assert run_.result(0) == ["a"] + ["b"] * 40


@pytest.mark.parametrize("kind", BODIES)
def test_a_breakpoint_that_an_older_liteq_has_asked_about_keeps_its_title(
    app: LiteQ, worker: Worker, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    run_ = flow_of(app, kind, fan_out(app, log, 2)).start("x")
    with monkeypatch.context() as older:
        older.setattr(running, "breakpoint_of", lambda nodes: f"go on with {', '.join(nodes)}")
        worker.run()
    (asked,) = run_.approvals()
    run_.approve(asked.title)
    worker.run()
    assert run_.result(0) == ["a", "b", "b"]
    assert log == ["a", "b", "b"]


def test_an_interrupt_of_a_run_with_a_long_id_is_asked_for(app: LiteQ, worker: Worker) -> None:
    """Its key, which has the run's id in it, was too long."""

    def ask(state: Any) -> Any:
        return {"seen": [interrupt("one")]}

    run_ = flow_of(app, "plain", line(ask)).options(id="r" * 250).start("x")
    worker.run()
    (asked,) = run_.approvals()
    run_.approve(asked.title, data=1)
    worker.run()
    assert run_.result(0) == [1]
