"""The pages of the dashboard, each by the path of one that the shop has something on."""

from __future__ import annotations

from typing import Any

from liteq.message import new_id
from liteq.monitor.runs.workflow_list import workflows
from liteq.monitor.tasks.failures import failures
from liteq.monitor.tasks.tasks import tasks
from liteq_dashboard.links import link

__all__ = ["paths"]


def done_by_ann(app: Any) -> str:
    """An operation of which the page tells all that it can: the id."""
    from liteq.operating import Actor, start

    by = Actor("ann", "page", "to see where it leads")
    return start(app, "move", "queue:nowhere", by=by, id=new_id(), rate="50/s", wait=True, queue="ledger")


def paths(app: Any) -> dict[str, str]:
    """A path of each page by a name for its picture."""
    dead = tasks(app, "state:dead task:shop.charge")["items"][0]["id"]
    runs = tasks(app, "state:leased task:shop.sync")["items"][0]["id"]
    held = tasks(app, "state:held")["items"][0]
    waits = tasks(app, "state:pending")["items"][0]["id"]
    cause = failures(app)["items"][0]["id"]
    root = next(one for one in workflows(app)["items"] if one["name"] == "shop.images.thumbnail")["id"]
    found = {
        "overview": "",
        "tasks": "tasks",
        "tasks-dead": link("", "tasks", q="state:dead"),
        "tasks-misspelt": link("", "tasks", q="sate:dead"),
        "task-dead": link("", "tasks", dead),
        "task-runs": link("", "tasks", runs),
        "task-waits": link("", "tasks", waits),
        "tasks-held": link("", "tasks", q="state:held"),
        "task-held": link("", "tasks", held["id"]),
        "limits": "limits",
        "limit": link("", "limits", held["waits_for"]),
        "limit-set": link("", "limits", held["waits_for"], "set"),
        "failures": "failures",
        "failure": link("", "failures", cause),
        "type": link("", "types", "shop.charge"),
        "workflows": "workflows",
        "workflow": link("", "workflows", root),
        "approvals": "approvals",
        "queues": "queues",
        "queue": link("", "queues", "ledger"),
        "workers": "workers",
        "worker": link("", "workers", "w1@app-1"),
        "worker-stop": link("", "workers", "w1@app-1", "stop"),
        "schedules": "schedules",
        "schedule": link("", "schedules", "newsletter"),
        "schedule-edit": link("", "schedules", "newsletter", "edit"),
        "task-requeue": link("", "tasks", dead, "requeue"),
        "task-resend": link("", "tasks", dead, "resend"),
        "queue-purge": link("", "queues", "ledger", "purge"),
        "preview": link("", "operations/preview", action="delete", q="state:dead"),
        "preview-move": link("", "operations/preview", action="move", q="queue:ledger"),
        "operations": "operations",
        "operation": link("", "operations", done_by_ann(app)),
        "activity": "activity",
        "file": "file",
    }
    return {name: path.lstrip("/") for name, path in found.items()}
