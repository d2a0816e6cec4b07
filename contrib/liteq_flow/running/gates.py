"""Conditions: of preconditions, and of a repeat. One with `expected` is compared, one without it is a command."""

from __future__ import annotations

import re
from collections.abc import Sequence

from liteq_flow.model import Condition, Run
from liteq_flow.running.jobs import run_job
from liteq_flow.running.names import Names
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import StepFailed

__all__ = ["fits", "holds", "met"]


async def met(plan: Plan, node: Node, names: Names, conditions: Sequence[Condition]) -> bool:
    """Whether all of `conditions` are met. Raises what `holds` raises."""
    for i, one in enumerate(conditions):
        if await holds(plan, node, names, one.condition, one.expected, f"condition {i}") is one.negate:
            return False
    return True


def fits(wanted: str, found: str) -> bool:
    """Whether a value is the wanted one, or fits its `re:PATTERN`. Raises StepFailed for a value that is no pattern."""
    if not wanted.startswith("re:"):
        return wanted == found
    try:
        return re.search(wanted.removeprefix("re:"), found) is not None
    except re.error as exc:
        raise StepFailed(f"{wanted!r:.80} is no pattern: {exc}") from None


async def holds(plan: Plan, node: Node, names: Names, condition: str, expected: str | None, what: str) -> bool:
    """Whether a condition holds. Raises UnknownReference, and StepFailed where its command cannot be run."""
    if expected is not None:
        found, wanted = names.text(condition).strip(), names.text(expected)
        return fits(wanted, found)
    do = Run((condition,), "\n" in condition.strip(), None)
    result = await run_job(plan, node, names, do, key=f"{node.path}?{what}", condition=True)
    if result["exit_code"] is None:
        raise StepFailed(f"the condition {condition!r:.80} cannot be tested: {result.get('error')}")
    return bool(result["exit_code"] == 0)
