"""Graphs in bodies: killed in each node they go on there; they ask people, send nodes to queues, and hold nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import gc
import operator
import os
import weakref
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from langgraph.managed import RemainingSteps
from langgraph.types import interrupt
from pydantic import BaseModel

from liteq import LiteQ
from liteq.exceptions import LeaseLost, WorkflowError
from liteq.message import Hold
from liteq.testing import WorkflowTest
from liteq.workflow import ctx
from liteq.workflow.history.frames import here
from liteq_langgraph import LiteQSaver, arun, node, run

from ....integration.runs import Killed, Worker, killed_at
from .graphs import at, line, rows

BODIES = ["plain", "async"]


def flow_of(app: LiteQ, kind: str, graph: Any, **given: Any) -> Any:
    """A workflow that runs `graph` and returns what it has seen."""
    asked = given.pop("given", {"seen": []})
    if kind == "plain":

        @app.workflow(name="flow")
        def flow(q: str) -> list[Any]:
            return list(run(graph, asked and {"q": q, **asked}, **given)["seen"])
    else:

        @app.workflow(name="flow")
        async def flow(q: str) -> list[Any]:
            return list((await arun(graph, asked and {"q": q, **asked}, **given))["seen"])

    return flow


def noting(name: str, log: list[str], *, dies: bool = False) -> Any:
    """A node that notes that it ran, and is killed once, if it `dies`."""

    def step(state: Any) -> Any:
        log.append(name)
        if dies and log.count(name) == 1:
            raise Killed
        return {"seen": [name]}

    step.__name__ = name
    return step


@pytest.mark.parametrize("kind", BODIES)
def test_the_state_of_a_graph_is_the_result(app: LiteQ, worker: Worker, kind: str) -> None:
    log: list[str] = []
    started = flow_of(app, kind, line(noting("a", log), noting("b", log))).start("x")
    worker.run()
    assert started.result(0) == ["a", "b"]
    assert [step.name for step in started.steps()] == ["LangGraph.invoke"]


@pytest.mark.parametrize("kind", BODIES)
def test_a_graph_killed_in_each_node_goes_on_there(app: LiteQ, worker: Worker, kind: str) -> None:
    """Six kills, and three would bury it: but each saved superstep is progress."""
    log: list[str] = []
    names = ["a", "b", "c", "d", "e", "f"]
    started = flow_of(app, kind, line(*[noting(name, log, dies=True) for name in names])).start("x")
    worker.run()
    assert started.result(0) == names
    assert log == [name for name in names for _ in range(2)]


def test_a_node_that_kills_its_process_every_time_is_buried(app: LiteQ, worker: Worker) -> None:
    def bad(state: Any) -> Any:
        raise Killed

    started = flow_of(app, "plain", line(bad)).start("x")
    worker.run(20)
    assert started.status == "failed"


@pytest.mark.parametrize("kind", BODIES)
def test_interrupts_are_approvals_and_the_graph_gets_their_data(app: LiteQ, kind: str) -> None:
    def first(state: Any) -> Any:
        return {"seen": [interrupt({"question": "sure?"}), interrupt("and?")]}

    with WorkflowTest(app) as test:
        started = test.start(flow_of(app, kind, line(first)), "x")
        (asked,) = started.approvals()
        assert asked.details == {"question": "sure?"}
        started.approve(asked.title, data={"answer": 1})
        (asked,) = started.approvals()
        assert asked.details == "and?"
        started.approve(asked.title, ok=False)
        assert started.result() == [{"answer": 1}, False]


@pytest.mark.parametrize("kind", BODIES)
def test_a_node_that_is_a_task_gets_its_arguments_as_elsewhere(app: LiteQ, worker: Worker, kind: str) -> None:
    """Values for which JSON has no word, too; and so the graph gets the result."""
    day, given = datetime(2026, 11, 30, tzinfo=UTC), []

    @app.task(name="shop.next_day")
    def next_day(at: datetime, wei: int) -> datetime:
        given.append((at, wei))
        return at + timedelta(days=1)

    graph = line(node(next_day, lambda state: (day, 10**20), lambda found: {"seen": [found]}))
    started = flow_of(app, kind, graph).start("x")
    worker.run()
    assert given == [(day, 10**20)]
    assert started.result(0) == [day + timedelta(days=1)]


@pytest.mark.parametrize("kind", BODIES)
def test_several_interrupts_are_asked_for_together(app: LiteQ, kind: str) -> None:
    log: list[str] = []
    builder = line(noting("a", log))
    for name in ("left", "right"):
        builder.add_node(name, lambda state, name=name: {"seen": [f"{name}: {interrupt(name)}"]})
        builder.add_edge("a", name)
    with WorkflowTest(app) as test:
        started = test.start(flow_of(app, kind, builder), "x")
        titles = {one.details: one.title for one in started.approvals()}
        assert titles.keys() == {"left", "right"}
        started.approve(titles["right"], data="r")
        assert [one.details for one in started.approvals()] == ["left"]
        started.approve(titles["left"], data="l")
        assert sorted(started.result()) == ["a", "left: l", "right: r"]
    assert log == ["a"]


class Decision(BaseModel):
    amount: int


def test_the_schema_of_an_interrupt_is_the_form(app: LiteQ) -> None:
    def ask(state: Any) -> Any:
        return {"seen": [interrupt("how much?", response_schema=Decision).amount]}

    with WorkflowTest(app) as test:
        started = test.start(flow_of(app, "plain", line(ask)), "x")
        (asked,) = started.approvals()
        with pytest.raises(ValueError, match="amount"):
            started.approve(asked.title, data={"amount": "much"})
        started.approve(asked.title, data={"amount": 3})
        assert started.result() == [3]


@pytest.mark.parametrize("kind", BODIES)
def test_an_interrupt_may_wait_for_an_event(app: LiteQ, kind: str) -> None:
    with WorkflowTest(app) as test:
        graph = line(lambda state: {"seen": [interrupt({"event": "paid"})]})
        started = test.start(flow_of(app, kind, graph), "x")
        assert started.info().waiting_for == ["event paid"]
        started.send("paid", {"sum": 5})
        assert started.result() == [{"sum": 5}]


@pytest.mark.parametrize("kind", BODIES)
def test_a_killed_answer_is_given_once(app: LiteQ, worker: Worker, kind: str) -> None:
    """The node dies between its two questions: the first answer is not taken for the second one."""
    log: list[str] = []

    def ask(state: Any) -> Any:
        one = interrupt("one?")
        log.append("between")
        if len(log) == 1:
            raise Killed
        return {"seen": [one, interrupt("two?")]}

    started = flow_of(app, kind, line(ask, noting("b", log, dies=True))).start("x")
    worker.run()
    for answer in ("1", "2"):
        (asked,) = started.approvals()
        started.approve(asked.title, data=answer)
        worker.run()
    assert started.result(0) == ["1", "2", "b"]


@pytest.mark.parametrize("kind", BODIES)
def test_a_subgraph_asks_and_is_killed_as_its_graph_is(app: LiteQ, worker: Worker, kind: str) -> None:
    log: list[str] = []

    def ask(state: Any) -> Any:
        return {"seen": [interrupt("one?"), interrupt("two?")]}

    inner = line(noting("b", log, dies=True), ask, noting("c", log, dies=True)).compile()
    builder = line(noting("a", log))
    builder.add_node("inner", inner)
    builder.add_edge("a", "inner")
    started = flow_of(app, kind, builder).start("x")
    worker.run()
    for answer in ("1", "2"):
        (asked,) = started.approvals()
        started.approve(asked.title, data=answer)
        worker.run()
    assert started.result(0)[-3:] == ["1", "2", "c"]
    assert log == ["a", "b", "b", "c", "c"]


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("depth", [1, 2])
def test_a_subgraph_that_saves_nothing_is_run(app: LiteQ, worker: Worker, kind: str, depth: int) -> None:
    log: list[str] = []
    inner = line(noting("b", log), noting("c", log)).compile(checkpointer=False)
    builder = line(noting("a", log, dies=True))
    builder.add_node("inner", inner if depth == 1 else line(inner).compile())
    builder.add_edge("a", "inner")
    started = flow_of(app, kind, builder).start("x")
    worker.run()
    assert started.result(0)[-2:] == ["b", "c"]
    assert log == ["a", "a", "b", "c"]


def test_a_breakpoint_is_an_approval(app: LiteQ) -> None:
    log: list[str] = []
    graph = line(noting("a", log), noting("b", log)).compile(checkpointer=LiteQSaver(app), interrupt_before=["b"])
    with WorkflowTest(app) as test:
        started = test.start(flow_of(app, "plain", graph), "x")
        assert [one.title for one in started.approvals()] == ["go on with b"]
        assert log == ["a"]
        started.approve("go on with b")
        assert started.result() == ["a", "b"]
        denied = test.start(flow_of(app, "plain", graph), "x")
        denied.approve("go on with b", ok=False)
        with pytest.raises(WorkflowError, match="not to go on"):
            denied.result()


class Kind(enum.Enum):
    BIG = "big"


@dataclasses.dataclass
class Parcel:
    kind: Kind
    weight: int


class Post(TypedDict, total=False):
    parcels: Annotated[list[Parcel], operator.add]
    last: Parcel | None


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_graph_declares_the_classes_of_its_state(app: LiteQ, worker: Worker, kind: str, is_compiled: bool) -> None:
    builder = StateGraph(Post)
    builder.add_node("weigh", lambda state: {"parcels": [Parcel(Kind.BIG, 7)], "last": Parcel(Kind.BIG, 8)})
    builder.add_node("end", lambda state: {"parcels": [state["last"]]})
    for one, other in ((START, "weigh"), ("weigh", "end"), ("end", END)):
        builder.add_edge(one, other)
    graph: Any = builder.compile() if is_compiled else builder

    if kind == "plain":

        @app.workflow(name="posts")
        def posts() -> list[int]:
            return [one.weight for one in run(graph, {"parcels": []})["parcels"]]
    else:

        @app.workflow(name="posts")
        async def posts() -> list[int]:
            return [one.weight for one in (await arun(graph, {"parcels": []}))["parcels"]]

    started = posts.start()
    worker.run()
    assert started.result(0) == [7, 8]


class Limited(TypedDict, total=False):
    seen: Annotated[list[str], operator.add]
    remaining_steps: RemainingSteps


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_graph_may_look_how_many_steps_it_has_left(app: LiteQ, worker: Worker, is_compiled: bool) -> None:
    builder = StateGraph(Limited)
    builder.add_node("look", lambda state: {"seen": [str(state["remaining_steps"] > 1)]})
    builder.add_edge(START, "look")
    graph: Any = builder.compile() if is_compiled else builder
    started = flow_of(app, "plain", graph).start("x")
    worker.run()
    assert started.result(0) == ["True"]


def test_an_entrypoint_declares_the_classes_of_its_signature(app: LiteQ, worker: Worker) -> None:
    def weigh(parcel: Any) -> Any:
        return Parcel(parcel.kind, parcel.weight + 1)

    weigh.__annotations__ = {"parcel": Parcel, "return": Parcel}  # LangGraph takes a text as it is
    graph = entrypoint()(weigh)

    @app.workflow(name="weighs")
    def weighs() -> int:
        return int(run(graph, Parcel(Kind.BIG, 7)).weight)

    started = weighs.start()
    worker.run()
    assert started.result(0) == 8


# -- nodes that are tasks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BODIES)
def test_a_node_is_a_task_in_its_queue(app: LiteQ, worker: Worker, kind: str) -> None:
    @app.task(name="render", queue="pages")
    def render(page: str) -> dict[str, str]:
        return {"url": page.upper()}

    log: list[str] = []
    shown = node(render, lambda state: (state["q"],), lambda found: {"seen": [found["url"]]})
    started = flow_of(app, kind, line(noting("a", log), shown, noting("b", log))).start("page")
    worker.run()
    assert started.status == "waiting"
    pages = Worker(app, "pages")
    lease = app.storage.turn((), ["pages"], worker=pages.number, limit=1, visibility_s=60).leases[0]
    app.storage.settle([(lease, pages.execute(lease))])
    worker.run()
    assert started.result(0) == ["a", "PAGE", "b"]
    assert log == ["a", "b"]


@pytest.mark.parametrize("kind", BODIES)
def test_no_task_is_sent_by_the_words_of_a_model(app: LiteQ, worker: Worker, kind: str) -> None:
    """A node that asks a person about a tool's arguments, as a model wrote them."""
    called: list[str] = []
    app.task(name="drop")(called.append)
    words = {"liteq.call": {"task": "drop", "args": ["all"]}}
    started = flow_of(app, kind, line(lambda state: {"seen": [interrupt(words)]})).start("x")
    worker.run()
    (asked,) = started.approvals()
    assert asked.details == words
    started.approve(asked.title, ok=False)
    worker.run()
    assert started.result(0) == [False]
    assert called == []


