"""`run` and `arun`: a graph in the body of a workflow. Its supersteps are saved; its interrupts hold nothing."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import orjson
from langgraph.channels.base import BaseChannel
from langgraph.constants import START
from langgraph.pregel import Pregel
from langgraph.types import Command, Durability, Interrupt, StateSnapshot

from liteq.exceptions import StorageError, WorkflowError
from liteq.serialization import encode
from liteq.workflow import actx, ctx
from liteq.workflow.calling import waits
from liteq.workflow.calling.scope import Scope
from liteq.workflow.history.frames import here
from liteq_langgraph.asking import Ask, breakpoint_of
from liteq_langgraph.declared import declared_in
from liteq_langgraph.nodes import driven, is_call, plain
from liteq_langgraph.saver import LiteQSaver
from liteq_langgraph.serde import StrictSerializer

if TYPE_CHECKING:
    from liteq.workflow.history.machine import Machine

__all__ = ["arun", "run"]

MARK = "liteq_call"  # in a checkpoint's metadata: the call of `run` whose input it has
REWOUND = "~"  # in that mark, and in the name of a thread: how often the run was rewound before


def run(graph: Any, input: Any, *, thread: str | None = None, config: Mapping[str, Any] | None = None) -> Any:
    """Invoke a graph in a plain body until it ends; what `graph.invoke` returns.

    graph: a StateGraph, or one that is compiled without a checkpointer: it gets the run's own saver, for which the
    classes of its state are declared; or a graph with a LiteQSaver. thread: the id of its thread; by default one of the
    run's own, which leaves with it. config: as of `invoke`. A killed process costs the superstep that it met, without
    the nodes of it that had ended.

    An interrupt is an approval: titled by the interrupt's id, its value the details, its response_schema the form. The
    graph gets the decision's `data`, without data its `ok`. A value {"event": NAME} waits for that event instead and
    gets its payload. Several at once are asked for together. Nothing is held meanwhile.
    """
    call = Call.here("run", graph, input, thread, config, is_async=False)
    while True:
        told = ctx.step(call.name, call.advance, args=(call.thread, call.rounds))
        asks = call.asks(told)
        if not asks:
            return call.state(told)
        call.answered(told, asks, waits.together(call.scope, [ask.plain(call.scope) for ask in asks]))


async def arun(graph: Any, input: Any, *, thread: str | None = None, config: Mapping[str, Any] | None = None) -> Any:
    """As `run`, in an async body: by `graph.ainvoke`."""
    call = Call.here("arun", graph, input, thread, config, is_async=True)
    while True:
        told = await actx.step(call.name, call.aadvance, args=(call.thread, call.rounds))
        asks = call.asks(told)
        if not asks:
            return call.state(told)
        call.answered(told, asks, await asyncio.gather(*[ask.awaited() for ask in asks]))


Told = dict[str, Any]  # what history holds of a step: thread, checkpoint, at (it and those of subgraphs), next, waits


class Answers:
    """The answers to the interrupts of a round, by their ids; and where the graph stood."""

    def __init__(self, told: Told, by_id: Mapping[str, Any]) -> None:
        self.checkpoint: str = told["checkpoint"]
        self.passed = set(told.get("at") or [self.checkpoint])
        self.is_old = "at" not in told  # of an older liteq, which did not tell where subgraphs stood
        self.by_id = by_id


class Call:
    """One call of `run` or `arun`."""

    def __init__(
        self, scope: Scope, graph: Any, input: Any, thread: str | None, config: Mapping[str, Any] | None
    ) -> None:
        self.scope = scope
        self.input = input
        self.given: Answers | None = None  # what the last round's interrupts were answered
        self.machine: Machine = scope.machine
        self.graph = _compiled(self.machine, graph)
        self.rounds = 0
        self.mark = f"{self.machine.run_id} {self.machine.hold.gen} {scope.name}/{scope.pos}"
        config = dict(config or {})
        asked = dict(config.get("configurable") or {})
        given = thread if thread is not None else asked.get("thread_id")
        self.begins_at = asked.pop("checkpoint_id", None)  # in the thread's past; what follows is its newest
        self.is_own = given is None
        self.name = f"{self.graph.get_name()}.invoke"
        self.durability = _durability_of(self.graph)
        self.config = {**config, "configurable": asked}
        self._go_to(_own_thread(scope) if given is None else str(given))

    def _go_to(self, thread: str) -> None:
        """Have the graph on a thread from here on."""
        self.thread = self.config["configurable"]["thread_id"] = thread

    @classmethod
    def here(
        cls, what: str, graph: Any, input: Any, thread: str | None, config: Mapping[str, Any] | None, *, is_async: bool
    ) -> Call:
        """The call at this place of a body. Raises WorkflowError elsewhere."""
        scope = here()
        if not isinstance(scope, Scope):
            raise WorkflowError(f"{what}() is for the body of a workflow; elsewhere call graph.invoke()")
        if scope.machine.is_async is not is_async:
            kind, other = ("an async body", "await arun()") if scope.machine.is_async else ("a plain body", "run()")
            raise WorkflowError(f"{what}() in {kind}: use {other}")
        return cls(scope, graph, input, thread, config)

    # -- in the step -------------------------------------------------------------------------------------------------

    def advance(self) -> Told:
        """Let the graph go on from where it is saved, until it ends or interrupts."""
        token = driven.set(self.machine.run_id)
        try:
            self._prepare()
            if (given := self._next()) is not None:
                self.graph.invoke(*given, durability=self.durability)
            return self._told()
        except StorageError as exc:
            self.machine.lost(exc)
        finally:
            driven.reset(token)

    async def aadvance(self) -> Told:
        """As `advance`."""
        token = driven.set(self.machine.run_id)
        try:
            self._prepare()
            if (given := self._next()) is not None:
                await self.graph.ainvoke(*given, durability=self.durability)
            return self._told()
        except StorageError as exc:
            self.machine.lost(exc)
        finally:
            driven.reset(token)

    def _prepare(self) -> None:
        """Note a thread of the run's own as that."""
        if self.is_own:
            cast("LiteQSaver", self.graph.checkpointer).own(self.machine.hold, self.thread)

    def _snapshot(self) -> StateSnapshot:
        return cast("StateSnapshot", self.graph.get_state(self._config(), subgraphs=True))

    def _config(self, at: str | None = None) -> dict[str, Any]:
        """The config of this round; `at`: the id of the checkpoint that it begins at, else at the newest."""
        where = {**self.config["configurable"], **({"checkpoint_id": at} if at else {})}
        metadata = {**(self.config.get("metadata") or {}), MARK: self._round()}
        return {**self.config, "configurable": where, "metadata": metadata}

    def _round(self) -> str:
        """The mark of this round in a checkpoint's metadata: its place in the run, and the answers that it brings."""
        given = b""
        if self.given is not None:
            plainly = orjson.loads(encode(self.given.by_id, what="the answers to interrupts"))
            given = orjson.dumps(plainly, option=orjson.OPT_SORT_KEYS)
        again = f"{REWOUND}{self.machine.rewound}" if self.machine.rewound and not self.rounds else ""
        return f"{self.mark} {self.rounds} {blake2b(given, digest_size=8).hexdigest()}{again}"

    def _next(self) -> tuple[Any, dict[str, Any]] | None:
        """The input of the graph (None to go on), and its config; None where there is nothing to go on with."""
        snapshot, given = self._snapshot(), self.given
        begun: Any = (snapshot.metadata or {}).get(MARK)
        has_begun = begun == self._round()
        if given is None and not has_begun:
            if begun is None or not begun.startswith(f"{self.mark} "):
                return self.input, self._config(self.begins_at)
            # What came of it is forgotten; but a run that is retried goes on where its graph has failed.
            then, now = (one[len(self.mark) :].partition(REWOUND)[0] for one in (begun, self._round()))
            if then != now or self._stands_still(snapshot):
                return self._anew()
        if given is not None and not has_begun and _id_of(snapshot) != given.checkpoint:
            raise WorkflowError(
                f"the thread {self.thread!r} does not stand where its interrupts were asked: it has gone on with other "
                "answers, or the run is a fork; fork a run before the first step of its graph"
            )
        open_ = {one.id for one in _interrupts(snapshot)}
        by_id = {} if given is None else {id_: value for id_, value in given.by_id.items() if id_ in open_}
        if by_id:  # an answer that a killed step has given is no more asked for
            return Command(resume=by_id), self._config()
        return None if self._stands_still(snapshot) else (None, self._config())

    def _anew(self) -> tuple[Any, dict[str, Any]] | None:
        """As `_next`, for a graph that is to run once more: on another thread, where that is the run's own."""
        if not self.is_own:
            return self.input, self._config(self.begins_at)
        self._go_to(f"{self.thread}{REWOUND}{self.machine.rewound}")
        self._prepare()
        return self._next()

    def _stands_still(self, snapshot: StateSnapshot) -> bool:
        """Whether there is nothing to go on with: the graph has ended, asks, or is held at a breakpoint."""
        return bool(_interrupts(snapshot)) or not snapshot.next or self._is_held(snapshot)

    def _is_held(self, snapshot: StateSnapshot) -> bool:
        """Whether the graph stands at a breakpoint that nobody has let it pass: a killed step had come that far."""
        given = self.given
        if given is not None and given.is_old and _id_of(snapshot) == given.checkpoint:
            return False
        passed = set() if given is None else given.passed
        return any(
            _id_of(one) not in passed and self._breaks(graph, one) for graph, one in _levels(self.graph, snapshot)
        )

    def _breaks(self, graph: Any, snapshot: StateSnapshot) -> bool:
        """Whether LangGraph stops a graph where it stands."""
        before, after = graph.interrupt_before_nodes, graph.interrupt_after_nodes
        ended = self.graph.get_state(snapshot.parent_config).tasks if after and snapshot.parent_config else ()
        return _among(snapshot.next, before) or _among([task.name for task in ended], after)

    def _told(self) -> Told:
        snapshot = self._snapshot()
        found = [
            {
                "id": one.id,
                "value": plain(one.value, f"the value of an interrupt of {self.name}"),
                "schema": one.response_schema,
                "call": is_call(one.value, self.machine.run_id),
            }
            for one in _interrupts(snapshot)
        ]
        at = [_id_of(one) for _, one in _levels(self.graph, snapshot)]
        return {"thread": self.thread, "checkpoint": at[0], "at": at, "next": list(snapshot.next), "waits": found}

    # -- in the body -------------------------------------------------------------------------------------------------

    def asks(self, told: Told) -> Sequence[Ask]:
        """The questions before the graph goes on; none at its end. A breakpoint is an approval too."""
        found = list(told["waits"])
        if not found and told["next"]:
            found = [{"id": self._breakpoint(told["next"]), "value": {"next": told["next"]}, "schema": None}]
        return [Ask(f"{self.mark} {self.rounds}", one) for one in found]

    def _breakpoint(self, nodes: Sequence[str]) -> str:
        """The title of a breakpoint: with each node once, but as history has it where an older liteq has asked."""
        old = f"go on with {', '.join(nodes)}"
        is_asked = self.machine.place_of_key(f"{self.mark} {self.rounds} {old}") in self.machine.rows
        return old if is_asked else breakpoint_of(nodes)

    def answered(self, told: Told, asks: Sequence[Ask], answers: Sequence[Any]) -> None:
        """Take the answers of a round, which is over. Raises WorkflowError for a breakpoint that is denied."""
        self.rounds += 1
        self._go_to(told["thread"])
        if told["waits"]:
            by_id = {ask.id: ask.answer(found) for ask, found in zip(asks, answers, strict=True)}
            self.given = Answers(told, by_id)
            return
        if not answers[0].ok:
            raise WorkflowError(f"the graph stands before {', '.join(told['next'])}, and is not to go on")
        self.given = Answers(told, {})

    def state(self, told: Told) -> Any:
        """The output of the graph at the checkpoint where it ended, whatever the thread has become since."""
        at = {"configurable": {"thread_id": told["thread"], "checkpoint_id": told["checkpoint"]}}
        found = self.machine.reading(lambda: self.graph.get_state(at))
        if found.metadata is None:
            raise WorkflowError(
                f"the thread {self.thread!r} has lost the checkpoint at which the graph ended, so its state is not "
                "known any more: prune or delete a thread when the runs that read it have ended. (A recording holds no "
                f"thread: test with live=[{self.name!r}])"
            )
        values = found.values
        keys = self.graph.output_channels
        if isinstance(keys, str) or not isinstance(values, dict):
            return values
        return {key: values[key] for key in keys if key in values}


