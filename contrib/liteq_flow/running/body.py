"""The body of `liteq.flow`: a document's gates, its steps, what undoes them, and its handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from liteq.clock import to_ms
from liteq.context import App
from liteq.exceptions import WorkflowCancelled
from liteq.workflow import actx
from liteq_flow.errors import FlowRefused
from liteq_flow.installing import WORKFLOW
from liteq_flow.model import Flow
from liteq_flow.reader.params import checked
from liteq_flow.reader.secrecy import compared
from liteq_flow.running.gates import met
from liteq_flow.running.names import Names
from liteq_flow.running.observing import observed
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import UNEXPECTED, FlowFailed, FlowRun, StepFailed, shown
from liteq_flow.running.subflows import outputs_of
from liteq_flow.snapshot import Snapshot

__all__ = ["document_of", "earlier", "run_flow"]

FINISHED = frozenset({"succeeded", "failed", "cancelled"})
LOOKED_AT = 1_000  # of a flow's runs, those that were started last before one
LONGEST_PAUSE_S = 15.0
ENDS = {"success": "succeeded", "failure": "failed", "abort": "aborted"}


async def run_flow(app: App, snapshot: dict[str, Any], name: str, params: dict[str, Any], queue: str) -> dict[str, Any]:
    """Run a flow: its outputs. Raises FlowFailed, which names the steps that failed.

    `snapshot`: the texts of its files; `name`: of the document that runs; `params`: checked; `queue`: of its commands.
    """
    run = FlowRun(app, actx.run_id, Snapshot(snapshot["file"], snapshot["texts"]), queue)
    flow, file = run.snapshot.sub(name, run.snapshot.file)
    plan = _plan_of(run, flow, file, params, {"id": run.id, "root_id": run.id, "root_name": flow.name}, "")
    try:
        if flow.max_active_runs is not None:
            await _turn(run, flow, flow.max_active_runs)
        await _go(plan)
    except WorkflowCancelled:
        async with actx.shield():
            await _undo(run)
            await _handlers(plan, "abort")
        raise
    await run.publish(outputs_of(plan))
    if plan.failed:
        raise FlowFailed("; ".join(f"step {shown(node.path)!r} failed: {node.error}" for node in plan.failed))
    return run.outputs


async def _turn(run: FlowRun, flow: Flow, most: int) -> None:
    """Wait until so few runs of the flow that were started before have not ended."""
    pause_s = 0.5
    while await actx.step("liteq.flow.turn", partial(earlier, run.app, run.id), args=(f"flow:{flow.name}",)) >= most:
        await actx.sleep(pause_s)
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def earlier(app: App, run_id: str, tag: str) -> int:
    """How many runs of a flow that were started before this one have not ended."""
    before = app.storage.runs.list(name=WORKFLOW, tags=(tag,), after=run_id, limit=LOOKED_AT)
    return sum(one.status not in FINISHED for one in before)


def _plan_of(
    run: FlowRun, flow: Flow, file: str, params: Mapping[str, Any], about: Mapping[str, Any], path: str
) -> Plan:  # fmt: skip
    context = {
        "dag": {"name": flow.name},
        "run": {"status": "running", "started_at": actx.now().isoformat(), **about},
        "attempt": {"id": "1", "started_at": actx.now().isoformat()},
        "trigger": {"type": "manual", "actor": ""},
        "paths": {"artifacts_dir": _artifacts(run), "work_dir": str(Path(file).parent)},
    }
    names = Names(flow, Path(file).parent, params, context)
    plan = Plan(run, names, flow.steps, path, file)
    plan.waits = (asyncio.Event(),)
    return plan


def _artifacts(run: FlowRun) -> str:
    from liteq_flow.jobs.job import artifacts_folder

    return str(artifacts_folder(run.app, run.id))


async def document_of(
    caller: Plan, flow: Flow, file: str, given: Mapping[str, Any], run_id: str, path: str,
    deadline_ms: float | None,
) -> Plan:  # fmt: skip
    """Run a document for a step of another, by `dag.run`. Raises StepFailed for params that it does not take."""
    try:
        params = checked(flow, given)
    except FlowRefused as exc:
        raise StepFailed(f"the params of {flow.name!r}: {'; '.join(one.what for one in exc.problems)}") from None
    root = caller.run.snapshot.whole.flow.name
    plan = _plan_of(caller.run, flow, file, params, {"id": run_id, "root_id": run_id, "root_name": root}, path)
    plan.waits += caller.waits
    own = [] if flow.timeout_s is None else [to_ms(actx.now()) + flow.timeout_s * 1000]
    plan.deadline_ms = min([*own, *([] if deadline_ms is None else [deadline_ms])], default=None)
    await _go(plan)
    return plan


async def _go(plan: Plan) -> None:
    """Run a document; its handler of `wait` is a branch of its own."""
    waits = asyncio.create_task(_on_wait(plan))
    try:
        await _whole(plan)
    finally:
        waits.cancel()


async def _whole(plan: Plan) -> None:
    """Run init, the steps, and the handlers of the end. A gate that is shut has all steps skipped."""
    gate = Node(replace(EMPTY, id="preconditions"), f"{plan.path}(preconditions)")
    try:
        is_open = await _is_open(plan, gate)
    except UNEXPECTED as exc:
        gate.status, gate.error = "failed", str(exc)
        await _end_before(plan, gate, "upstream_failed")
        await _handlers(plan, "failure")
        return
    if not is_open:
        await _end_before(plan, None, "skipped")
        await _handlers(plan, "abort")
        return
    init = await _handler(plan, "init")
    if init is not None and init.status == "failed":
        await _end_before(plan, init, "upstream_failed")
    else:
        await plan.go()
    if plan.failed:
        await _undo(plan.run, plan)
    await _handlers(plan, "failure" if plan.failed else "success")


async def _is_open(plan: Plan, gate: Node) -> bool:
    """Whether the preconditions of a document are met. Raises what `holds` raises."""
    gates = plan.names.flow.preconditions
    names = await observed(plan.names, gate.path, (text for _, text in compared(gates, ())))
    return await met(plan, gate, names, gates)


async def _end_before(plan: Plan, failed: Node | None, status: str) -> None:
    """End all steps of a document with `status` before they begin; `failed`: what has failed in their place."""
    for node in plan.nodes.values():
        node.status = status
        await plan.tell(node)
    if failed is not None:
        plan.nodes[f"\0{failed.step.id}"] = failed


async def _handlers(plan: Plan, end: str) -> None:
    """The handler of an end, and that of every end. One that fails fails the document."""
    run: Any = plan.names.context["run"]
    plan.names.context = {**plan.names.context, "run": {**run, "status": ENDS[end]}}
    for name in (end, "exit"):
        node = await _handler(plan, name)
        if node is not None and node.status == "failed":
            plan.nodes[f"\0{name}"] = node


async def _handler(plan: Plan, name: str) -> Node | None:
    """Run a handler, if the document has it."""
    step = plan.names.flow.handlers.get(name)
    if step is None:
        return None
    from liteq_flow.running.node import run_node

    behind = () if name in {"init", "wait"} else tuple(plan.nodes)  # while steps run, no replay has the same of them
    node = Node(replace(step, depends=behind), f"{plan.path}handler_on.{name}")
    node.begin([])
    await run_node(plan, node)
    return node


async def _on_wait(plan: Plan) -> None:
    """The handler of `wait`: once, when the first step waits for a person."""
    await plan.waits[0].wait()
    await _handler(plan, "wait")


async def _undo(run: FlowRun, plan: Plan | None = None) -> None:
    """Run what undoes the steps that have succeeded, the last one first; of a document and all in it, or of the run."""
    from liteq_flow.running.node import run_node

    wanted = [one for one in run.undo if plan is None or one.node.path.startswith(plan.path)]
    for one in sorted(wanted, key=lambda undo: (undo.node.ended_ms or 0, undo.node.path), reverse=True):
        run.undo.remove(one)
        step = one.node.step.compensate
        node = Node(replace(step, depends=(one.node.step.id,)), f"{one.node.path}~undo")
        node.begin([one.node])
        await run_node(one.plan, node)


def _empty() -> Any:
    from liteq_flow.model import Nothing, Step

    return Step("empty", "empty", Nothing(), 0)


EMPTY = _empty()