def test_outside_of_a_run_a_node_calls_its_task_in_place(app: LiteQ) -> None:
    @app.task(name="double")
    def double(n: str) -> str:
        return n * 2

    @app.task(name="twice")
    async def twice(n: str) -> str:
        return n * 2

    for task in (double, twice):
        graph = line(node(task, lambda state: (state["q"],), lambda found: {"seen": [found]})).compile()
        assert graph.invoke({"q": "ab", "seen": []})["seen"] == ["abab"]
        assert asyncio.run(graph.ainvoke({"q": "ab", "seen": []}))["seen"] == ["abab"]
    with pytest.raises(TypeError, match="a tuple of arguments, not 'ab'"):
        line(node(double, lambda state: state["q"], lambda found: {})).compile().invoke({"q": "ab"})


def test_a_tasks_failure_is_raised_in_the_body(app: LiteQ) -> None:
    @app.task(name="fails")
    def fails() -> None:
        raise KeyError("no such page")

    graph = line(node(fails, lambda state: (), lambda found: {}))
    with WorkflowTest(app) as test, pytest.raises(KeyError, match="no such page"):
        test.run(flow_of(app, "plain", graph), "x")


# -- threads ---------------------------------------------------------------------------------------------------------


def test_a_named_thread_is_a_conversation_over_runs(app: LiteQ, worker: Worker) -> None:
    graph = line(lambda state: {"seen": [f"re {state['q']}"]})
    flow = flow_of(app, "plain", graph, thread="talk")
    runs = []
    for question in ("one", "two"):
        runs.append(flow.start(question))
        worker.run()
    assert [one.result(0) for one in runs] == [["re one"], ["re one", "re two"]]
    assert runs[0].result(0) == ["re one"]


