"""`liteq events`: what becomes of tasks and workers, as it happens."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import SPAN
from liteq.cli.processes.process_options import become, log_level, process_options
from liteq.clock import from_ms
from liteq.settings import import_object

__all__ = ["events"]

HUMAN = {"worker-offline": "shutdown", "worker-online": "started", "worker-heartbeat": "heartbeat"}
OF_ALL = frozenset({"type", "timestamp", "hostname", "uuid", "name", "args", "kwargs"})


@click.command(cls=Command)
@click.option("-d", "--dump", is_flag=True, help="Write each event as a line.")
@click.option("-c", "--camera", metavar="CLASS", help="Take snapshots with this class: module.Class.")
@click.option(
    "-F", "--frequency", "--freq", type=SPAN, default=1.0, show_default=True, help="Time between two snapshots."
)
@click.option("-r", "--maxrate", metavar="RATE", help="At most so many snapshots: 10/m.")
@click.option(
    "-l", "--loglevel", "--log-level", default="WARNING", callback=log_level, metavar="LEVEL", help="The camera's log."
)
@process_options(
    logfile="Log to this file, not to stderr.",
    pidfile="Write the process id to this file; exits with 73 if another live process has it.",
    detach=("-D", "--detach"),
    background="With --camera: run in the background.",
)
@click.option("--executable", expose_value=False, hidden=True)
@pass_session
def events(session: Session, /, dump: bool, camera: str | None, frequency: float, **options: Any) -> int:
    """Show the events of tasks and workers as they happen: on a screen, as lines (--dump), or to a camera.

    Workers record events of tasks when they were started with -E, or after `liteq control enable_events`.

    \b
    JSON, with --dump: an event a line
    """
    _ = session.storage  # refuses a file that is not there
    _tell_how(session)
    try:
        if camera:
            _film(session, camera, frequency, options)
        elif dump or session.json or not session.on_terminal:
            _dump(session)
        else:
            _screen(session)
    except KeyboardInterrupt:
        pass
    return Exit.OK


def _tell_how(session: Session) -> None:
    """Say how events are switched on, where no worker that lives records any of its tasks."""
    alive = session.app.control.living()
    if not alive:
        session.note("no worker lives, so nothing happens; start one with -E: it records events of its tasks")
    elif not any(worker.facts.get("task_events") for worker in alive):
        session.note("no worker records events of tasks: start one with -E, or say `liteq control enable_events`")


def _dump(session: Session) -> None:
    names: dict[str, str] = {}

    def show(event: dict[str, Any]) -> None:
        if session.json:
            click.echo(json.dumps(event, default=str))
        else:
            say(_line(event, names))

    receiver = session.app.events.Receiver(handlers={"*": show})
    session.note("-> evdump: starting capture...")  # from the receiver's making on nothing is missed
    receiver.capture()


def _line(event: dict[str, Any], names: dict[str, str]) -> str:
    """An event in words. `names` remembers which task is meant by an id."""
    type_ = str(event["type"]).lower()
    what = HUMAN.get(type_, type_.replace("-", " "))
    when = from_ms(int(event["timestamp"] * 1000))
    fields = ", ".join(f"{key}={event[key]}" for key in sorted(event) if key not in OF_ALL)
    uuid = event.get("uuid")
    if uuid is None:
        return f"{event['hostname']} [{when}] {what}{': ' if fields else ''}{fields}"
    if "name" in event and "args" in event:
        names[uuid] = f"{event['name']}({uuid}) args={event['args']} kwargs={event['kwargs']}"
        if len(names) > 4_096:
            del names[next(iter(names))]
    return f"{event['hostname']} [{when}] {what}: {names.get(uuid, uuid)} {fields}".rstrip()


def _film(session: Session, camera: str, frequency: float, options: dict[str, Any]) -> None:
    from liteq.cli import logs
    from liteq.cli.processes import daemon

    app = session.app
    made = import_object(camera)
    if options["detach"]:
        app.close()  # nothing may be open when a process forks
    with daemon.detached(options["detach"]):
        become(options)
        if options["pidfile"]:
            daemon.claim_pidfile(Path(options["pidfile"]))
    logs.set_up(app, options["loglevel"], options["logfile"], color=not session.no_color, form=session.log_form)
    state = app.events.State()
    receiver = app.events.Receiver(handlers={"*": state.event})
    session.note(f"-> evcam: Taking snapshots with {camera} (every {frequency} secs.)")
    with made(state, app=app, freq=frequency, maxrate=options["maxrate"]):
        receiver.capture()


def _screen(session: Session) -> None:
    """The newest tasks and the workers, redrawn as they change."""
    from rich.live import Live

    state = session.app.events.State()
    receiver = session.app.events.Receiver(handlers={"*": state.event})
    logging.getLogger("liteq").setLevel(logging.ERROR)  # a warning would tear the screen
    with Live(_picture(state), screen=True, auto_refresh=False) as live:
        drawn_at = 0.0
        while True:
            try:
                for _ in receiver.itercapture(timeout=0.5, wakeup=drawn_at == 0.0):
                    if time.monotonic() - drawn_at > 0.2:
                        break
            except TimeoutError:
                pass
            drawn_at = time.monotonic()
            live.update(_picture(state, lines=max(3, live.console.height - len(state.workers) - 10)), refresh=True)


def _picture(state: Any, lines: int = 20) -> Any:
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    tasks = Table("time", "task", "id", "worker", "state", "info", box=box.SIMPLE_HEAD, expand=True)
    for uuid, task in state.tasks_by_time(limit=lines):
        when = from_ms(int((task.timestamp or 0) * 1000)).astimezone()
        info = task.exception or task.result or f"{task.args or ''} {task.kwargs or ''}"
        worker = task.worker.hostname if task.worker is not None else ""
        cells = (f"{when:%H:%M:%S}", task.name or "", uuid, worker, task.state, str(info)[:80])
        tasks.add_row(*(Text(cell) for cell in cells))
    workers = Table("worker", "status", "active", "processed", "pid", box=box.SIMPLE_HEAD, expand=True)
    for worker in list(state.workers.values()):
        facts = (worker.hostname, worker.status_string, worker.active, worker.processed, worker.pid)
        workers.add_row(*(Text("" if fact is None else str(fact)) for fact in facts))
    foot = Text(f"events: {state.event_count}  tasks: {state.task_count}  (Ctrl-C ends)", style="dim")
    return Group(workers, tasks, foot)
