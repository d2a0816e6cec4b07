"""Errbacks that are rows: they run when what they await has failed, whoever sees that, and once.

One that takes `(request, exc, traceback)` is called by the task `liteq.call_errback`, which makes the three from the
row that has failed. Whether it does is known where its function is: in the worker that claims it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from liteq.message import Flag, Lease
from liteq_kombu.taking import takes_failure

if TYPE_CHECKING:
    from celery import Celery

    from liteq_kombu.files import File

__all__ = ["as_called", "register"]

TASK: Final = "liteq.call_errback"


def register(app: Celery, backend: Any) -> None:
    """Give `app` the task that calls errbacks with `(request, exc, traceback)`."""
    if TASK in app._tasks:
        return

    def errback(name: str, id_: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call the errback `name` for the task `id_`, which has failed."""
        from celery.app.task import Context

        record = backend.storage.reader.find(id_)
        meta = backend.get_task_meta(id_)
        request = Context(
            id=id_, task=record.task if record is not None else "unknown", errbacks=[], delivery_info={},
            root_id=record.root_id if record is not None else None,
        )  # fmt: skip
        return app.tasks[name](request, meta["result"], meta.get("traceback"), *args, **kwargs)

    app.task(name=TASK, shared=False)(errback)


def as_called(file: File, lease: Lease) -> Lease:
    """`lease` as the call that a worker of Celery's is to make: of an errback that takes more than an id, another."""
    wanted = Flag.TAKES_INPUT | Flag.ON_FAILURE
    if lease.flags & wanted != wanted or file.app is None or TASK not in file.app._tasks:
        return lease
    args, kwargs = orjson.loads(lease.payload)
    if not takes_failure(file.app, lease.task, args, kwargs):
        return lease
    payload = orjson.dumps([[lease.task, lease.awaits, args, kwargs], {}])
    return lease._replace(task=TASK, payload=payload, flags=lease.flags & ~wanted)
