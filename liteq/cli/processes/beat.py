"""`liteq beat`: send periodic tasks when they come due."""

from __future__ import annotations

import signal
import threading
from _thread import start_new_thread
from math import inf
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from liteq.cli.parts.output import counted, emit
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import SPAN
from liteq.cli.processes.process_options import (
    ProcessCommand,
    become,
    idle_options,
    log_level_option,
    note_idle,
    process_options,
)
from liteq.cli.processes.service import manager_of

if TYPE_CHECKING:
    from liteq.app import LiteQ
    from liteq.beat import Beat
    from liteq.beat.files import FilesBeat
    from liteq.utils.service_manager import ServiceManager

__all__ = ["beat"]


WHY = "the schedule is in the queue's file"
WITHOUT_EFFECT = {
    "-s --schedule": WHY,
    "-S --scheduler": WHY,
    "--enable-remote-control!": "a beat answers no questions",
    "--no-enable-remote-control!": "a beat answers no questions",
    "--executable": "it runs in this interpreter",
}


@click.command(cls=ProcessCommand)
@click.option("--max-interval", type=SPAN, help="Look at the schedule at least this often.")
@click.option(
    "--db",
    multiple=True,
    metavar="PATHS",
    help="The schedules of these files, a path or a glob as 'tenants/*.db', not of the app's own; may be repeated.",
)
@click.option("-n", "--hostname", metavar="NAME", help="The name for %n, %h and %p in --logfile and --pidfile.")
@log_level_option("warnings, and a line for each task that is sent")
@process_options(
    logfile="Log to this file, not to stderr.",
    pidfile="Write the process id to this file; exits with 73 if another live process has it.",
    detach=("-D", "--detach"),
    background="Run in the background.",
)
@idle_options(WITHOUT_EFFECT)
@pass_session
@click.pass_context
def beat(
    ctx: click.Context,
    session: Session,
    /,
    max_interval: float | None,
    db: tuple[str, ...],
    hostname: str | None,
    loglevel: str | None,
    logfile: str | None,
    pidfile: str | None,
    detach: bool,
    **user: Any,
) -> int:
    """Send periodic tasks when they come due, until TERM or INT.

    The schedule is in the queue's file, so any number of these may run, beside workers with -B too: each run is sent
    once. An entry that the configuration does not hold any more is removed when it starts.

    \b
    JSON: {"name", "schedules", "db"}, when it begins; `liteq schedules list` tells what it would send
    """
    from liteq.cli import logs
    from liteq.cli.processes import daemon
    from liteq.context.identity import expand_name

    become(user)
    manager = manager_of(detach=detach)
    note_idle(ctx, session, WITHOUT_EFFECT)
    app = session.app
    app.import_tasks()
    made = _made(app, db, max_interval)
    name = expand_name(hostname or "beat@%h")
    with daemon.detached(detach):
        if pidfile:
            daemon.claim_pidfile(Path(logs.expand_name(pidfile, name)))
    n = None if db else len(app.schedules.all())
    # Before the log is set up, which takes what is written to stdout.
    emit(session, {"name": name, "schedules": n, "db": list(db)}, lambda: None)
    log = None if logfile is None else logs.expand_name(logfile, name)
    logs.set_up(app, loglevel, log, color=not session.no_color, form=session.log_form, worker=name)
    what = f"the periodic tasks of {', '.join(db)}" if db else counted(n or 0, "periodic task")
    session.note(f"sends {what} when they come due")
    run(made, stopped_by_signals(), manager)
    return 0


def run(made: Beat | FilesBeat, stop: threading.Event, manager: ServiceManager | None) -> None:
    """Send what comes due until `stop` is set; the service manager hears that it has begun, goes on, and ends."""
    if manager is None:
        made.run(stop)
        return
    manager.ready("sends periodic tasks when they come due")
    made.run(stop, manager.alive, inf if manager.interval_s is None else manager.interval_s)
    manager.stopping("stopped")


def _made(app: LiteQ, db: tuple[str, ...], max_interval: float | None) -> Beat | FilesBeat:
    """The beat, started: what is wrong with the schedule is said before the terminal is left."""
    made: Beat | FilesBeat
    if db:
        from liteq.beat.files import FilesBeat

        made = FilesBeat(app, db, max_interval_s=max_interval)
        made.check()
        return made
    from liteq.beat import Beat

    app.storage.migrate()
    made = Beat(app, max_interval_s=max_interval)
    made.start()
    app.storage.close()
    return made


def stopped_by_signals() -> threading.Event:
    """An event that TERM, INT and their like set."""
    stop = threading.Event()

    def note(_signum: int, _frame: FrameType | None) -> None:
        # Not here: the signal may have come into a `wait()` of this thread, just as that holds the event's lock.
        start_new_thread(stop.set, ())

    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"):
        signum = getattr(signal, name, None)  # Windows has few of them
        if signum is not None and not (name == "SIGHUP" and signal.getsignal(signum) is signal.SIG_IGN):  # nohup
            signal.signal(signum, note)
    return stop
