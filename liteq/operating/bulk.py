"""Bulk actions: start one, stop it, let it go on after the death of its process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from typing import Any

import orjson

from liteq.context import App
from liteq.exceptions import MessageNotFound, NotEligible
from liteq.message import new_id
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.operations import interrupted, is_seen
from liteq.operating.acts import check_action, checked
from liteq.operating.preview import preview
from liteq.operating.runner import run
from liteq.policy.rates import per_second
from liteq.storage.operating.audit import Actor
from liteq.storage.operating.operations import Operation, Wanted

__all__ = ["MOST_IDS", "resume_operation", "start", "stop"]

MOST_IDS = 10_000  # of a list of ids: it stands in the operation's row


def start(
    app: App, action: str, q: str = "", *, by: Actor, see: Sight = ALL, ids: Sequence[str] = (), rate: str = "",
    id: str | None = None, wait: bool = False, **arguments: Any,
) -> str:  # fmt: skip
    """Start `action` on the messages of the search `q`, or on those of `ids`; the operation's id.

    A thread of this process does it, 500 messages a transaction at most, `rate` ("50/s") messages a time at most; with
    `wait` this call does, and returns when it has ended. `id` makes a repetition start nothing more. Arguments as in
    `act`. Raises ValueError for a search, an action, a rate or an argument that is wrong.
    """
    check_action(action, arguments, many=True)
    per_second(rate)
    if len(ids) > MOST_IDS:
        raise ValueError(f"a bulk action takes {MOST_IDS:,} ids at most, not {len(ids):,}: use a search")
    seen = preview(app, action, q, see=see, ids=ids, **arguments)
    document: dict[str, Any] = {"take": {**checked(action, arguments), "reason": by.reason}}
    if ids:
        document["ids"] = list(dict.fromkeys(ids))
    wanted = Wanted(
        id or new_id(), action, q, orjson.dumps(document), None if see.queues is None else orjson.dumps(see.queues),
        by.name, by.reason, by.source, seen.found, rate,
    )  # fmt: skip
    if app.storage.operations.create(wanted):
        _take(app, _found(app, wanted.id, see), by=None, wait=wait)
    return wanted.id


def stop(app: App, id: str, *, by: Actor, see: Sight = ALL) -> None:
    """Ask an operation to stop after its chunk; it can be continued.

    Raises MessageNotFound, and NotEligible where nobody does it.
    """
    operation = _found(app, id, see)
    if not app.storage.operations.stop(id, by=by):
        raise NotEligible(id, "stop", operation.state, f"the operation is {operation.state}")


def resume_operation(app: App, id: str, *, by: Actor, see: Sight = ALL, wait: bool = False) -> None:
    """Let an operation go on at its cursor that was stopped, has failed, or whose process has gone.

    Raises MessageNotFound, and NotEligible where a process does it, or it is done.
    """
    operation = _found(app, id, see)
    runs = operation.state == "running" and not interrupted(operation, app.clock.now_ms())
    if operation.state == "done" or runs or not _take(app, operation, by=by, wait=wait):
        raise NotEligible(id, "continue", operation.state, f"the operation is {operation.state}")


def _found(app: App, id_: str, see: Sight) -> Operation:
    operation = app.storage.operations.find(id_)
    if operation is None or not is_seen(operation, see):
        raise MessageNotFound(id_)
    return operation


def _take(app: App, operation: Operation, *, by: Actor | None, wait: bool) -> bool:
    owner = f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
    if not app.storage.operations.take(operation, owner, by=by):
        return False
    if wait:
        run(app, operation.id, owner)
    else:
        # It ends with the process, without a word: then the operation is interrupted, and anybody can continue it.
        name = f"liteq-operation-{operation.id}"
        threading.Thread(target=run, args=(app, operation.id, owner), name=name, daemon=True).start()
    return True
