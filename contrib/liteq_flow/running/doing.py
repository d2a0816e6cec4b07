"""The work of a step, once: by what it does. `Made`: the things that came of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from liteq.workflow import actx
from liteq_flow.model import Action, Event, Foreach, Nothing, Ours, Run
from liteq_flow.running.jobs import call_job, left_s, run_job
from liteq_flow.running.names import Names
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import StepFailed, key_of
from liteq_flow.values import text_of

__all__ = ["Made", "attempt_key", "do_once", "do_step", "made_of"]


@dataclass(slots=True)
class Made:
    """The things that a step has made. `variable`: for `output: NAME`; `outputs`: by name, of an action's own."""

    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    variable: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)
    artifact: dict[str, Any] | None = None
    kept: dict[str, Any] | None = None
    """All its outputs, with those that the step's `output`, `outputs` and `stdout.outputs` name; None until then."""


async def do_step(plan: Plan, node: Node, names: Names) -> Made:
    """Do the work of a step once. Raises StepFailed, UnknownReference."""
    if node.step.parallel is not None:
        from liteq_flow.running.loops import do_parallel

        return await do_parallel(plan, node, names)
    return await do_once(plan, node, names, attempt_key(node))


def attempt_key(node: Node, suffix: str = "") -> str:
    """The key of an attempt of a step: its path, with a number from the second on."""
    return f"{node.path}{suffix}" if node.attempts < 2 else f"{node.path}{suffix}#{node.attempts}"


async def do_once(plan: Plan, node: Node, names: Names, key: str) -> Made:
    """Do what a step does, under a key of its own."""
    do = node.step.do
    match do:
        case Run():
            return made_of(await run_job(plan, node, names, do, key=key))
        case Nothing():
            return Made()
        case Event():
            plan.someone_waits()
            payload = await actx.wait_event(names.text(do.name), timeout=left_s(plan, node), key=key_of(key))
            return Made(variable=text_of(payload), stdout=text_of(payload), outputs={"payload": payload})
        case Foreach():
            from liteq_flow.running.loops import do_foreach

            return await do_foreach(plan, node, names, do)
        case Ours():
            from liteq_flow.running.ours import do_ours

            return await do_ours(plan, node, names, do)
        case Action():
            return await _action(do.name)(plan, node, names, do, key)


def made_of(result: dict[str, Any]) -> Made:
    """A job's result as such. Raises StepFailed where it says so."""
    if result.get("error") is not None or result.get("exit_code") != 0:
        raise StepFailed(str(result.get("error") or "it failed"), result.get("exit_code"), result=result)
    stdout = result.get("stdout") or ""
    artifact = result.get("artifact")
    variable = json.dumps({"artifact": artifact}) if artifact else stdout.strip()
    return Made(0, stdout, result.get("stderr") or "", variable, dict(result.get("outputs") or {}), artifact)


# -- actions ---------------------------------------------------------------------------------------------------------

Doing = Callable[[Plan, Node, Names, Action, str], Awaitable[Made]]


def _action(name: str) -> Doing:
    found = ACTIONS.get(name)
    if found is not None:
        return found
    family = name.partition(".")[0]
    if family == "dag":
        from liteq_flow.running.subflows import do_dag

        return do_dag
    if family == "human":
        from liteq_flow.running.people import do_human_task

        return do_human_task
    if family == "state":
        from liteq_flow.running.state import do_state

        return do_state
    if family == "wait":
        from liteq_flow.running.times import do_wait

        return do_wait
    raise StepFailed(f"unknown action {name!r}")


async def _job(plan: Plan, node: Node, names: Names, do: Action, key: str) -> Made:
    document = {"do": do.name, "with": names.template(dict(do.arguments))}
    return made_of(await call_job(plan, node, names, document, key=key, memo=node.step.memo))


async def _exec(plan: Plan, node: Node, names: Names, do: Action, key: str) -> Made:
    """`exec`: a program with its arguments, without a shell."""
    given = names.template(dict(do.arguments))
    argv = [text_of(given["command"]), *(text_of(one) for one in given.get("args") or ())]
    return made_of(await call_job(plan, node, names, {"do": "exec", "argv": argv}, key=key, memo=node.step.memo))


async def _log(plan: Plan, node: Node, names: Names, do: Action, key: str) -> Made:
    document = {"do": "log.write", "message": text_of(names.template(do.arguments.get("message", "")))}
    return made_of(await call_job(plan, node, names, document, key=key, memo=node.step.memo))


async def _noop(_plan: Plan, _node: Node, _names: Names, _do: Action, _key: str) -> Made:
    return Made()


async def _outputs(_plan: Plan, node: Node, names: Names, do: Action, _key: str) -> Made:
    """`outputs.write`: outputs of the run, with their types."""
    values = dict(names.value(dict(do.arguments["values"])))
    node.written |= values
    return Made(outputs=values)


async def _route(_plan: Plan, node: Node, names: Names, do: Action, _key: str) -> Made:
    """`router.route`: the first pattern that fits says which steps run; the others that it names are skipped."""
    from liteq_flow.running.gates import fits

    value = names.text(do.arguments["value"])
    routes: Mapping[str, Any] = do.arguments["routes"]
    for pattern, targets in routes.items():
        wanted = pattern if pattern.startswith("re:") else names.text(pattern)
        if wanted == value or fits(wanted, value):
            node.chosen = frozenset([targets] if isinstance(targets, str) else targets)
            break
    return Made(variable=value, stdout=value, outputs={"value": value, "chosen": sorted(node.chosen)})


ACTIONS: dict[str, Doing] = {
    "exec": _exec,
    "log.write": _log,
    "noop": _noop,
    "outputs.write": _outputs,
    "router.route": _route,
    **dict.fromkeys(("http.request", "file.read", "file.write", "template.render", "mail.send"), _job),
}
