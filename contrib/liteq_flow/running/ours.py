"""`task:`, `workflow:` and `agent:`: what an app knows by name, or `module:name`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from liteq.canvas import Signature
from liteq.workflow import actx
from liteq_flow.model import Ours
from liteq_flow.running.doing import Made
from liteq_flow.running.jobs import left_s
from liteq_flow.running.names import Names
from liteq_flow.running.own import loaded
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import StepFailed
from liteq_flow.values import text_of

__all__ = ["do_ours"]


async def do_ours(plan: Plan, node: Node, names: Names, do: Ours) -> Made:
    """Call a task or a workflow in the pool, or run an agent in this body, whose steps are recorded."""
    given = dict(names.value(dict(do.arguments)))
    if do.kind == "agent":
        return _made(await _agent(loaded(plan.run.app, do.name), given))
    target, timeout_s = _target(plan, do), left_s(plan, node)
    handle = await _sent(plan, node, target, given, timeout_s)
    if handle.id is not None:
        node.children.append(handle.id)
    try:
        if timeout_s is None or not _is_workflow(target):  # a task's process is ended by its time limit
            return _made(await handle.result())
        first, value = await actx.race([handle, actx.timer(timeout_s)])
    except Exception as exc:
        raise StepFailed(f"{type(exc).__name__}: {exc}") from exc
    if first:
        raise StepFailed(f"it took longer than {timeout_s:g} s", result={"timed_out": True})
    return _made(value)


def _made(value: Any) -> Made:
    """The result of a call: its fields where it is a map, and the whole as `result`."""
    plain = value if value is None or isinstance(value, (str, int, float, bool, list, dict)) else _plain(value)
    outputs = {"result": plain, **(plain if isinstance(plain, dict) else {})}
    text = text_of(plain)
    return Made(stdout=text, variable=text.strip(), outputs=outputs)


def _plain(value: Any) -> Any:
    from liteq.serialization.models import data_of

    found = data_of(value)
    return found if isinstance(found, (str, int, float, bool, list, dict)) or found is None else str(found)


def _target(plan: Plan, do: Ours) -> Any:
    """The task, by its name; a process that does not know it sends it all the same, to one that does."""
    if ":" in do.name:
        found = loaded(plan.run.app, do.name)
        if not isinstance(getattr(found, "name", None), str) or not hasattr(found, "apply_async"):
            raise StepFailed(f"{do.name!r} is no {do.kind}: {found!r:.80}")
        return found
    found = plan.run.app.tasks.find(do.name)
    if found is None:
        return SimpleNamespace(name=do.name, apply_async=None)
    return found


def _is_workflow(target: Any) -> bool:
    return bool(getattr(target, "is_workflow", False))


def _sent(plan: Plan, node: Node, target: Any, given: dict[str, Any], timeout_s: float | None) -> Any:
    """Send a call, with the queue, the priority and the timeout of the step."""
    options: dict[str, Any] = {"queue": node.step.queue, "priority": node.step.priority}
    if not _is_workflow(target):
        options["time_limit"] = timeout_s
    options = {name: value for name, value in options.items() if value is not None}
    if not options:
        return actx.spawn(target, **given)
    if _is_workflow(target):
        return actx.spawn(target.options(**options), **given)
    return actx.spawn(Signature(target.name, kwargs=given, app=plan.run.app, options=options))


async def _agent(agent: Any, given: Mapping[str, Any]) -> Any:
    """Run an agent: of pydantic-ai, which has `run(prompt, ...)`; of any kind that is called so; or a function."""
    arguments = dict(given)
    prompt = arguments.pop("prompt", None)
    run = getattr(agent, "run", None) or agent
    if not callable(run):
        raise StepFailed(f"{agent!r:.80} is no agent: it has no run(), and is not called")
    try:
        found = run(prompt, **arguments) if prompt is not None else run(**arguments)
        if inspect.isawaitable(found):
            found = await found
    except Exception as exc:
        raise StepFailed(f"{type(exc).__name__}: {exc}") from exc
    for name in ("output", "final_output"):
        if hasattr(found, name):
            return getattr(found, name)
    return found
