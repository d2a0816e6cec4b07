"""liteq: a Celery-compatible task queue over one SQLite file.

The public names are Celery's, each loaded when it is first used: `import liteq` alone costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from liteq._version import __version__

if TYPE_CHECKING:
    from liteq.app import Celery as Celery
    from liteq.app import LiteQ as LiteQ
    from liteq.app import Task as Task
    from liteq.app import current_app as current_app
    from liteq.app import current_task as current_task
    from liteq.app import progress as progress
    from liteq.app import shared_task as shared_task
    from liteq.app.control import PausedQueue as PausedQueue
    from liteq.canvas import Signature as Signature
    from liteq.canvas import chain as chain
    from liteq.canvas import chord as chord
    from liteq.canvas import chunks as chunks
    from liteq.canvas import group as group
    from liteq.canvas import maybe_signature as maybe_signature
    from liteq.canvas import subtask as subtask
    from liteq.canvas import xmap as xmap
    from liteq.canvas import xstarmap as xstarmap
    from liteq.canvas.signature import signature as signature
    from liteq.execution.batch import BatchItem as BatchItem
    from liteq.middleware import Middleware as Middleware
    from liteq.policy.unique import Debounce as Debounce
    from liteq.policy.unique import Throttle as Throttle
    from liteq.policy.unique import Unique as Unique
    from liteq.result import AsyncResult as AsyncResult
    from liteq.result import EagerResult as EagerResult
    from liteq.result import GroupResult as GroupResult
    from liteq.result import ResultSet as ResultSet
    from liteq.result.progress import Progress as Progress
    from liteq.result.streaming import Chunk as Chunk
    from liteq.routing.queues import Exchange as Exchange
    from liteq.routing.queues import Queue as Queue
    from liteq.routing.queues import binding as binding
    from liteq.sending.bulk import Sent as Sent
    from liteq.storage.limits import Limit as Limit
    from liteq.utils import ids

    task = shared_task
    uuid = ids.new_id

HOME = {
    "Celery": "app",
    "LiteQ": "app",
    "current_app": "app",
    "current_task": "app",
    "shared_task": "app",
    "task": "app",
    "Task": "app",
    "AsyncResult": "result",
    "BatchItem": "execution.batch",
    "Chunk": "result.streaming",
    "Debounce": "policy.unique",
    "EagerResult": "result",
    "Exchange": "routing.queues",
    "GroupResult": "result",
    "Limit": "storage.limits",
    "Middleware": "middleware",
    "PausedQueue": "app.control",
    "Progress": "result.progress",
    "ResultSet": "result",
    "Queue": "routing.queues",
    "Sent": "sending.bulk",
    "Signature": "canvas",
    "Throttle": "policy.unique",
    "Unique": "policy.unique",
    "binding": "routing.queues",
    "chain": "canvas",
    "chord": "canvas",
    "chunks": "canvas",
    "group": "canvas",
    "maybe_signature": "canvas",
    "progress": "app",
    "signature": "canvas",
    "subtask": "canvas",
    "uuid": "utils.ids",
    "xmap": "canvas",
    "xstarmap": "canvas",
}
ALIASES = {"task": "shared_task", "uuid": "new_id"}
MODULES = frozenset({"app", "bootsteps", "canvas", "exceptions", "result", "schedules", "signals", "states"})

__all__ = ["__version__", *HOME]  # noqa: PLE0604 - the names above


def __getattr__(name: str) -> Any:
    if name in HOME:
        found = getattr(importlib.import_module(f"liteq.{HOME[name]}"), ALIASES.get(name, name))
        globals()[name] = found
        return found
    if name in MODULES:
        return importlib.import_module(f"liteq.{name}")
    raise AttributeError(f"module 'liteq' has no attribute {name!r}")


class _DeepPaths:
    """Asked last of all, for a module below `liteq` that is not there: perhaps it bears the name of one of Celery's."""

    @staticmethod
    def find_spec(fullname: str, _path: Any = None, _target: Any = None) -> Any:
        """The module that the alias package has for it; None where there is none, or no alias package.

        Raises ImportError, which says what stands in its place, for what Celery has and liteq has not.
        """
        if not fullname.startswith("liteq."):
            return None
        from liteq.exceptions import ImproperlyConfigured
        from liteq.utils.upward import upward

        try:
            find = upward("celery_paths")
        except ImproperlyConfigured:
            return None
        return find(fullname)


sys.meta_path.append(_DeepPaths)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOME, *MODULES})