@pytest.mark.parametrize("kind", BODIES)
def test_a_thread_goes_on_from_a_checkpoint_of_its_past(app: LiteQ, worker: Worker, kind: str) -> None:
    """Killed in the node there, and asked in the next one: it is in the new branch from the first superstep on."""
    log: list[str] = []
    ask = lambda state: {"seen": [interrupt("which?")]}  # noqa: E731
    graph = line(noting("a", log), noting("b", log), ask).compile(checkpointer=LiteQSaver(app))
    graph.invoke({"q": "x", "seen": []}, at("t"))
    (past,) = [one for one in graph.get_state_history(at("t")) if one.next == ("b",)]
    graph.update_state(at("t"), {"seen": ["other"]})
    log[:] = ["a"]

    flow = flow_of(app, kind, graph, thread="t", config=at("t", **past.config["configurable"]), given=None)
    started = flow.start("x")
    with killed_at(app, 1, before=True):
        worker.run()
    for answer in started.approvals():
        started.approve(answer.title, data="this")
        worker.run()
    assert started.result(0) == ["a", "b", "this"]
    assert log == ["a", "b"]


def test_a_graph_that_a_body_makes_leaves_with_it(app: LiteQ, worker: Worker) -> None:
    made: list[Any] = []

    @app.workflow(name="flow")
    def flow() -> list[Any]:
        graph = line(lambda state: {"seen": [1]})
        made.append(weakref.ref(graph))
        return list(run(graph, {"q": "x"})["seen"])

    for _ in range(3):
        flow.start()
        worker.run()
    gc.collect()
    assert [one() for one in made[:2]] == [None, None]


