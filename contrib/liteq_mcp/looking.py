"""The tools that look: the readers of the dashboard, each as far as its viewer may see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from liteq.monitor.file import file
from liteq.monitor.findings import findings
from liteq.monitor.overview import overview
from liteq.monitor.schedules import schedules
from liteq.monitor.tasks.failures import cause, failures
from liteq.monitor.tasks.queues import queues
from liteq.monitor.tasks.tasks import task, tasks
from liteq.utils.async_threads import looking
from liteq_mcp.bounds import fitting
from liteq_mcp.outcomes import LONGEST_WAIT_S, outcome, wait
from liteq_mcp.schemas import ID, LIST, MAYBE, NUMBER, OBJECT, TEXT, YES, gives, takes
from liteq_mcp.tools import Call, Refused, ToolOf
from liteq_mcp.workflows import LISTED, PARTS_OF_WORKFLOWS, workflow

__all__ = ["LOOKING"]

PARTS_OF_TASKS: Final = ("why", "attempts", "kin", "traceback", "streams", "limits", "unique", "batch", "links")
LONGEST_PAGE: Final = 100  # items
AFTER: Final = {**TEXT, "description": "`next` of the page before"}
SEARCH: Final = (
    'Words: state:dead queue:mail task:shop.* -task:x error:Card* since:1h tag:a root:ID args.0:7 kwargs.user:4 "text"'
    "; states: scheduled blocked pending held leased succeeded dead cancelled upstream_failed"
)
ITEMS: Final = gives("items", items=LIST, next=MAYBE, note=MAYBE)

Look = Callable[[Call], dict[str, Any]]


def limit_of(default: int) -> dict[str, Any]:
    """The schema of a page's length."""
    return {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": default}


PAGE: Final = {"after": AFTER, "limit": limit_of(LONGEST_PAGE)}


def _in_thread(look: Look) -> Callable[[Call], Awaitable[dict[str, Any]]]:
    async def do(call: Call) -> dict[str, Any]:
        return await looking(call.app, look, call)

    return do


def _in_pages(look: Look, key: Callable[[Call], str] = lambda _: "name") -> Callable[[Call], Awaitable[dict[str, Any]]]:
    """A tool that gives the list of `look` in pages. `key`: the field of an item that `after` and `next` hold."""

    def page(call: Call) -> dict[str, Any]:
        found, name, after = look(call), key(call), call.get("after")
        items = found["items"]
        if after is not None:
            at = next((n for n, one in enumerate(items) if str(one[name]) == after), None)
            if at is None:
                raise Refused(f"after: there is no {after!r:.100} in the list now; begin again without it")
            items = items[at + 1 :]

        def first(limit: int) -> dict[str, Any]:
            return {**found, "items": items[:limit], "next": str(items[limit - 1][name]) if items[limit:] else None}

        return fitting(first, call.get("limit", LONGEST_PAGE))

    return _in_thread(page)


def found_tasks(call: Call) -> dict[str, Any]:
    """A page of tasks."""
    q, after, see = call.get("q", ""), call.get("after"), call.viewer.sight
    return fitting(lambda limit: tasks(call.app, q, after, limit, see), call.get("limit", 20))


def one_task(call: Call) -> dict[str, Any]:
    """One task. Raises Refused where it is not there, or not for this viewer."""
    id_, wanted = call.arguments["id"], set(call.get("parts", ()))
    see = call.viewer.sight
    found = task(call.app, id_, see)
    record = call.app.storage.reader.find(id_)
    if found is None or record is None:
        raise Refused(f"there is no task {id_!r:.100}")
    kept = {"why", "attempts", *wanted}
    rest = {name: value for name, value in found.items() if name in kept or name not in PARTS_OF_TASKS}
    return {**rest, **outcome(call.app, record, see), "stage": found["state"]}


def failed(call: Call) -> dict[str, Any]:
    """The causes of failure; or one, with its tasks."""
    id_, see = call.get("cause"), call.viewer.sight
    if id_ is None:
        return failures(call.app, see)
    found = cause(call.app, id_, see)
    if found is None:
        raise Refused(f"there is no cause {id_!r:.100}; call without one for the list")
    return {"items": [found], "next": None, "note": ""}


def doctor(call: Call) -> dict[str, Any]:
    """The checks of the file, and of the work in it; the file's own for a viewer of all queues."""
    see = call.viewer.sight
    found = [one._asdict() for one in findings(call.app, see)]
    checks = [{"name": one["kind"], "status": one["status"], "detail": one["detail"]} for one in found]
    facts: dict[str, Any] = {}
    if see.queues is None:
        whole = file(call.app)
        checks = [*whole["checks"], *checks]
        kept = ("version", "size", "wal", "free", "disk_free", "durability", "library", "schema", "retention")
        facts = {name: whole[name] for name in kept}
    return {"ok": all(one["status"] != "error" for one in checks), "checks": checks, "file": facts}


def usage(call: Call) -> dict[str, Any]:
    """The spending of runs, the dearest first. It is that of all queues, so it is for viewers of all queues."""
    by, since = call.get("by", "model"), call.get("since")
    if call.viewer.sight.queues is not None:
        return {"by": by, "items": [], "next": None, "note": "only a viewer of all queues may read what all have spent"}
    try:
        return {"by": by, "items": call.app.usage(since, by), "next": None, "note": ""}
    except ValueError as exc:
        raise Refused(f"since: {exc}") from exc


TOOLS = (
    ToolOf(
        "overview",
        "Begin here: how the queue does, in one sentence, and its counts, queues, running tasks, causes of failure.",
        _in_thread(lambda call: overview(call.app, call.viewer.sight)),
        takes(),
        gives("verdict", "states", "queues", verdict=TEXT, states=OBJECT, queues=LIST, running=LIST, causes=LIST,
              warnings=LIST, rates=OBJECT),
        right="view",
    ),
    ToolOf(
        "search",
        f"Find tasks, a page at a time. {SEARCH}. An id or its beginning finds that task.",
        _in_thread(found_tasks),
        takes(
            q={"type": "string", "maxLength": 2000},
            after=AFTER,
            limit=limit_of(20),
        ),
        ITEMS,
        right="view",
    ),
    ToolOf(
        "task",
        "One task: its state, arguments, result or error, its attempts, and why it is as it is (`why`).",
        _in_thread(one_task),
        takes("id", id=ID, parts={"type": "array", "items": {"enum": list(PARTS_OF_TASKS)}}),
        gives("id", "state", "task", "queue", "why", "attempts", id=TEXT, state=TEXT, result={}, error={}, task=TEXT,
              queue=TEXT, why=OBJECT, attempts=LIST),
        right="view",
    ),
    ToolOf(
        "failures",
        "Failures by cause, the newest first; with `cause` one of them, its dead tasks and a traceback.",
        _in_pages(failed, lambda _: "id"),
        takes(cause=ID, **PAGE),
        ITEMS,
        right="view",
    ),
    ToolOf(
        "workflow",
        "A workflow by any id of it: status, what it waits for, open approvals, a page of its steps. Without `id` the "
        "newest; with `q` runs by workflow:NAME status:stuck tag:x since:1h.",
        _in_thread(workflow),
        takes(id=ID, q={"type": "string", "maxLength": 2000}, after=AFTER, limit=limit_of(LISTED),
              parts={"type": "array", "items": {"enum": list(PARTS_OF_WORKFLOWS)}}),
        gives(id=TEXT, name=TEXT, status=TEXT, waiting_for=LIST, approvals=LIST, steps=LIST, items=LIST, next=MAYBE),
        right="view",
    ),
    ToolOf(
        "queues",
        "The queues: how much waits, since when, what comes and goes, workers, pauses.",
        _in_pages(lambda call: queues(call.app, call.viewer.sight)),
        takes(**PAGE),
        ITEMS,
        right="view",
    ),
    ToolOf(
        "schedules",
        "The schedules: when each is due, when and how it ran last, how late it is.",
        _in_pages(lambda call: schedules(call.app, call.viewer.sight)),
        takes(**PAGE),
        ITEMS,
        right="view",
    ),
    ToolOf(
        "usage",
        "What runs have spent on models: requests, tokens, cost (text; null: no price is known), saved by the memo.",
        _in_pages(usage, lambda call: str(call.get("by", "model"))),
        takes(by={"enum": ["model", "workflow", "tag", "day"], "default": "model"},
              since={**TEXT, "description": "7d, 12h; without it: all that is kept"}, **PAGE),
        ITEMS,
        right="view",
    ),
    ToolOf(
        "doctor",
        "What is wrong with the file, and with the work in it: each check with what to do.",
        _in_thread(doctor),
        takes(),
        gives("ok", "checks", ok=YES, checks=LIST, file=OBJECT),
        right="view",
    ),
    ToolOf(
        "wait",
        f"Wait until a task or a run has ended, {LONGEST_WAIT_S} s at most; then its state so far. Ask again for more.",
        wait,
        takes("id", id=ID, timeout_s={"type": "number", "minimum": 0, "maximum": LONGEST_WAIT_S, "default": 20}),
        gives("id", "state", "ended", id=TEXT, state=TEXT, result={}, error={}, ended=YES, waited_s=NUMBER),
        right="view",
    ),
)  # fmt: skip
LOOKING = tuple(replace(one, looks=True) for one in TOOLS)
"""The tools that need the right `view` alone."""
