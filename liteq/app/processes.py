"""How an app is run: the command line, a worker or a beat from code, and what a bug report says of it."""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from liteq.context.display import shown_settings
from liteq.settings import import_object
from liteq.utils.log import get_logger

__all__ = ["Logging", "Processes"]


class Logging:
    """`app.log`."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def get_default_logger(self, name: str = "liteq", **_options: Any) -> logging.Logger:
        """The logger above all of liteq's; or another one."""
        return get_logger(name)

    def setup(self, loglevel: int | str | None = None, logfile: str | None = None, *, colorize: bool = True) -> None:
        """Set up this process's log as a worker's is: its formats, its signals, its settings.

        Without `loglevel`: WARNING; without `logfile`: to stderr. Raises ValueError for what is not a level.
        """
        level = logging.getLevelName(loglevel) if isinstance(loglevel, int) else loglevel
        import_object("liteq.cli.logs:set_up")(self.app, level or "WARNING", logfile, color=colorize)


class Processes:
    """The half of `LiteQ` that starts processes. What stands above the app is imported by name, when asked for."""

    selected_queues: list[str] | None = None

    if TYPE_CHECKING:  # what the other half has

        @property
        def conf(self) -> Any: ...
        @property
        def tasks(self) -> Any: ...

    def worker_main(self, argv: list[str] | None = None) -> Any:
        """Run the command line `liteq worker ...` for this app: `app.worker_main(["worker", "--concurrency=2"])`."""
        session = import_object("liteq.cli.session:Session")()
        session.app_name = self
        return import_object("liteq.cli:main").main(args=list(argv or ["worker"]), prog_name="liteq", obj=session)

    def start(self, argv: list[str] | None = None) -> Any:
        """As `worker_main`, for any command."""
        return self.worker_main(argv)

    def Worker(  # noqa: N802 - Celery's name
        self,
        *,
        queues: str | Iterable[str] | None = None,
        exclude_queues: str | Iterable[str] | None = None,
        include: str | Iterable[str] | None = None,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        **options: Any,
    ) -> Any:
        """A worker of this app: `app.Worker(concurrency=2, queues="mail,default").start()` works until it is stopped.

        Options as of `liteq.worker.Worker`; `include`: more modules of tasks; `loglevel` or `logfile`: set up the log.
        Raises TypeError for other options.
        """
        if include:
            self.conf.include = (*self.conf.include, *_names(include))
        if loglevel is not None or logfile is not None:
            self.log.setup(loglevel, logfile)
        make = import_object("liteq.worker:Worker")
        return make(self, queues=_names(queues) or None, exclude_queues=_names(exclude_queues), **options)

    def Beat(  # noqa: N802 - Celery's name
        self, *, max_interval: float | None = None, loglevel: int | str | None = None, logfile: str | None = None
    ) -> Any:
        """A beat of this app: `app.Beat(max_interval=5).run()` sends what comes due, for ever."""
        if loglevel is not None or logfile is not None:
            self.log.setup(loglevel, logfile)
        return import_object("liteq.beat:Beat")(self, max_interval_s=max_interval)

    @cached_property
    def steps(self) -> defaultdict[str, set[Any]]:
        """Classes of `liteq.bootsteps` that workers of this app are made with: `app.steps["worker"].add(Step)`."""
        return defaultdict(set)

    @cached_property
    def user_options(self) -> defaultdict[str, set[Any]]:
        """Options of one's own, of click: `app.user_options["worker"].add(Option(["--site"]))`; steps get them."""
        return defaultdict(set)

    def select_queues(self, queues: str | Iterable[str] | None = None) -> None:
        """Have workers of this app that are told no queues take from these; None: from what the settings say."""
        self.selected_queues = _names(queues) or None

    @cached_property
    def log(self) -> Logging:
        """The log of this process."""
        return Logging(self)

    @cached_property
    def oid(self) -> str:
        """An id of this app in this process."""
        return str(uuid.uuid4())

    def bugreport(self) -> str:
        """What a bug report needs: versions, settings (what looks like a secret is hidden), names of tasks."""
        versions: Callable[[], dict[str, str | None]] = import_object("liteq.cli.version:versions")
        lines = [f"{name}: {version}" for name, version in versions().items()]
        lines += [f"{name}: {value!r}" for name, value in shown_settings(self).items()]
        return "\n".join([*lines, f"tasks: {', '.join(sorted(self.tasks))}"])


def _names(given: str | Iterable[str] | None) -> list[str]:
    """Names in a list, or separated by commas."""
    return [name.strip() for name in given.split(",") if name.strip()] if isinstance(given, str) else list(given or ())
