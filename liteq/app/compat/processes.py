"""Celery's ways to run an app from code: `app.log`, `app.worker_main()`, `app.Worker()`, `app.Beat()`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from liteq.context import App
from liteq.context.display import shown_settings
from liteq.utils.log import get_logger, mlevel, task_logger
from liteq.utils.upward import upward

__all__ = ["Logging", "beat_of", "bugreport", "run_command_line", "worker_of"]


class Logging:
    """`app.log`."""

    def __init__(self, app: App) -> None:
        self.app = app

    def get_default_logger(self, name: str = "liteq", **_options: Any) -> logging.Logger:
        """The logger above all of liteq's; or another one."""
        return get_logger(name)

    def setup(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        redirect_stdouts: bool = False,
        redirect_level: int | str | None = "WARNING",
        colorize: bool | None = None,
        hostname: str | None = None,
    ) -> None:
        """Set up this process's log as a worker's is: its formats, its signals, its settings.

        Without `loglevel`: WARNING. Without `logfile`: to stderr, on a terminal in colours, unless `colorize=False`.
        With `redirect_stdouts` it has what the program prints, too. Raises ValueError for an unknown level.
        """
        redirected = (mlevel(redirect_level) or logging.WARNING) if redirect_stdouts else 0
        upward("log_setup")(
            self.app,
            _level_name(loglevel),
            logfile,
            color=colorize is not False,
            worker=hostname,
            redirected=redirected,
        )

    setup_logging_subsystem = setup

    def setup_task_loggers(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        colorize: bool | None = None,
        propagate: bool = False,
    ) -> logging.Logger:
        """Set up the log of tasks alone, and return the logger above theirs. Raises ValueError for an unknown level."""
        upward("log_tasks")(
            self.app, _level_name(loglevel), logfile, color=bool(colorize) and logfile is None, propagate=propagate
        )
        return task_logger

    def redirect_stdouts(self, loglevel: int | str | None = None, name: str = "liteq.redirected") -> None:
        """Log what this process prints from now on, by the logger `name`, at `loglevel`; without that as a warning."""
        self.redirect_stdouts_to_logger(get_logger(name), loglevel)

    def redirect_stdouts_to_logger(
        self, logger: logging.Logger, loglevel: int | str | None = None, stdout: bool = True, stderr: bool = True
    ) -> TextIO:
        """Log what this process prints from now on, by `logger`, at `loglevel`; without that as a warning.

        Returns the stream in the place of stdout, or of stderr without `stdout`. To end it, put back `sys.stdout` and
        `sys.stderr` as they were before. Raises ValueError for an unknown level.
        """
        streams = [name for name, is_meant in (("stdout", stdout), ("stderr", stderr)) if is_meant]
        upward("log_redirect")(mlevel(loglevel) or logging.WARNING, logger.name, streams)
        return sys.stdout if stdout else sys.stderr


def run_command_line(app: App, argv: list[str]) -> Any:
    """Run `liteq ARGV` for `app`; 0, so that the program can go on. A command that fails ends it with its exit code."""
    session = upward("session")()
    session.app_name = app
    try:
        upward("command_line").main(args=argv, prog_name="liteq", obj=session)
    except SystemExit as ended:
        if ended.code:
            raise
    return 0


def worker_of(
    app: App,
    *,
    queues: str | Iterable[str] | None,
    exclude_queues: str | Iterable[str] | None,
    include: str | Iterable[str] | None,
    loglevel: int | str | None,
    logfile: str | None,
    options: dict[str, Any],
) -> Any:
    """A `liteq.worker.Worker` of `app`. Raises TypeError for options that it does not have."""
    if include:
        app.conf.include = (*app.conf.include, *names_of(include))
    _set_up_log(app, loglevel, logfile)
    return upward("worker")(app, queues=names_of(queues) or None, exclude_queues=names_of(exclude_queues), **options)


def beat_of(app: App, *, max_interval: float | None, loglevel: int | str | None, logfile: str | None) -> Any:
    """A `liteq.beat.Beat` of `app`; `max_interval` in seconds."""
    _set_up_log(app, loglevel, logfile)
    return upward("beat")(app, max_interval_s=max_interval)


def _set_up_log(app: App, loglevel: int | str | None, logfile: str | None) -> None:
    if loglevel is not None or logfile is not None:
        upward("log_setup")(app, _level_name(loglevel), logfile, color=True)


def _level_name(level: int | str | None) -> str:
    return (logging.getLevelName(level) if isinstance(level, int) else level) or "WARNING"


def bugreport(app: App) -> str:
    """Versions, settings (secrets are hidden) and names of tasks, as text."""
    lines = [f"{name}: {version}" for name, version in upward("versions")().items()]
    lines += [f"{name}: {value!r}" for name, value in shown_settings(app).items()]
    return "\n".join([*lines, f"tasks: {', '.join(sorted(app.tasks))}"])


def names_of(given: str | Iterable[str] | None) -> list[str]:
    """Names in a list, or separated by commas."""
    return [name.strip() for name in given.split(",") if name.strip()] if isinstance(given, str) else list(given or ())
