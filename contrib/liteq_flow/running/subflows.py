"""`dag.run`, inside the run of the one that calls it; and `dag.enqueue`, a run of its own."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from liteq_flow.errors import FlowRefused
from liteq_flow.model import Action, Flow
from liteq_flow.reader.params import checked
from liteq_flow.running.doing import Made
from liteq_flow.running.names import Names
from liteq_flow.running.plan import Node, Plan, failed_of
from liteq_flow.running.run import StepFailed
from liteq_flow.values import text_of

__all__ = ["do_dag", "given_params", "outputs_of"]

DEEPEST = 20  # a flow may run itself
KEY = re.compile(r"\[[^]]*\]")  # of an item in a path, with slashes of its own


async def do_dag(plan: Plan, node: Node, names: Names, do: Action, key: str) -> Made:
    """Run the flow that the action names, or start a run of it."""
    name = names.text(do.arguments["dag"])
    given = _given(names, do.arguments.get("params") or {})
    try:
        flow, file = plan.run.snapshot.sub(name, plan.file)
    except LookupError as exc:
        raise StepFailed(str(exc)) from None
    if do.name == "dag.enqueue":
        return await _enqueued(plan, do, names, flow, file, given)
    path = f"{key}/"
    if KEY.sub("", path).count("/") > DEEPEST:
        raise StepFailed(f"flows run each other {DEEPEST} deep")
    return await _inside(plan, node, names, flow, file, given, path)


async def _inside(
    plan: Plan, node: Node, names: Names, flow: Flow, file: str, given: dict[str, Any], path: str
) -> Made:  # fmt: skip
    """Run a flow as a part of this run: with its params, and nothing else of the caller's."""
    from liteq_flow.running.body import document_of

    deadline_ms = plan.inner_deadline(node)
    inner = await document_of(plan, flow, file, given, names.context["run"]["id"], path, deadline_ms)
    node.ended_after(inner.nodes.values())
    failure = failed_of(inner)
    if failure is not None:
        raise failure
    outputs = outputs_of(inner)
    text = json.dumps(outputs, ensure_ascii=False)
    return Made(0, text, "", text, outputs)


def outputs_of(plan: Plan) -> dict[str, Any]:
    """The outputs of a document: what `outputs.write` wrote, and each `output: NAME`."""
    return {**_variables(plan), **plan.written()}


def _variables(plan: Plan) -> dict[str, Any]:
    return {
        node.step.variable: node.variable
        for node in plan.nodes.values()
        if node.step.variable is not None and node.status == "succeeded"
    }


async def _enqueued(plan: Plan, do: Action, names: Names, flow: Flow, file: str, given: dict[str, Any]) -> Made:
    from liteq_flow.starting import start

    snapshot = plan.run.snapshot
    queue = do.arguments.get("queue")
    try:
        params = checked(flow, given)
    except FlowRefused as exc:
        raise StepFailed(f"the params of {flow.name!r}: {exc}") from None
    made = start(plan.run.app, snapshot, flow, file, params, queue=None if queue is None else names.text(queue))
    return Made(0, made.id, "", made.id, {"id": made.id, "name": flow.name})


def _given(names: Names, params: Any) -> dict[str, Any]:
    """The params as the file has them, and then the values in them: a blank or a quote in a value ends no param."""
    if isinstance(params, str):
        found = _in_text(params)
        if isinstance(found, _Words):
            return {name: names.text(one) for name, one in found.items()}
        return given_params(names.value(params if found is None else found))
    if isinstance(params, list):
        merged: dict[str, Any] = {}
        for one in params:
            merged |= _given(names, one)
        return merged
    return given_params(names.value(params))


def given_params(value: Any) -> dict[str, Any]:
    """Params as they are handed over: a map, a list of maps, or `k=v` in a text. Raises StepFailed."""
    if isinstance(value, str):
        found = _in_text(value)
        if found is None:
            raise StepFailed(f"params are name=value, not {value!r:.80}")
        return given_params(found)
    if isinstance(value, list):
        merged: dict[str, Any] = {}
        for one in value:
            merged |= given_params(one)
        return merged
    if not isinstance(value, Mapping):
        raise StepFailed(f"params are a map, not {text_of(value)!r:.80}")
    return dict(value)


class _Words(dict[str, str]):
    """Params out of `name=value` words: texts all of them."""


def _in_text(text: str) -> Any:
    """The JSON that a text is, or its `name=value` words; None where it is neither."""
    try:
        return json.loads(text)
    except ValueError:
        if text.lstrip().startswith(("{", "[")):  # JSON once the values are in it
            return None
    try:
        pairs = [word.partition("=") for word in shlex.split(text)]
    except ValueError:
        return None
    return _Words({name: one for name, _, one in pairs}) if all(equals for _, equals, _ in pairs) else None
