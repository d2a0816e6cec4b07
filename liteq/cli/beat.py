"""`liteq beat`: send periodic tasks when they come due."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType

import click

from liteq.cli.group import Command
from liteq.cli.output import counted
from liteq.cli.session import Session, pass_session
from liteq.cli.worker import log_level, octal

__all__ = ["beat"]


def _unused(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta.setdefault("liteq.idle", []).append(param.opts[0])


@click.command(cls=Command)
@click.option("--max-interval", type=float, metavar="SECONDS", help="Longest sleep between two looks.")
@click.option("-n", "--hostname", metavar="NAME", help="Its name in the log's file name.")
@click.option(
    "-l",
    "--loglevel",
    "--log-level",
    default="WARNING",
    envvar="LITEQ_LOG_LEVEL",
    metavar="LEVEL",
    callback=log_level,
    help="debug, info, warning (the default), error or critical.",
)
@click.option("-f", "--logfile", metavar="FILE", help="The log; else stderr.")
@click.option("--pidfile", metavar="FILE", help="Holds the process id while it lives; exits with 73 if taken.")
@click.option("--detach", is_flag=True, help="Run in the background.")
@click.option("--uid", metavar="USER", help="Run as this user.")
@click.option("--gid", metavar="GROUP", help="Run as this group.")
@click.option("--umask", metavar="OCTAL", callback=octal, help="The mode bits that new files do not get.")
@click.option("-s", "--schedule", expose_value=False, hidden=True, callback=_unused)
@click.option("-S", "--scheduler", expose_value=False, hidden=True, callback=_unused)
@click.option("--enable-remote-control/--no-enable-remote-control", expose_value=False, hidden=True, callback=_unused)
@click.option("--executable", expose_value=False, hidden=True, callback=_unused)
@pass_session
@click.pass_context
def beat(
    ctx: click.Context,
    session: Session,
    /,
    max_interval: float | None,
    hostname: str | None,
    loglevel: str,
    logfile: str | None,
    pidfile: str | None,
    detach: bool,
    uid: str | None,
    gid: str | None,
    umask: int | None,
) -> int:
    """Send periodic tasks when they come due, until TERM or INT.

    The schedule is in the queue's file, so any number of these may run, beside workers with -B too: each run is sent
    once. What the configuration does not hold any more is removed when it starts.
    """
    from liteq.beat import Beat
    from liteq.cli import daemon, logs
    from liteq.context.identity import expand_name

    if umask is not None:
        os.umask(umask)
    daemon.become(uid, gid)
    if ctx.meta.get("liteq.idle"):
        unused = ", ".join(ctx.meta["liteq.idle"])
        session.note(f"accepted as Celery's, without effect: {unused} (the schedule is in the queue's file)")
    app = session.app
    app.import_tasks()
    app.storage.migrate()
    made = Beat(app, max_interval_s=max_interval)
    made.start()  # what is wrong with the schedule is said before the terminal is left
    app.storage.close()
    name = expand_name(hostname or "beat@%h")
    with daemon.detached(detach):
        if pidfile:
            daemon.claim_pidfile(Path(logs.expand_name(pidfile, name)))
    log = None if logfile is None else logs.expand_name(logfile, name)
    logs.set_up(app, loglevel, log, color=not session.no_color, as_json=session.json)
    session.note(f"beat: {counted(len(app.schedules.all()), 'periodic task')}")
    made.run(stopped_by_signals())
    return 0


def stopped_by_signals() -> threading.Event:
    """An event that TERM, INT and their like set."""
    stop = threading.Event()

    def note(_signum: int, _frame: FrameType | None) -> None:
        stop.set()

    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"):
        signum = getattr(signal, name, None)  # Windows has few of them
        if signum is not None and not (name == "SIGHUP" and signal.getsignal(signum) is signal.SIG_IGN):  # nohup
            signal.signal(signum, note)
    return stop