def _id_of(snapshot: StateSnapshot) -> str | None:
    """The id of the checkpoint that a snapshot is of; None before the first."""
    return cast("str | None", snapshot.config["configurable"].get("checkpoint_id"))


def _levels(graph: Any, snapshot: StateSnapshot) -> Iterator[tuple[Any, StateSnapshot]]:
    """A graph and the subgraphs that it is in, each as it stands."""
    yield graph, snapshot
    inside = {task.name: task.state for task in snapshot.tasks if isinstance(task.state, StateSnapshot)}
    for name, inner in graph.get_subgraphs() if inside else ():
        if name in inside:
            yield from _levels(inner, inside[name])


def _among(names: Iterable[str], breakpoints: str | Sequence[str]) -> bool:
    """Whether one of `names` is among the nodes of a breakpoint, or these are all that there are ("*")."""
    return any(name != START if breakpoints == "*" else name in breakpoints for name in names)


def _interrupts(snapshot: StateSnapshot) -> list[Interrupt]:
    """The open interrupts of a graph, those of subgraphs as these have them; each once."""
    found: dict[str, Interrupt] = {}
    for task in snapshot.tasks:
        inner = _interrupts(task.state) if isinstance(task.state, StateSnapshot) else []
        for one in inner or task.interrupts:
            found[one.id] = one
    return list(found.values())


