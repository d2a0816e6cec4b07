"""Jobs of a run: each a message of its own, whose key in the history is the step's path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteq.context import App
from liteq.workflow import Step as Called
from liteq.workflow import actx
from liteq_flow.jobs.job import QUEUES, memo_name
from liteq_flow.model import Run, Stream
from liteq_flow.running.names import Names
from liteq_flow.running.plan import Node, Plan
from liteq_flow.running.run import StepFailed, key_of
from liteq_flow.shells.shell import interpreter_of
from liteq_flow.values import text_of

__all__ = ["OVER", "call_job", "has_time", "left_s", "run_job"]

OVER = "the timeout of the step that runs it is over"


async def run_job(
    plan: Plan, node: Node, names: Names, do: Run, *, key: str, condition: bool = False
) -> dict[str, Any]:  # fmt: skip
    """The result of commands, as a message. Raises StepFailed where a reference cannot be found."""
    flow, step = names.flow, node.step
    shell = tuple(map(str, names.template(list(do.shell or flow.shell))))
    texts: list[str] = []
    variables: list[list[str]] = []
    for i, text in enumerate(do.commands):
        words = interpreter_of(text, shell, own_shell=do.shell is not None) if do.script else shell
        filled, more = names.script(text, words)
        for name, _ in more if i else ():  # each command counts its own from 1
            filled = filled.replace(f"${{{name}}}", f"${{{name}_{i}}}")
        texts.append(filled)
        variables += [[f"{name}_{i}" if i else name, value] for name, value in more]
    document = {
        "do": "run", "commands": texts, "script": do.script, "shell": list(shell), "own_shell": do.shell is not None,
        "variables": variables,
    }  # fmt: skip
    if not condition:
        for name, stream in (("stdout", step.stdout), ("stderr", step.stderr)):
            if stream.path or stream.artifact:
                document[name] = _files(stream, names)
    return await call_job(plan, node, names, document, key=key, memo=None if condition else step.memo)


def _files(stream: Stream, names: Names) -> list[Any]:
    return [
        None if stream.path is None else text_of(names.template(stream.path)),
        None if stream.artifact is None else text_of(names.template(stream.artifact)),
    ]


async def call_job(
    plan: Plan, node: Node, names: Names, document: Mapping[str, Any], *, key: str, memo: Any = None
) -> dict[str, Any]:  # fmt: skip
    """The result of a job, done by a worker with --commands. Its failure is a part of it, but for a lost worker.

    memo: how long it may answer the same job of any run; a condition, or a look at what is waited for, never does.
    """
    run, step = plan.run, node.step
    whole = {**names.job(), **document}
    if (timeout_s := left_s(plan, node)) is not None:
        whole["timeout_s"] = timeout_s
    queue = f"{step.queue or names.flow.queue or run.queue}{QUEUES}"
    called = _step_of(run.app, memo_name(memo)).options(
        key=key_of(key), queue=queue, priority=step.priority, limits=tuple(map(names.text, step.limits))
    )  # fmt: skip
    if step.doubt == "ask":
        whole["doubt"] = "ask"
    result = await _placed(plan, node, called, whole)
    n = 0
    while result.get("in_doubt"):
        from liteq_flow.running.people import settle_doubt

        n += 1
        settled = await settle_doubt(plan, node, key, n)
        result = settled or await _placed(plan, node, called.options(key=key_of(f"{key}!{n}")), whole)
    return result


async def _placed(plan: Plan, node: Node, called: Any, document: dict[str, Any]) -> dict[str, Any]:
    """The result of a job that has a place among the steps that run at once."""
    if plan.places is None:
        return await _result(node, called, document)
    async with plan.places:
        return await _result(node, called, document)


async def _result(node: Node, called: Any, document: dict[str, Any]) -> dict[str, Any]:
    handle = await actx.spawn(called, document)
    if handle.id is not None:
        node.children.append(handle.id)
    try:
        result: dict[str, Any] = await handle.result()
    except Exception as exc:
        raise StepFailed(f"{type(exc).__name__}: {exc}") from exc
    node.started_ms = min(node.started_ms or result["started"], result["started"])  # items come in their order
    node.ended_ms = max(node.ended_ms or 0, result["finished"])
    return result


_steps: dict[tuple[int, str], tuple[App, Any]] = {}


def _step_of(app: App, name: str) -> Any:
    """The step by which jobs are sent. It need not be one that this process can execute."""
    found = _steps.get((id(app), name))
    if found is None or found[0] is not app:

        def command(document: dict[str, Any]) -> dict[str, Any]:
            raise NotImplementedError

        found = _steps[id(app), name] = (app, Called(app, command, name, {}))
    return found[1]


def left_s(plan: Plan, node: Node) -> float | None:
    """Seconds that an attempt may take, as of the run's own time; None: any. Raises StepFailed where none is left."""
    timeout_s = node.step.timeout_s
    if plan.deadline_ms is None:
        return timeout_s
    left = (plan.deadline_ms - node.now_ms()) / 1000
    if left <= 0:
        raise StepFailed(OVER, result={"timed_out": True})
    return left if timeout_s is None else min(left, timeout_s)


def has_time(plan: Plan, node: Node, pause_s: float) -> bool:
    """Whether another attempt could begin after a pause, before the timeout of the step that runs it is over."""
    return plan.deadline_ms is None or node.now_ms() + pause_s * 1000 < plan.deadline_ms
