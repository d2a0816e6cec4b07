"""One step: its preconditions, its attempts, its repeats, and what it leaves behind for later ones."""

from __future__ import annotations

import re
from typing import Any

from liteq.workflow import actx
from liteq_flow.model import Repeat, Run
from liteq_flow.reader.secrecy import recorded
from liteq_flow.running.doing import Made, do_step
from liteq_flow.running.gates import holds, met
from liteq_flow.running.jobs import OVER, has_time
from liteq_flow.running.leaving import keep
from liteq_flow.running.names import Names
from liteq_flow.running.observing import observed
from liteq_flow.running.people import approve_step
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import UNEXPECTED, StepFailed, Undo

__all__ = ["run_node"]


async def run_node(plan: Plan, node: Node) -> None:
    """Run a step to its end, and tell it. Nothing is raised for a failure."""
    step, names = node.step, plan.names_of(node)
    try:
        names = await observed(names, node.path, (text for _, text in recorded(step, ())))
        if not await met(plan, node, names, step.preconditions):
            node.status = "skipped"
            node.continued = step.continue_on.skipped
        else:
            if not isinstance(step.do, Run):  # of a command its worker tells it
                node.started_ms = node.now_ms()
            made = await _repeated(plan, node, names)
            node.exit_code, node.stdout = made.exit_code, made.stdout
            outputs = await keep(plan, node, names, made)
            if step.approval is not None:
                outputs |= await approve_step(plan, node, names)
            _publish(node, outputs, made)
            node.status = "succeeded"
            if step.compensate is not None:
                plan.run.undo.append(Undo(plan, node))
    except UNEXPECTED as exc:
        _failed(node, exc)
    await plan.tell(node)


def _publish(node: Node, outputs: dict[str, Any], made: Made) -> None:
    """Let later steps find what a step gave."""
    name = node.step.variable
    if name is not None:
        node.variable = made.variable
        outputs = {name: made.variable, **outputs}
    node.outputs = outputs


def _failed(node: Node, exc: Exception) -> None:
    """A step has failed: whether the flow goes on after it."""
    step = node.step
    node.error = str(exc) or type(exc).__name__
    node.exit_code = getattr(exc, "exit_code", None)
    node.stdout = getattr(exc, "result", {}).get("stdout", "")
    on = step.continue_on
    node.continued = (
        on.failed
        or (node.exit_code is not None and node.exit_code in on.exit_codes)
        or any(_in_output(pattern, node.stdout) for pattern in on.output)
    )
    node.status = "succeeded" if node.continued and on.mark_success else "failed"
    node.variable = node.stdout.strip()


def _in_output(pattern: str, text: str) -> bool:
    if pattern.startswith("re:"):
        return re.search(pattern.removeprefix("re:"), text, re.MULTILINE) is not None
    return pattern in text


# -- again -----------------------------------------------------------------------------------------------------------


async def _repeated(plan: Plan, node: Node, names: Names) -> Made:
    """A step, and again as `repeat_policy` says."""
    policy = node.step.repeat
    if policy is None:
        return await _tried(plan, node, names)
    n, pause_s = 0, policy.interval_s
    while True:
        n += 1
        failure: StepFailed | None = None
        made = Made()
        try:
            made = await _tried(plan, node, names)
        except StepFailed as exc:
            if not policy.exit_codes and policy.condition is None:
                raise
            failure = exc
        over = policy.limit is not None and n >= policy.limit
        if over or not await _again(plan, node, names, policy, made, failure):
            break
        if not has_time(plan, node, pause_s):
            raise failure or StepFailed(OVER, made.exit_code, result={"timed_out": True})
        if pause_s:
            await actx.sleep(pause_s)
            pause_s = _next(pause_s, policy.backoff, policy.max_interval_s)
    if failure is not None and failure.exit_code not in policy.exit_codes:
        raise failure
    return made


async def _again(
    plan: Plan, node: Node, names: Names, policy: Repeat, made: Made, failure: StepFailed | None
) -> bool:  # fmt: skip
    """Whether a step is to be repeated."""
    exit_code = failure.exit_code if failure is not None else made.exit_code
    if policy.condition is not None:
        if node.step.variable is not None:  # the condition may look at what it has just written
            names.variables[node.step.variable] = made.variable
        found = await holds(plan, node, names, policy.condition, policy.expected, f"repeat {node.attempts}")
    elif policy.exit_codes:
        found = exit_code in policy.exit_codes
    else:
        return policy.mode == "while"
    return found if policy.mode == "while" else not found


async def _tried(plan: Plan, node: Node, names: Names) -> Made:
    """A step, and after a failure again as `retry_policy` says."""
    retry = node.step.retry
    limit = int(names.value(retry.limit))
    pause_s = float(names.value(retry.interval_s))
    n = 0
    while True:
        n += 1
        node.attempts += 1
        try:
            return await do_step(plan, node, names)
        except StepFailed as exc:
            if n > limit or (retry.exit_codes and exc.exit_code not in retry.exit_codes) or exc.result.get("cancelled"):
                raise
            if not has_time(plan, node, pause_s):
                raise
        if pause_s:
            await actx.sleep(pause_s)
            pause_s = _next(pause_s, retry.backoff, retry.max_interval_s)


def _next(pause_s: float, backoff: float, most_s: float | None) -> float:
    longer = pause_s * backoff
    return longer if most_s is None else min(longer, most_s)
