"""The tools that send: any task by its name, those tasks that have a tool of their own, and workflows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from liteq.monitor.schedules import queue_of_call
from liteq.utils.async_threads import looking, writing
from liteq.utils.misspelt import meant
from liteq_mcp.acting import actor, tried
from liteq_mcp.asking import confirmed
from liteq_mcp.flows import Start, flow_of
from liteq_mcp.options import Options, is_reserved
from liteq_mcp.schemas import ID, INTEGER, MAYBE, NUMBER, OBJECT, TEXT, gives, takes
from liteq_mcp.signatures import Signature, doc_of, signature_of
from liteq_mcp.tools import Call, Refused, ToolOf, checked

if TYPE_CHECKING:
    from liteq import LiteQ
    from liteq_dashboard.access import Viewer

__all__ = ["SEND_TASK", "own_tools", "start_workflow"]

OPTIONS: Final = {
    "queue": TEXT, "priority": INTEGER, "countdown": NUMBER, "eta": TEXT, "expires": NUMBER, "task_id": ID,
}  # fmt: skip
SENT: Final = gives("id", id=TEXT, task=TEXT, state=TEXT, message=TEXT)
NAMED: Final = 50  # workflows that a schema names
SHOWN: Final = 400  # characters of the arguments in a question


# -- any task by its name ----------------------------------------------------------------------------------------------


async def send_task(call: Call) -> dict[str, Any]:
    """Send a task by its name. Raises Refused, and what `confirmed` raises."""
    app, name = call.app, call.arguments["name"]
    args, kwargs, options = call.get("args", []), call.get("kwargs", {}), call.get("options", {})
    if is_reserved(name):
        raise Refused(f"name: {name:.200} is a task of liteq's own, which is not sent by hand")
    queue = _seen(call, queue_of_call(app, name, options, args, kwargs), name)
    known = app.tasks.find(name)
    if known is not None and known.typing:  # else a person would be asked for what can only fail
        await tried(call, lambda: known.check_arguments(args, kwargs))
    text = f"Send {name} to the queue {queue} with {_shown(args, kwargs)}? A worker runs it, and all that it does."
    by_hand = ["call", name, "--args", json.dumps(args), "--kwargs", json.dumps(kwargs)]
    by_hand += [f"--{option.replace('_', '-')}={value}" for option, value in options.items()]
    await confirmed(call, "send_task", text, by_hand)

    def send() -> Any:
        if known is None:
            return app.send_task(name, args, kwargs, **options)
        return known.apply_async(args, kwargs, **options)

    return await _sent(call, await tried(call, send), name, queue)


def _shown(args: list[Any], kwargs: dict[str, Any]) -> str:
    text = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _seen(call: Call, queue: str | None, name: str) -> str:
    """`queue`, where the viewer sees it. Raises Refused."""
    if queue is None:
        raise Refused(f"{name}: there is no queue for this call: its route raises, or the queue is not in task_queues")
    if not call.viewer.sight.sees(queue):
        raise Refused(f"{name} goes to a queue that you do not see")
    return queue


async def _sent(call: Call, sent: Any, name: str, queue: str) -> dict[str, Any]:
    by = actor(call)
    await writing(call.app, lambda: call.app.storage.audit.note(by, "send", name, queue=queue))
    return {"id": sent.id, "task": name, "state": "PENDING", "message": f"{name} was sent as {sent.id}."}


SEND_TASK = ToolOf(
    "send_task",
    "Send any task by its name; a person is asked. The id comes at once: follow it with `wait`.",
    send_task,
    takes("name", name=ID, args={"type": "array"}, kwargs=OBJECT,
          options={"type": "object", "properties": OPTIONS, "additionalProperties": False}),
    SENT,
    right="send",
    destroys=True,
)  # fmt: skip


# -- tasks with a tool of their own ------------------------------------------------------------------------------------


def own_tools(app: LiteQ, options: Options) -> list[ToolOf]:
    """A tool for each task that the server was told of. Raises ImproperlyConfigured."""
    return [_own(name, task) for name, task in options.own_tasks(app).items()]


def _own(name: str, task: Any) -> ToolOf:
    signature = signature_of(task)

    async def run(call: Call) -> dict[str, Any]:
        args, kwargs = _made(signature, dict(call.arguments))
        queue = _seen(call, queue_of_call(call.app, task.name, args=args, kwargs=kwargs), task.name)
        return await _sent(call, await tried(call, lambda: task.apply_async(args, kwargs)), task.name, queue)

    about = doc_of(task.run) or f"Run the task {task.name}."
    return ToolOf(name, f"{about}\n\nRuns the task {task.name}; its id comes at once: follow it with `wait`.", run,
                  signature.schema, SENT, starts=True)  # fmt: skip


def _made(signature: Signature, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    try:
        return signature.call(given)
    except ValueError as exc:
        raise Refused(str(exc)) from exc


# -- workflows ---------------------------------------------------------------------------------------------------------


def start_workflow(app: LiteQ, options: Options, viewer: Viewer) -> ToolOf | None:
    """The tool that starts workflows; None for a viewer that may start none."""
    if not options.may_start(viewer):
        return None
    known = options.own_workflows(app)
    name = {"enum": sorted(known)} if 0 < len(known) <= NAMED else ID

    async def start(call: Call) -> dict[str, Any]:
        return await _start(call, known)

    return ToolOf(
        "start_workflow",
        "Start a run of a workflow or a flow: `input` has its named arguments, or its params. The same `id` again is "
        "the same run. The id comes at once: follow it with `wait` or `workflow`.",
        start,
        takes("name", name=name, input=OBJECT, id=ID),
        gives("id", id=TEXT, name=TEXT, status=TEXT, state=TEXT, message=TEXT, queue=MAYBE),
        starts=True,
        repeats=True,
    )  # fmt: skip


async def _start(call: Call, known: dict[str, Any]) -> dict[str, Any]:
    name, id_ = call.arguments["name"], call.get("id")
    flow = known.get(name)
    if flow is None:
        raise Refused(f"name: there is no workflow {name!r:.100}{meant(name, known, 'the app has none')}")
    routed, start = await _starting(call, name, flow, dict(call.get("input", {})))
    queue = _seen(call, routed, name)
    app, by = call.app, actor(call)

    def begin() -> tuple[Any, bool]:
        was_there = id_ is not None and app.storage.runs.find(id_) is not None
        run = start(id_)
        if not was_there and not run.duplicate:
            app.storage.audit.note(by, "start", run.id, queue=queue)
        return run, was_there or run.duplicate

    run, was_there = await tried(call, begin)
    said = "was there already" if was_there else "was started"
    return {"id": run.id, "name": name, "state": "PENDING", "queue": queue, "message": f"The run {run.id} {said}."}


async def _starting(call: Call, name: str, found: Any, given: dict[str, Any]) -> tuple[str | None, Start]:
    """The queue of a workflow or a flow, and what starts a run of it under an id. Raises Refused for its input."""
    if isinstance(found, Path):
        return await looking(call.app, flow_of, call.app, found, given)
    args, kwargs = _checked_input(signature_of(found), given)
    queue = queue_of_call(call.app, name, args=args, kwargs=kwargs)
    return queue, lambda id_: found.options(id=id_).start(*args, **kwargs)


def _checked_input(signature: Signature, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    try:
        checked(signature.schema, given)
    except Refused as exc:
        raise Refused(f"input.{exc}") from exc
    return _made(signature, given)
