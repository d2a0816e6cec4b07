"""The acts of a viewer by pages and API: which right each needs, and what an error of theirs is answered with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liteq.exceptions import (
    BadMessage,
    MessageNotFound,
    NotEligible,
    PayloadTooLarge,
    QueueNotFound,
    WorkflowError,
)
from liteq.monitor import operations as monitor
from liteq.operating import Actor
from liteq.utils.text import printable
from liteq_dashboard.access import Viewer
from liteq_dashboard.acts.hands import RIGHTS, act_on_schedule, pause, purge, resume
from liteq_dashboard.http import Reader, Request, Response
from liteq_dashboard.render import problem

__all__ = [
    "RIGHTS",
    "act_on_schedule",
    "actor",
    "body_of",
    "is_meant",
    "may_act",
    "note",
    "operation_of",
    "pause",
    "purge",
    "refused",
    "resume",
    "sees",
    "tried",
]

LONGEST_REASON = 1_000
MORE = 100  # that may have come since a page has told a number; or a tenth of it, which may be more


def actor(request: Request, source: str, reason: object = "") -> Actor:
    """The viewer, as the audit names one."""
    return Actor(request.viewer.name, source, printable(str(reason or ""))[:LONGEST_REASON])


def note(
    request: Request, reader: Reader, action: str, target: str, queue: str | None = None, reason: str = ""
) -> None:  # fmt: skip
    """Note in the audit what a page did for the viewer; `reason`: by default that of the form."""
    by = actor(request, "page", reason or request.posted("reason"))
    reader.app.storage.audit.note(by, action, target, queue=queue)


def body_of(request: Request) -> dict[str, Any]:
    """The body of a program; {} where there is none. Raises ValueError for JSON that is no object."""
    if request.json is None:
        return {}
    if not isinstance(request.json, dict):
        raise ValueError("the body is a JSON object")
    return request.json


def may_act(viewer: Viewer) -> bool:
    """Whether the viewer may do anything to tasks and runs."""
    return any(map(viewer.can, set(RIGHTS.values())))


def refused(viewer: Viewer, action: str) -> Response | None:
    """403 where the viewer may not do `action`, 400 for an action that there is not; else None."""
    if not may_act(viewer):
        return problem(403, "this changes tasks, for which you have no right")
    right = RIGHTS.get(action)
    if right is None:
        return problem(400, f"unknown action {action!r:.80}; use one of {', '.join(RIGHTS)}")
    if not viewer.can(right):
        return problem(403, f"{action} needs the right {right!r}, which you do not have")
    return None


def tried(act: Callable[[], Response]) -> Response:
    """The answer of `act`, or the problem that stopped it: 404 not there, 409 not in this state, 400 or 413 wrong.

    Errors of the storage go on: a program may try again then, and with what is wrong it never succeeds.
    """
    try:
        return act()
    except MessageNotFound as error:
        return problem(404, str(error))
    except NotEligible as error:
        return problem(409, str(error))
    except PayloadTooLarge as error:
        return problem(413, str(error))
    except (ValueError, BadMessage, QueueNotFound) as error:
        return problem(400, str(error))
    except WorkflowError as error:
        return problem(409, str(error))


def is_meant(request: Request, now: str) -> bool:
    """Whether the viewer typed the number of the form, `told`, of what goes, and it is not much larger `now`.

    It need not be that of this moment: in a queue at work that is always another one.
    """
    told = request.posted("told", now)
    if request.posted("number").strip().replace(",", "") != told:
        return False
    try:
        before, after = int(told.removesuffix("+")), int(now)
    except ValueError:  # now more than are counted
        return told == now
    return after - before <= max(MORE, before // 10)


def operation_of(request: Request, reader: Reader) -> dict[str, Any] | Response:
    """The operation of the path, for a viewer that may stop or continue it; else the problem."""
    if not may_act(request.viewer):
        return problem(403, "this changes tasks, for which you have no right")
    id_ = request.path_args["id"]
    found = monitor.operation(reader.app, id_, reader.sight)
    if found is None:
        return problem(404, f"there is no operation {id_!r:.100}")
    return refused(request.viewer, found["kind"]) or found


# -- queues ------------------------------------------------------------------------------------------------------------


def sees(reader: Reader, queue: str) -> Response | None:
    """404 for a queue, or a glob of them, that the viewer does not see; None for another, also an empty one."""
    return None if reader.sight.covers(queue) else problem(404, f"there is no queue {queue!r:.100}")