MADE = "_liteq_compiled"  # on a graph: the app that it was compiled for, and what came of it, which holds the graph
_threads: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()


def _compiled(machine: Machine, graph: Any) -> Any:
    """`graph`, compiled, with a saver. Raises WorkflowError for one that saves elsewhere."""
    saver = getattr(graph, "checkpointer", None)
    if isinstance(saver, LiteQSaver):
        return graph
    if saver is not None:
        raise WorkflowError(
            f"the graph is compiled with {type(saver).__name__}, which knows nothing of this run's lease: compile it "
            "with LiteQSaver(app), or give the StateGraph itself"
        )
    made: tuple[Any, Any] | None = vars(graph).get(MADE)
    if made is None or made[0] is not machine.app:
        schemas = getattr(getattr(graph, "builder", graph), "schemas", ())
        channels = [one for one in graph.channels.values() if isinstance(one, BaseChannel)]  # not `RemainingSteps`
        declared = declared_in([*schemas, *(one.typ for one in channels)])
        saver = LiteQSaver(machine.app, serde=StrictSerializer(declared))
        if hasattr(graph, "compile"):
            compiled = graph.compile(checkpointer=saver)
        else:
            compiled = copy.copy(graph)
            compiled.checkpointer = saver
        made = vars(graph)[MADE] = (machine.app, compiled)
    return made[1]


def _durability_of(graph: Any) -> Durability:
    """A superstep is saved before the next one begins; with a node that saves nothing, while that one runs.

    LangGraph waits in such a node for a save that was never begun, and fails. (A node that itself calls such a graph
    has to say `durability="async"` there.)
    """
    return "async" if _has_one_that_saves_nothing(graph) else "sync"


def _has_one_that_saves_nothing(graph: Any) -> bool:
    inner = [one.bound for one in graph.nodes.values() if isinstance(one.bound, Pregel)]
    return any(one.checkpointer is False or _has_one_that_saves_nothing(one) for one in inner)


def _own_thread(scope: Scope) -> str:
    """The id of a thread of the run's own: the run's, and what tells it from others of the same run."""
    machine = scope.machine
    counts = _threads.setdefault(machine, {})
    n = counts[scope.name] = counts.get(scope.name, 0) + 1
    gen = f"+{machine.hold.gen}" if machine.hold.gen else ""
    place = f"{scope.name}.{n}" if n > 1 or scope.name else ""
    return f"{machine.run_id}{gen}{place}"
