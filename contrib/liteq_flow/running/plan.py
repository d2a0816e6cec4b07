"""`Plan`: the steps of one document, or of one item of a foreach, each a branch of the body that waits for its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from liteq.clock import to_ms
from liteq.workflow import actx
from liteq_flow.model import Action, Step
from liteq_flow.running.names import Names
from liteq_flow.running.run import FlowRun, StepFailed, all_of, shown, spelled

__all__ = ["BAD", "Node", "Plan", "failed_of", "now_ms"]

BAD = frozenset({"failed", "upstream_failed", "aborted"})


@dataclass(slots=True)
class Node:
    """A step of a plan. `status` is None until it has ended."""

    step: Step
    path: str
    done: asyncio.Event = field(default_factory=asyncio.Event)
    status: str | None = None
    attempts: int = 0
    exit_code: int | None = None
    error: str = ""
    stdout: str = ""
    continued: bool = False
    """Whether what depends on it begins although it did not succeed."""
    routers: list[Node] = field(default_factory=list)
    """Steps of `router.route` that name it."""
    chosen: frozenset[str] = frozenset()
    """Of such a step: the ids that it has taken."""
    began_ms: int = 0
    """When what it depends on had ended."""
    started_ms: int | None = None
    ended_ms: int | None = None
    children: list[str] = field(default_factory=list)
    """The ids of its messages."""
    outputs: dict[str, Any] = field(default_factory=dict)
    variable: str | None = None
    """The text that `output: NAME` took."""
    written: dict[str, Any] = field(default_factory=dict)
    """Outputs of the run."""

    def begin(self, before: Iterable[Node]) -> None:
        """Note that it begins now, as the run's own time has it, behind those `before` it."""
        self.began_ms = max([now_ms(), *(one.ended_ms or 0 for one in before)])

    def ended_after(self, inner: Iterable[Node]) -> None:
        """Note that it ends when the last of the steps inside it has ended."""
        self.ended_ms = max([self.ended_ms or 0, *(one.ended_ms or 0 for one in inner)])

    def now_ms(self) -> int:
        """The run's own time where the step is."""
        return max(self.began_ms, now_ms())


def now_ms() -> int:
    """The end of the last recorded call of this branch, in ms since the epoch."""
    return to_ms(actx.now())


class Plan:
    """Runs steps in the order that their dependencies give. `path`: before the ids of its steps; `places`: at once."""

    def __init__(self, run: FlowRun, names: Names, steps: Sequence[Step], path: str, file: str) -> None:
        self.run, self.names, self.path, self.file = run, names, path, file
        self.nodes = {step.id: Node(step, path + spelled(step.id)) for step in steps}
        most = names.flow.max_active_steps
        self.places = asyncio.Semaphore(most) if most else None
        self.deadline_ms: float | None = None
        """Of a step that runs it, with a timeout: as the run's own time has it."""
        self.waits: tuple[asyncio.Event, ...] = ()
        """Of its document, and of those around it: set when the first step in it waits for a person."""
        for node in self.nodes.values():
            for name in routed_by(node.step):
                if name in self.nodes:
                    self.nodes[name].routers.append(node)

    def someone_waits(self) -> None:
        """Note that a step waits for a person, or for an event."""
        for one in self.waits:
            one.set()

    def names_of(self, node: Node) -> Names:
        """The names that a step can find: of this document's steps those that it comes after, and no others that ended.

        A replay meets other steps' ends in another order, and has to come to the same values.
        """
        return self._names([self.nodes[name] for name in self._before(node)]).of(node.step)

    def names_at_end(self) -> Names:
        """The names when all steps have ended."""
        return self._names(list(self.nodes.values()))

    def _names(self, nodes: Sequence[Node]) -> Names:
        names = self.names.inner(self.names.foreach)
        for node in nodes:
            names.outputs[node.step.id] = node.outputs
            if node.step.variable is not None and node.variable is not None:
                names.variables[node.step.variable] = node.variable
        return names

    def _before(self, node: Node) -> list[str]:
        """The ids of the steps that a step comes after, in the order of the file."""
        found: set[str] = set()
        waiting = [node]
        while waiting:
            one = waiting.pop()
            for name in (*one.step.depends, *(router.step.id for router in one.routers)):
                if name in self.nodes and name not in found:
                    found.add(name)
                    waiting.append(self.nodes[name])
        return [name for name in self.nodes if name in found]

    def written(self) -> dict[str, Any]:
        """The outputs of the run that its steps have written, in the order of the file."""
        found: dict[str, Any] = {}
        for node in self.nodes.values():
            found |= node.written
        return found

    async def go(self) -> None:
        """Run all steps until each has ended."""
        await all_of([asyncio.create_task(self._step(node)) for node in self.nodes.values()])

    @property
    def failed(self) -> list[Node]:
        """The steps by which it fails: those that failed, and were not continued after."""
        return [node for node in self.nodes.values() if node.status in {"failed", "aborted"} and not node.continued]

    async def _step(self, node: Node) -> None:
        before = [self.nodes[name] for name in node.step.depends if name in self.nodes]
        for other in (*before, *node.routers):
            await other.done.wait()
        node.begin((*before, *node.routers))
        status = gate_of(node, before)
        if status is None:
            from liteq_flow.running.node import run_node

            await run_node(self, node)
        else:
            node.status = status
            node.continued = status == "skipped" and node.step.continue_on.skipped
            await self.tell(node)
        node.done.set()

    async def tell(self, node: Node) -> None:
        """Tell readers how a step has ended."""
        node.ended_ms = max(node.now_ms(), node.ended_ms or 0)
        await self.run.tell(
            node.path, name=node.step.name, status=node.status, attempts=node.attempts,
            exit_code=node.exit_code, started=node.started_ms, error=node.error, children=node.children,
            finished=None if node.started_ms is None else node.ended_ms,
        )  # fmt: skip

    def inner_deadline(self, node: Node) -> float | None:
        """The deadline of what runs inside a step, in ms since the epoch."""
        timeout_s = node.step.timeout_s
        if timeout_s is None:
            return self.deadline_ms
        own = node.now_ms() + timeout_s * 1000
        return own if self.deadline_ms is None else min(own, self.deadline_ms)


def gate_of(node: Node, before: Sequence[Node]) -> str | None:
    """The status of a step that is not to run, by those before it; None: it runs."""
    found = None
    for router in node.routers:
        if router.status == "succeeded" and node.step.id not in router.chosen:
            found = "skipped"
    for other in (*before, *node.routers):
        if other.continued or other.status == "succeeded":
            continue
        if other.status in BAD:
            return "upstream_failed"
        found = "skipped"
    return found


def routed_by(step: Step) -> frozenset[str]:
    """The ids that a step of `router.route` names."""
    if not isinstance(step.do, Action) or step.do.name != "router.route":
        return frozenset()
    routes: Any = step.do.arguments.get("routes") or {}
    found: set[str] = set()
    for targets in routes.values():
        found |= {targets} if isinstance(targets, str) else set(targets)
    return frozenset(found)


def failed_of(plan: Plan) -> StepFailed | None:
    """The failure of a step that runs a plan; None where that has succeeded."""
    failed = plan.failed
    if not failed:
        return None
    first = failed[0]
    return StepFailed(f"step {shown(first.path)!r} failed: {first.error}", first.exit_code)
