"""`wait.duration`, `wait.until`, `wait.file`, `wait.http`: nothing is held between two looks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from liteq.clock import to_ms
from liteq.workflow import actx
from liteq_flow.model import Action
from liteq_flow.reader.parts import seconds_of
from liteq_flow.running.doing import Made, made_of
from liteq_flow.running.jobs import call_job, left_s
from liteq_flow.running.names import Names
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import StepFailed

__all__ = ["do_wait"]

POLL_S = 1.0
LONGEST_POLL_S = 15.0


async def do_wait(plan: Plan, node: Node, names: Names, do: Action, key: str) -> Made:
    """Wait as the action says."""
    given = do.arguments
    match do.name:
        case "wait.duration":
            await _sleep(plan, node, seconds_of(names.value(given["duration"])))
        case "wait.until":
            until = datetime.fromisoformat(names.text(given["until"]))
            moment_ms = to_ms(until if until.tzinfo else until.replace(tzinfo=UTC))
            await _sleep(plan, node, max(0.0, (moment_ms - node.now_ms()) / 1000))
        case "wait.file" | "wait.http":
            await _look(plan, node, names, do, key)
        case _:
            raise StepFailed(f"unknown action {do.name!r}")
    return Made()


async def _sleep(plan: Plan, node: Node, span_s: float) -> None:
    """Sleep, up to the step's timeout. Raises StepFailed where that is the shorter one."""
    timeout_s = left_s(plan, node)
    if timeout_s is None or span_s <= timeout_s:
        await actx.sleep(span_s)
        return
    await actx.sleep(timeout_s)
    raise _too_long(timeout_s)


def _too_long(timeout_s: float) -> StepFailed:
    return StepFailed(f"it took longer than {timeout_s:g} s", result={"timed_out": True})


async def _look(plan: Plan, node: Node, names: Names, do: Action, key: str) -> None:
    given: dict[str, Any] = names.template(dict(do.arguments))
    asked_s = seconds_of(given.pop("poll_interval")) if "poll_interval" in given else None
    pause_s = POLL_S if asked_s is None else asked_s
    document: dict[str, Any] = {"do": do.name, "with": given}
    if "request_timeout" in given:
        document["request_timeout_s"] = seconds_of(given.pop("request_timeout"))
    timeout_s = left_s(plan, node)
    begun = actx.now()
    n = 0
    while True:
        n += 1
        result = await call_job(plan, node, names, document, key=key if n == 1 else f"{key}~{n}")
        made_of(result)
        if result.get("met"):
            return
        waited_s = (actx.now() - begun).total_seconds()
        if timeout_s is not None and waited_s + pause_s > timeout_s:
            raise _too_long(timeout_s)
        await actx.sleep(pause_s if asked_s is not None else longer_pause(waited_s, timeout_s))


def longer_pause(waited_s: float, timeout_s: float | None) -> float:
    """Seconds until the next look: the more, the longer the wait has been, since each look is in the run's history.

    A replay takes a recorded pause as it is, so this rule changes no run that waits already.
    """
    pause_s = min(max(POLL_S, waited_s / 100), LONGEST_POLL_S)
    return pause_s if timeout_s is None else min(pause_s, timeout_s - waited_s)