def test_a_body_may_run_several_graphs_each_on_a_thread_of_the_runs_own(app: LiteQ, worker: Worker) -> None:
    graph = line(lambda state: {"seen": [state["q"]]})

    @app.workflow(name="twice")
    def twice() -> list[Any]:
        return [run(graph, {"q": "a"})["seen"], run(graph, {"q": "b"})["seen"]]

    started = twice.start()
    worker.run()
    assert started.result(0) == [["a"], ["b"]]
    saver = LiteQSaver(app)
    assert {one.config["configurable"]["thread_id"] for one in saver.list(None)} == {started.id, f"{started.id}.2"}

    app.clock.advance(10 * 86_400)
    while app.storage.runs.expire(86_400):
        pass
    assert rows(saver) == {"checkpoints": 0, "writes": 0, "values": 0, "blobs": 0}


def test_a_fork_before_the_graph_runs_it_on_a_thread_of_its_own(app: LiteQ, worker: Worker) -> None:
    log: list[str] = []
    graph = line(noting("a", log), lambda state: {"seen": [interrupt("which?")]})
    runs = [flow_of(app, "plain", graph).start("x")]
    worker.run()
    runs.append(runs[0].fork(1))
    worker.run()
    for one, answer in zip(runs, ("first", "second"), strict=True):
        (asked,) = one.approvals()
        one.approve(asked.title, data=answer)
        worker.run()
    assert [one.result(0) for one in runs] == [["a", "first"], ["a", "second"]]
    assert log == ["a", "a"]


