"""The tools that act on tasks, runs, schedules and queues: by the operator's verbs, each noted in the audit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from liteq.exceptions import LiteqError
from liteq.monitor.runs.workflows import runs_seen
from liteq.monitor.schedules import schedule as schedule_document
from liteq.monitor.tasks.queues import queue as queue_document
from liteq.operating import Actor, act
from liteq.operating.commands import command_words
from liteq.storage.runs.records import RunRecord
from liteq.utils.async_threads import looking, writing
from liteq.utils.misspelt import meant
from liteq.utils.text import printable
from liteq.workflow.client.approving import checked_data
from liteq_dashboard.acts.hands import RIGHTS, RIGHTS_OF_RUNS, act_on_schedule, pause, purge, resume
from liteq_dashboard.http import Reader
from liteq_mcp.asking import confirmed
from liteq_mcp.bulk import BULK
from liteq_mcp.outcomes import read
from liteq_mcp.schemas import ID, MAYBE, REASON, TEXT, YES, gives, takes
from liteq_mcp.tools import Call, Refused, ToolOf

__all__ = ["ACTING", "actor", "tried"]

SOURCE: Final = "mcp"
OF_TASKS: Final = ("retry", "requeue", "revoke", "terminate", "delete", "move", "run_at")
RIGHT_OF: Final = {name: RIGHTS[name.replace("_", "-")] for name in OF_TASKS}
OF_RUNS: Final = {"approve": "approve", **RIGHTS_OF_RUNS}
OF_QUEUES: Final = {"pause": "pause", "resume": "pause", "purge": "delete"}
AS_AN_ACT: Final = {"retry": "requeue"}  # the act of another name that it is of a run
DONE: Final = gives("id", "message", id=TEXT, message=TEXT, command=MAYBE)
FOLLOWS: Final = {
    "terminate": "the process that runs it is killed, and it is not run again",
    "delete": "it is gone for good",
    "rewind": "the steps from there on are forgotten, and run again with all that they do",
}


def actor(call: Call, reason: str = "") -> Actor:
    """The viewer, as the audit names one."""
    return Actor(call.viewer.name, SOURCE, printable(reason or str(call.get("reason", "")))[:1_000])


async def tried(call: Call, do: Callable[[], Any]) -> Any:
    """Call `do` in the thread that writes, and return its result. Raises Refused with the words of its error."""
    try:
        return await writing(call.app, do)
    except (LiteqError, ValueError, TypeError, KeyError) as exc:
        if isinstance(exc, KeyError) and not isinstance(exc, LiteqError):
            raise Refused(f"there is no {exc.args[0]!r:.100}") from exc
        raise Refused(str(exc)) from exc


# -- tasks -------------------------------------------------------------------------------------------------------------


async def on_task(call: Call) -> dict[str, Any]:
    """One act on one task. Raises Refused, and what `confirmed` raises."""
    asked, id_ = call.arguments["action"], call.arguments["id"]
    action = asked.replace("_", "-")
    given = {name: call.arguments[name] for name in ("queue", "priority", "at") if call.get(name) is not None}
    await _confirmed(call, asked, action, id_, given)
    app, by, see = call.app, actor(call), call.viewer.sight
    done = await tried(call, lambda: act(app, action, id_, by=by, see=see, **given))
    return {"id": done.id, "message": done.message, "command": done.command}


async def _confirmed(call: Call, asked: str, action: str, id_: str, given: dict[str, Any]) -> None:
    """Ask before what destroys. Raises Refused for an id that is not there, before anybody is asked."""
    record = await looking(call.app, read, call.app, id_, call.viewer.sight)
    if record is None:
        raise Refused(f"there is no task or run {id_!r:.100}")
    if asked in FOLLOWS:
        looked = await looking(call.app, call.app.storage.operations.look, action, [id_])
        if why := next((why for _, why in looked), "it is no task that a person may ask for"):
            raise Refused(f"{asked} does nothing to {id_}: {why}")
        text = f"{asked} {record.task} {id_} ({record.state}, queue {record.queue})? Then {FOLLOWS[asked]}."
        await confirmed(call, asked, text, command_words(action, id_, given))


# -- runs --------------------------------------------------------------------------------------------------------------


async def on_run(call: Call) -> dict[str, Any]:
    """One act on one run. Raises Refused, and what `confirmed` raises."""
    action, id_ = call.arguments["action"], call.arguments["id"]
    run = await looking(call.app, _run_seen, call, id_)
    if run is None:
        raise Refused(f"there is no run {id_!r:.100}")
    match action:
        case "approve":
            return await _approve(call, id_, run.name, run.queue)
        case "send":
            return await _send(call, id_, run.queue)
        case "fork":
            step = _number(call)
            made = await tried(call, lambda: call.app.Run(id_).fork(step))
            await _note(call, "fork", id_, run.queue)
            return {"id": made.id, "message": f"{made.id} is a new run of {run.name}, with the steps before {step}."}
    given = {"step": _step(call)} if action == "rewind" else {}
    name = AS_AN_ACT.get(action, action)
    await _confirmed(call, action, name, id_, given)
    app, by, see = call.app, actor(call), call.viewer.sight
    done = await tried(call, lambda: act(app, name, id_, by=by, see=see, **given))
    return {"id": done.id, "message": done.message, "command": done.command}


def _run_seen(call: Call, id_: str) -> RunRecord | None:
    """The run, where the viewer sees it: by its own queue, and by that of the workflow that it is in."""
    run = call.app.storage.runs.find(id_)
    return next(iter(runs_seen(call.app, [run], call.viewer.sight)), None) if run is not None else None


async def _approve(call: Call, id_: str, name: str, queue: str) -> dict[str, Any]:
    title, ok, data = call.get("title"), call.get("ok", True), call.arguments.get("data")
    if title is None:
        raise Refused("title: name the approval; `workflow` lists those that are open")
    open_ = await looking(call.app, lambda: call.app.storage.runs.approvals(id_))
    asked = next((one for one in open_ if one.title == title), None)
    if asked is None:  # else a person would be asked for nothing
        told = "it was decided already, or never asked for; `workflow` lists those that are open"
        hint = meant(title, [one.title for one in open_], told)
        raise Refused(f"title: the run waits for no approval {title!r:.200}{hint}")
    if ok:
        try:
            checked_data(title, data)(asked.details)
        except (LiteqError, ValueError) as exc:
            raise Refused(str(exc)) from exc
    word, comment = "Approve" if ok else "Reject", str(call.get("reason", ""))
    with_data = f" with {data!r:.300}" if data is not None else ""
    text = f"{word} {title!r} of {name} {id_}{with_data}? The decision is yours ({call.viewer.name}), and final."
    command = ["workflow", "approve", id_, title, "--yes" if ok else "--no", "--by", call.viewer.name]
    command += [f"--comment={comment}"] if comment else []
    command += [f"--data={json.dumps(data)}"] if data is not None else []
    await confirmed(call, "approve", text, command)
    by = call.viewer.name
    new = await tried(call, lambda: call.app.Run(id_).approve(title, ok, by=by, comment=comment, data=data))
    await _note(call, "approve" if ok else "reject", f"{id_} {title}", queue)
    said = "approved" if ok else "rejected"
    return {"id": id_, "message": f"{title!r} was {said}{'' if new else ' before; nothing was changed'}."}


async def _send(call: Call, id_: str, queue: str) -> dict[str, Any]:
    name, payload = call.get("name"), call.arguments.get("payload")
    if name is None:
        raise Refused("name: name the event")
    await tried(call, lambda: call.app.Run(id_).send(name, payload))
    await _note(call, "send", id_, queue)
    return {"id": id_, "message": f"The event {name!r} was sent."}


def _step(call: Call) -> str:
    step = call.get("step")
    if step is None:
        raise Refused("step: name the step, or give its number from 1")
    return str(step)


def _number(call: Call) -> int:
    step = _step(call)
    if not step.isdecimal():
        raise Refused(f"step: fork takes the number of a step, from 1, not {step!r:.100}")
    return int(step)


async def _note(call: Call, action: str, target: str, queue: str | None) -> None:
    """Note an act whose verb notes nothing itself."""
    by = actor(call)
    await tried(call, lambda: call.app.storage.audit.note(by, action, target, queue=queue))


# -- schedules and queues ----------------------------------------------------------------------------------------------


async def on_schedule(call: Call) -> dict[str, Any]:
    """Run, pause or resume a schedule. Raises Refused."""
    app, action, name = call.app, call.arguments["action"], call.arguments["name"]
    see, by = call.viewer.sight, actor(call)
    found = await looking(app, schedule_document, app, name, see)
    if found is None:
        raise Refused(f"there is no schedule {name!r:.100}")
    reader, queue = Reader(app, see), found["queue"]
    sent = await tried(call, lambda: act_on_schedule(reader, action, name, by=by, queue=queue))
    words = {"run": "was sent", "pause": "is paused", "resume": "goes on"}
    id_ = getattr(sent, "id", None)
    return {"id": id_ or name, "name": name, "message": f"{name} {words[action]}{f' as {id_}' if id_ else ''}."}


async def on_queue(call: Call) -> dict[str, Any]:
    """Pause, resume or purge a queue. Raises Refused, and what `confirmed` raises."""
    app, action, name = call.app, call.arguments["action"], call.arguments["queue"]
    see, by = call.viewer.sight, actor(call)
    reader = Reader(app, see)
    if not see.covers(name):
        raise Refused(f"there is no queue {name!r:.100}")
    if action != "purge":
        do = pause if action == "pause" else resume
        said = await tried(call, lambda: do(reader, name, by))
        return {"id": name, "queue": name, "message": said}
    found = await looking(app, queue_document, app, name, see)
    waiting = found["waiting"] if found is not None else {"n": 0, "exact": True}
    n = f"{waiting['n']:,}{'' if waiting['exact'] else ' or more'}"
    text = f"purge the queue {name}? The {n} tasks that wait in it are deleted for good; what awaits them is revoked."
    await confirmed(call, "purge", text, ["purge", "-Q", name], about=f"purge {name}")
    purged = await tried(call, lambda: purge(reader, name, by))
    return {"id": name, "queue": name, "purged": purged, "message": f"{purged} tasks were deleted."}


TOOLS = (
    ToolOf(
        "act_on_task",
        "Do something to one task: retry (a waiting one now), requeue (a dead one), revoke, terminate (kill), delete, "
        "move (to `queue` or `priority`), run_at (`at`). Its state decides what can be done.",
        on_task,
        takes("id", "action", id=ID, action={}, reason=REASON, queue=TEXT, priority={"type": "integer"},
              at={**TEXT, "description": "2026-11-28T14:30+00:00"}),
        DONE,
        actions=RIGHT_OF,
        destroys=True,
        repeats=True,
    ),
    ToolOf(
        "act_on_run",
        "Do something to one run of a workflow: approve (`title`, `ok`, `data` for its form), cancel, terminate, "
        "pause, resume, retry, fork or rewind (`step`), send an event (`name`, `payload`).",
        on_run,
        takes("id", "action", id=ID, action={}, reason=REASON, title=TEXT, ok=YES, data={}, name=TEXT, payload={},
              step={"type": ["integer", "string"]}),
        DONE,
        actions=OF_RUNS,
        destroys=True,
    ),
    ToolOf(
        "act_on_schedule",
        "Run a schedule now, pause it, or resume it.",
        on_schedule,
        takes("name", "action", name=ID, action={}, reason=REASON),
        DONE,
        actions=dict.fromkeys(("pause", "resume", "run"), "schedules"),
    ),
    ToolOf(
        "act_on_queue",
        "Pause a queue (what runs goes on), resume it, or purge it: delete all that waits.",
        on_queue,
        takes("queue", "action", queue=ID, action={}, reason=REASON),
        DONE,
        actions=OF_QUEUES,
        destroys=True,
        repeats=True,
    ),
)  # fmt: skip

ACTING = (TOOLS[0], BULK, *TOOLS[1:])
"""The tools that act; each is for those who have the right of one of its actions."""
