"""Steps that wait for a person: approvals of the run, titled by the step's path. They hold nothing while they wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteq.workflow import actx
from liteq_flow.errors import FlowRefused
from liteq_flow.model import Action
from liteq_flow.running.doing import Made
from liteq_flow.running.jobs import left_s
from liteq_flow.running.names import Names
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import StepFailed, key_of, shown
from liteq_flow.schemas.forms import fill
from liteq_flow.values import text_of

__all__ = ["approve_step", "closed", "do_human_task", "settle_doubt"]


async def do_human_task(plan: Plan, node: Node, names: Names, do: Action, key: str) -> Made:
    """`human.task`: a person fills in a form; its fields are the outputs."""
    prompt, form = names.text(do.arguments.get("prompt", "")), do.arguments.get("form")
    values = await _ask(plan, node, prompt, form, title=shown(node.path), key=key)
    return Made(outputs=values, variable=text_of(values), stdout=text_of(values))


async def approve_step(plan: Plan, node: Node, names: Names) -> dict[str, Any]:
    """`approval` of a step that has done its work: what the person filled in."""
    wanted = node.step.approval
    assert wanted is not None
    prompt, form = names.text(wanted.prompt), wanted.form or None
    return await _ask(plan, node, prompt, form, title=shown(node.path), key=f"{node.path}!")


async def _ask(plan: Plan, node: Node, prompt: str, form: Any, *, title: str, key: str) -> dict[str, Any]:
    plan.someone_waits()
    schema = closed(form) if form else None
    details = {"prompt": prompt, "step": node.step.name}
    decision = await actx.approval(title, details=details, form=schema, timeout=left_s(plan, node), key=key_of(key))
    if not decision.ok:
        by = f" by {decision.by}" if decision.by else ""
        raise StepFailed(f"it was rejected{by}" + (f": {decision.comment}" if decision.comment else ""))
    try:
        return dict.fromkeys((form or {}).get("properties") or {}) | fill(form or {}, decision.data or {})
    except FlowRefused as exc:
        raise StepFailed(f"what was filled in does not fit: {exc}") from None


DOUBT = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["done", "repeat", "fail"]}, "result": {}},
    "required": ["answer"],
    "additionalProperties": False,
}


async def settle_doubt(plan: Plan, node: Node, key: str, n: int) -> dict[str, Any] | None:
    """A person says how a command ended that was begun and has no end: its result; None: it is to be run again.

    Raises StepFailed where it is to fail.
    """
    plan.someone_waits()
    prompt = (
        f"Step {shown(node.path)!r} was begun, and nobody knows how it ended. Is it done, to be repeated, or to fail?"
    )
    details = {"prompt": prompt, "step": node.step.name, "step_key": key, "attempt": n}
    decision = await actx.approval(shown(node.path), details=details, form=DOUBT, key=key_of(f"{key}!?{n}"))
    said = decision.data or {}
    if not decision.ok or said.get("answer") == "fail":
        raise StepFailed("it was begun, and nobody knew how it ended: it was said to fail")
    if said.get("answer") == "repeat":
        return None
    at = node.now_ms()
    outputs = said["result"] if isinstance(said.get("result"), dict) else {}
    return {"exit_code": 0, "stdout": text_of(said.get("result")), "outputs": outputs, "started": at, "finished": at}


def closed(form: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a form: an object whose fields are those that it names, and no more."""
    properties = {
        name: {key: one for key, one in field.items() if key != "required"}
        for name, field in (form.get("properties") or {}).items()
    }
    required = [name for name in form.get("required") or () if "default" not in properties.get(name, {})]
    open_ = bool(form.get("additionalProperties", False))
    return {**form, "type": "object", "properties": properties, "required": required, "additionalProperties": open_}