@pytest.mark.parametrize("how", ["fork", "rewind"])
def test_a_graph_does_not_take_another_answer_where_it_has_gone_on(app: LiteQ, worker: Worker, how: str) -> None:
    """Its thread holds the first one: another is refused, and not silently left."""
    graph = line(lambda state: {"seen": [interrupt("which?")]})
    started = flow_of(app, "plain", graph).start("x")
    worker.run()
    (asked,) = started.approvals()
    started.approve(asked.title, data="first")
    app.clock.advance(1)  # what begins later has a higher number
    worker.run()
    n = next(step.n for step in started.steps() if step.kind == "approval")
    other = started.fork(n) if how == "fork" else started
    if how == "rewind":
        started.rewind(n)
    worker.run()
    (asked,) = other.approvals()
    other.approve(asked.title, data="second")
    worker.run()
    with pytest.raises(WorkflowError, match="does not stand where its interrupts were asked"):
        other.result(0)


@pytest.mark.parametrize(("given", "again"), [({}, ["a", "b"]), ({"thread": "talk"}, ["a", "b", "a", "b"])])
@pytest.mark.parametrize("kind", BODIES)
def test_a_graph_that_is_rewound_runs_again(
    app: LiteQ, worker: Worker, kind: str, given: dict[str, Any], again: list[str]
) -> None:
    """On a thread of the run's own: of a named one it is one more turn. Killed, it goes on there."""
    log: list[str] = []

    def b(state: Any) -> Any:
        log.append("b")
        if log.count("b") == 2:
            raise Killed
        return {"seen": ["b"]}

    started = flow_of(app, kind, line(noting("a", log), b), **given).start("x")
    worker.run()
    assert started.result(0) == ["a", "b"]
    started.rewind(1)
    worker.run()
    assert started.result(0) == again
    assert log == ["a", "b", "a", "b", "b"]


@pytest.mark.parametrize("kind", BODIES)
def test_a_graph_that_was_answered_asks_again_when_it_is_rewound(app: LiteQ, worker: Worker, kind: str) -> None:
    log: list[str] = []
    ask = lambda state: {"seen": [interrupt("which?")]}  # noqa: E731
    started = flow_of(app, kind, line(noting("a", log), ask, noting("b", log))).start("x")
    for answer in ("first", "second", "third"):
        worker.run()
        (asked,) = started.approvals()
        started.approve(asked.title, data=answer)
        worker.run()
        assert started.result(0) == ["a", answer, "b"]
        if answer != "third":
            started.rewind(1)
    assert log == ["a", "b"] * 3


