"""One step: its preconditions, its attempts, its repeats, and what it leaves behind for later ones."""

from __future__ import annotations

import re
from typing import Any

from liteq.workflow import actx
from liteq_flow.model import Repeat, Run
from liteq_flow.reader.parts import seconds_of
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
from liteq_flow.values import references, text_of

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
            node.outputs, node.variable = await _outputs(plan, node, names, made), made.variable
            if step.approval is not None:
                _know_own(names, node)
                node.outputs |= await approve_step(plan, node, names)
            node.status = "succeeded"
            if step.compensate is not None:
                plan.run.undo.append(Undo(plan, node))
    except UNEXPECTED as exc:
        _failed(node, exc)
    await plan.tell(node)


async def _outputs(plan: Plan, node: Node, names: Names, made: Made) -> dict[str, Any]:
    """The outputs of a step: of what it has made last."""
    if made.kept is None:
        name = node.step.variable
        made.kept = {**({} if name is None else {name: made.variable}), **await keep(plan, node, names, made)}
    return made.kept


def _know_own(names: Names, node: Node) -> None:
    """Let a step's own names find what it has made."""
    names.outputs[node.step.id] = node.outputs
    if node.step.variable is not None:
        names.variables[node.step.variable] = node.variable or ""


def _failed(node: Node, exc: Exception) -> None:
    """A step has failed: whether the flow goes on after it."""
    step = node.step
    node.error = str(exc) or type(exc).__name__
    node.exit_code = getattr(exc, "exit_code", None)
    result = getattr(exc, "result", {})
    node.stdout = result.get("stdout", "")
    on = step.continue_on
    node.continued = (
        on.failed
        or (node.exit_code is not None and node.exit_code in on.exit_codes)
        or any(_in_output(pattern, node.stdout) for pattern in on.output)
    )
    node.status = "succeeded" if node.continued and on.mark_success else "failed"
    node.variable = node.stdout.strip()
    node.outputs = {**({step.variable: node.variable} if step.variable else {}), **(result.get("outputs") or {})}


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
        try:
            made = await _tried(plan, node, names)
        except StepFailed as exc:
            if not policy.exit_codes and policy.condition is None:
                raise
            failure, stdout = exc, exc.result.get("stdout") or ""
            made = Made(exc.exit_code, stdout, variable=stdout.strip())
        over = policy.limit is not None and n >= policy.limit
        if over or not await _again(plan, node, names, policy, made, failure):
            break
        if not has_time(plan, node, pause_s):
            raise failure or StepFailed(OVER, made.exit_code, result={"timed_out": True})
        if pause_s:
            await actx.sleep(pause_s)
            pause_s = _next(pause_s, policy.backoff, policy.max_interval_s)
    if failure is not None and (policy.mode == "while" or failure.exit_code not in policy.exit_codes):
        raise failure
    return made


async def _again(
    plan: Plan, node: Node, names: Names, policy: Repeat, made: Made, failure: StepFailed | None
) -> bool:  # fmt: skip
    """Whether a step is to be repeated."""
    if policy.condition is not None:
        node.variable, node.outputs = made.variable, made.outputs  # the condition may look at what it has just written
        texts = [policy.condition, policy.expected]
        if failure is None and any(one.root == "steps" and one.path[0] == node.step.id for one in references(texts)):
            node.outputs = await _outputs(plan, node, names, made)
        _know_own(names, node)
        found = await holds(plan, node, names, policy.condition, policy.expected, f"repeat {node.attempts}")
    elif policy.exit_codes:
        found = made.exit_code in policy.exit_codes
    else:
        return policy.mode == "while"
    return found if policy.mode == "while" else not found


async def _tried(plan: Plan, node: Node, names: Names) -> Made:
    """A step, and after a failure again as `retry_policy` says."""
    retry = node.step.retry
    limit = _count(names.value(retry.limit))
    pause_s = seconds_of(names.value(retry.interval_s))
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


def _count(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():  # a param that is a number
        value = int(value)
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", text_of(value)):
        return int(value)
    raise StepFailed(f"the limit of retry_policy is a whole number, not {text_of(value)!r:.80}")


def _next(pause_s: float, backoff: float, most_s: float | None) -> float:
    longer = pause_s * backoff
    return longer if most_s is None else min(longer, most_s)
