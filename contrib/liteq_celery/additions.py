"""The few small things of Celery's that liteq has no name for."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import uuid4

from liteq import context, signals
from liteq.app import current_app
from liteq.context import App
from liteq.utils.proxy import Proxy
from liteq_celery.names import VERSIONS

__all__ = [
    "DEFAULT_PROCESS_LOG_FMT",
    "DEFAULT_TASK_LOG_FMT",
    "LOG_LEVELS",
    "VERSION",
    "DisabledBackend",
    "ExceptionWithTraceback",
    "SchedulingError",
    "Signal",
    "__version__",
    "app_or_default",
    "bugreport",
    "received_logger",
    "registered_tasks",
    "uuid",
    "version_info_t",
]


class version_info_t(NamedTuple):  # noqa: N801 - Celery's name
    """The parts of a version."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


VERSION = version_info_t(5, 7, 0, "", "")
__version__ = VERSIONS["celery"]
"""The Celery whose behaviour is followed: libraries ask for it before they use something newer."""


DEFAULT_PROCESS_LOG_FMT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
DEFAULT_TASK_LOG_FMT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"

LOG_LEVELS: dict[Any, Any] = dict(logging.getLevelNamesMapping())
LOG_LEVELS |= {level: name for name, level in LOG_LEVELS.items()}


class DisabledBackend:
    """Celery's `backend` of an app without a result store. No app of liteq has it: results are in the file."""


class SchedulingError(Exception):
    """An error for programs to raise, or to catch, when a periodic task could not be sent."""


class Signal(signals.Signal):
    """A signal of a program's own, made by Celery's arguments: `Signal(name="paid", providing_args={"order"})`."""

    def __init__(
        self,
        providing_args: Iterable[str] | None = None,
        use_caching: bool = False,  # noqa: ARG002 - Celery's
        name: str | None = None,
    ) -> None:
        super().__init__(name or "signal", *(providing_args or ()))


class ExceptionWithTraceback(Exception):
    """billiard's wrapper of an exception that crosses processes, for `isinstance`: liteq's are never wrapped."""

    def __init__(self, exc: BaseException, tb: Any = None) -> None:
        self.exc = exc
        self.tb = "".join(traceback.format_exception(type(exc), exc, tb if tb is not None else exc.__traceback__))
        super().__init__(str(exc))

    def __str__(self) -> str:
        return self.tb


def uuid() -> str:
    """A new random id, as text."""
    return str(uuid4())


def app_or_default(app: App | None = None) -> Any:
    """`app`, or the current one where it is None."""
    return context.get_current_app() if app is None else app


received_logger = logging.getLogger("liteq.worker.received")
"""The logger of the lines about what a worker received, alone: `celery.worker.strategy.logger`."""

registered_tasks: Any = Proxy(lambda: context.get_current_app().tasks, name="tasks")
"""The tasks of the current app, for `celery.registry`."""


def bugreport(app: App | None = None) -> str:
    """The text for a bug report: `app.bugreport()`, of the current app where none is given."""
    return str((current_app if app is None else app).bugreport())