def test_a_run_with_a_tilde_in_its_id_is_rewound_as_any_other(app: LiteQ, worker: Worker) -> None:
    """That sign stands in the mark of a round, too: the second round was taken for the first one."""
    log: list[str] = []

    def b(state: Any) -> Any:
        raise ValueError("no")

    flow = flow_of(app, "plain", line(noting("a", log), lambda state: {"seen": [interrupt("which?")]}, b))
    started = flow.options(id="a~b").start("x")
    worker.run()
    (asked,) = started.approvals()
    started.approve(asked.title, data="this")
    worker.run()
    assert (started.status, log) == ("failed", ["a"])
    started.rewind(1)
    worker.run()
    assert (started.status, log) == ("waiting", ["a", "a"])


def test_a_graph_of_a_retried_run_goes_on_where_it_failed(app: LiteQ, worker: Worker) -> None:
    """Also where the body has done a step about it, which is forgotten."""
    log: list[str] = []

    def b(state: Any) -> Any:
        log.append("b")
        if log.count("b") == 1:
            raise ValueError("no")
        return {"seen": ["b"]}

    graph = line(noting("a", log), b)

    @app.workflow(name="flow")
    def flow() -> list[Any]:
        try:
            return list(run(graph, {"q": "x", "seen": []})["seen"])
        except ValueError:
            ctx.step("sorry", lambda: log.append("sorry"))
            raise

    started = flow.start()
    worker.run()
    started.retry()
    worker.run()
    assert started.result(0) == ["a", "b"]
    assert log == ["a", "b", "sorry", "b"]


def test_a_graph_that_saves_elsewhere_is_refused(app: LiteQ) -> None:
    graph = line(lambda state: {"seen": []}).compile(checkpointer=InMemorySaver())
    with WorkflowTest(app) as test, pytest.raises(WorkflowError, match=r"InMemorySaver.*LiteQSaver"):
        test.run(flow_of(app, "plain", graph), "x")


def test_run_says_where_it_belongs(app: LiteQ) -> None:
    graph = line(lambda state: {"seen": []})
    with pytest.raises(WorkflowError, match=r"run\(\) is for the body of a workflow"):
        run(graph, {})

    @app.workflow(name="wrong")
    async def wrong() -> Any:
        return run(graph, {})

    with WorkflowTest(app) as test, pytest.raises(WorkflowError, match=r"use await arun\(\)"):
        test.run(wrong)


# -- the lease -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BODIES)
def test_a_zombie_writes_no_checkpoint(app: LiteQ, worker: Worker, kind: str) -> None:
    """Its lease ends while the node runs: what it would save then is refused, and the next worker goes on."""
    log: list[str] = []

    def lost(state: Any) -> Any:
        log.append("lost")
        if len(log) == 1:
            app.clock.advance(61)
            app.storage.reap()
        return {"seen": [len(log)]}

    started = flow_of(app, kind, line(lost, noting("b", log)), thread="t").start("x")
    saver = LiteQSaver(app)
    lease = worker.claim()
    assert lease is not None
    outcome = worker.execute(lease)
    assert type(outcome).__name__ == "Release"
    steps = [one.metadata["step"] for one in saver.list(at("t"))]
    assert steps == [0, -1], "what came before the loss"
    assert saver.get_tuple(at("t")).pending_writes == []  # type: ignore[union-attr]
    worker.run()
    assert started.result(0) == [2, "b"]


def test_a_savers_write_in_a_step_is_under_the_lease(app: LiteQ, worker: Worker) -> None:
    errors: list[BaseException] = []

    @app.workflow(name="writes")
    def writes() -> str:
        from liteq.workflow import ctx

        def step() -> str:
            saver = LiteQSaver(f"sqlite:///{os.path.abspath('')}/other.db")
            saver.put_writes(at("t", checkpoint_id="1"), [("c", 1)], "task")  # another file knows no lease
            machine = here().machine
            machine.hold = Hold(machine.hold.run, machine.hold.token + 1, machine.hold.gen)
            try:
                LiteQSaver(app).put_writes(at("t", checkpoint_id="1"), [("c", 1)], "task")
            except LeaseLost as exc:
                errors.append(exc)
            finally:
                machine.hold = Hold(machine.hold.run, machine.hold.token - 1, machine.hold.gen)
            return "done"

        return ctx.step("step", step)

    started = writes.start()
    worker.run()
    assert started.result(0) == "done"
    assert len(errors) == 1
    assert rows(LiteQSaver(app))["writes"] == 0
