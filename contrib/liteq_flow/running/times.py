"""`wait.duration`, `wait.until`, `wait.file`, `wait.http`: nothing is held between two looks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from liteq.workflow import actx
from liteq.workflow.duration import seconds
from liteq_flow.model import Action
from liteq_flow.running.doing import Made, made_of
from liteq_flow.running.jobs import call_job, left_s
from liteq_flow.running.names import Names
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import StepFailed

__all__ = ["do_wait"]

POLL_S = 1.0


async def do_wait(plan: Plan, node: Node, names: Names, do: Action, key: str) -> Made:
    """Wait as the action says."""
    given = do.arguments
    match do.name:
        case "wait.duration":
            await actx.sleep(names.value(given["duration"]))
        case "wait.until":
            until = datetime.fromisoformat(names.text(given["until"]))
            await actx.sleep_until(until if until.tzinfo else until.replace(tzinfo=UTC))
        case "wait.file" | "wait.http":
            await _look(plan, node, names, do, key)
        case _:
            raise StepFailed(f"unknown action {do.name!r}")
    return Made()


async def _look(plan: Plan, node: Node, names: Names, do: Action, key: str) -> None:
    given: dict[str, Any] = names.template(dict(do.arguments))
    pause_s = seconds(given.pop("poll_interval", POLL_S), "poll_interval")
    document: dict[str, Any] = {"do": do.name, "with": given}
    if "request_timeout" in given:
        document["request_timeout_s"] = seconds(given.pop("request_timeout"), "request_timeout")
    timeout_s = left_s(plan, node)
    begun = actx.now()
    n = 0
    while True:
        n += 1
        result = await call_job(plan, node, names, document, key=key if n == 1 else f"{key}~{n}")
        made_of(result)
        if result.get("met"):
            return
        if timeout_s is not None and (actx.now() - begun).total_seconds() + pause_s > timeout_s:
            raise StepFailed(f"it took longer than {timeout_s:g} s", result={"timed_out": True})
        await actx.sleep(pause_s)
