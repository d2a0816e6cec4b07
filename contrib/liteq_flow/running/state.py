"""`state.get`, `set`, `delete`, `list`, `diff`: what flows remember from run to run, each change made exactly once."""

from __future__ import annotations

import json
from typing import Any

from liteq.serialization import decode, encode
from liteq.storage.kept import flow_state
from liteq.workflow import Step as Called
from liteq.workflow import actx, ctx
from liteq_flow.model import Action
from liteq_flow.running.doing import Made
from liteq_flow.running.names import Names
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import StepFailed, key_of

__all__ = ["do_state"]

NAME = "liteq.flow.state"


class Refused(Exception):
    """Raised where a condition of a change does not hold."""


async def do_state(plan: Plan, _node: Node, names: Names, do: Action, key: str) -> Made:
    """Look at a value, or change it. Raises StepFailed where a condition of it does not hold."""
    given = dict(names.value(dict(do.arguments)))
    scope = _scope_of(given, names)
    app = plan.run.app

    def change(what: str, scope: str, given: dict[str, Any]) -> dict[str, Any]:
        return DOING[what](scope, given, app.clock.now_ms())

    step = Called(app, change, NAME, {"tx": True, "give_up_on": (Refused,), "key": key_of(key)})
    try:
        found: dict[str, Any] = await actx.run(step, do.name, scope, given)
    except Refused as exc:
        raise StepFailed(str(exc)) from None
    value = found.get("value")
    shown = value if "value" in found else found
    text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    return Made(0, text, "", text, found)


def _scope_of(given: dict[str, Any], names: Names) -> str:
    scope, namespace = given.get("scope") or "dag", given.get("namespace")
    match scope:
        case "global":
            return f"global:{namespace}" if namespace else "global"
        case "custom":
            return f"custom:{namespace}"
        case "root_dag":
            return f"dag:{namespace or names.context['run']['root_name']}"
    return f"dag:{namespace or names.flow.name}"


def _get(scope: str, given: dict[str, Any], _now_ms: int) -> dict[str, Any]:
    kept = flow_state.find(ctx.tx, scope, given["key"])
    if kept is None and given.get("required"):
        raise Refused(f"there is no value {given['key']!r}")
    if kept is None:
        return {"key": given["key"], "found": False, "value": given.get("default"), "version": 0}
    return {"key": kept.key, "found": True, "value": decode(kept.value), "version": kept.version}


def _set(scope: str, given: dict[str, Any], now_ms: int) -> dict[str, Any]:
    key = given["key"]
    kept = flow_state.find(ctx.tx, scope, key)
    version = 0 if kept is None else kept.version
    if given.get("create_only") and kept is not None:
        raise Refused(f"there is a value {key!r} already")
    wanted = given.get("expected_version")
    if wanted is not None and int(wanted) != version:
        raise Refused(f"the value {key!r} has the version {version}, not {wanted}")
    flow_state.put(ctx.tx, scope, key, encode(given["value"], what=f"the value {key!r}"), now_ms=now_ms)
    return {"key": key, "value": given["value"], "version": version + 1, "created": kept is None}


def _delete(scope: str, given: dict[str, Any], _now_ms: int) -> dict[str, Any]:
    kept = flow_state.find(ctx.tx, scope, given["key"])
    flow_state.delete(ctx.tx, scope, given["key"])
    return {"key": given["key"], "deleted": kept is not None}


def _list(scope: str, given: dict[str, Any], _now_ms: int) -> dict[str, Any]:
    entries = []
    for kept in flow_state.listed(ctx.tx, scope, given.get("prefix") or "", int(given.get("limit") or 0)):
        value = {"value": decode(kept.value)} if given.get("include_values") else {}
        entries.append({"key": kept.key, "version": kept.version, **value})
    return {"entries": entries, "count": len(entries)}


def _diff(scope: str, given: dict[str, Any], now_ms: int) -> dict[str, Any]:
    kept = flow_state.find(ctx.tx, scope, given["key"])
    before = None if kept is None else decode(kept.value)
    changed = kept is None or before != given["value"]
    found = {"key": given["key"], "changed": changed, "previous": before, "current": given["value"]}
    if changed and given.get("update", True):
        return {**found, "version": _set(scope, given, now_ms)["version"]}
    return {**found, "version": 0 if kept is None else kept.version}


DOING = {
    "state.get": _get, "state.set": _set, "state.delete": _delete, "state.list": _list, "state.diff": _diff,
}  # fmt: skip
