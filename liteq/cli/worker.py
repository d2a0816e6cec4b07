"""`liteq worker`: take tasks from the file and run them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from liteq import signals
from liteq.cli.find_app import broken
from liteq.cli.group import Command
from liteq.cli.output import counted
from liteq.cli.purge import names
from liteq.cli.session import Session, pass_session
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured, LiteqError, StorageBusy

__all__ = ["log_level", "octal", "worker"]

LEVELS = ("debug", "info", "warning", "error", "critical", "fatal")
POOLS = ("prefork", "processes", "threads", "solo")

# What `celery worker` takes and means nothing here, and why.
WITHOUT_EFFECT = {
    "--statedb": "the state is in the file",
    "-O": "children take what they can start, no more",
    "--without-gossip": "workers meet in the file",
    "--without-mingle": "workers meet in the file",
    "--without-heartbeat": "a lease needs its heartbeat",
    "--heartbeat-interval": "it follows from visibility_timeout",
    "--pool-start-method": "the pool forks",
    "--prefetch-multiplier": "what a child has not started goes to the next free one",
    "--disable-prefetch": "what a child has not started goes to the next free one",
    "--schedule": "the schedule is in the file",
    "--scheduler": "the schedule is in the file",
    "--executable": "the worker forks",
}


def _idle(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta.setdefault("liteq.idle", []).append(param.opts[0])


def idle_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Celery's options without effect: accepted, and named once."""
    for opts, flag in (
        (("--statedb", "-S"), False),
        (("-O", "--optimization"), False),
        (("--without-gossip",), True),
        (("--without-mingle",), True),
        (("--without-heartbeat",), True),
        (("--heartbeat-interval",), False),
        (("--pool-start-method",), False),
        (("--prefetch-multiplier",), False),
        (("--disable-prefetch",), True),
        (("--schedule", "--schedule-filename", "-s"), False),
        (("--scheduler",), False),
        (("--executable",), False),
    ):
        made = click.option(*opts, is_flag=flag, expose_value=False, hidden=True, callback=_idle)
        command = made(command)
    return command


def _pool(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is None or value in POOLS:
        return value
    hint = "; for tasks that wait, use threads, or `async def` tasks" if value in {"eventlet", "gevent"} else ""
    raise click.UsageError(f"there is no pool {value!r}: use prefork, threads or solo{hint}")


def log_level(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """Callback of --loglevel: its name in upper case."""
    if value.lower() not in LEVELS:
        raise click.BadParameter(f"{value!r} is not one of {', '.join(LEVELS)}")
    return value.upper()


def octal(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Callback of --umask."""
    try:
        return None if value is None else int(value, 8)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not an octal number, such as 077") from None


def _autoscale(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """MAX,MIN, or MAX alone, in either order as in Celery: (most, least)."""
    if value is None:
        return None
    try:
        numbers = [int(part) for part in value.split(",")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2 or min(numbers) < 0 or max(numbers) < 1:
        raise click.BadParameter(f"{value!r} is not MAX,MIN, two numbers")
    return max(numbers), max(1, min(numbers) if len(numbers) == 2 else 1)


class WorkerCommand(Command):
    """`liteq worker`, with the options that the app adds to it: `app.user_options["worker"]`. -A stands before it.

    The app is imported for them when one is met that is not liteq's, and no sooner: --uid comes first.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption:
            session = ctx.find_object(Session)
            if session is None or not session.app_name:
                raise
            ctx.meta[OWN_OPTIONS] = _own_options(session.app)
            return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *ctx.meta.get(OWN_OPTIONS, ())]


OWN_OPTIONS = "liteq.user_options"


def _own_options(app: App) -> list[click.Parameter]:
    options = [*app.user_options["preload"], *app.user_options["worker"]]
    for option in options:
        if not isinstance(option, click.Parameter):
            raise ImproperlyConfigured(f"user_options: {option!r} is no option of click: click.Option(['--site'])")
    return sorted(options, key=lambda option: str(option.name))


def _values_of_own(app: App, given: dict[str, Any]) -> dict[str, Any]:
    """What was said with the app's own options, taken out of `given`; their defaults where nothing was."""
    return {str(one.name): given.pop(str(one.name), one.default) for one in _own_options(app)}


@click.command(cls=WorkerCommand)
@click.option(
    "-n", "--hostname", metavar="NAME", help="The worker's name; %h the host, %n its first label, %d the rest."
)
@click.option(
    "-c", "--concurrency", type=click.IntRange(min=0), metavar="N", help="Processes or threads; else one a CPU."
)
@click.option("-P", "--pool", metavar="POOL", callback=_pool, help="prefork, threads or solo.")
@click.option("-Q", "--queues", metavar="NAMES", help="The queues to take from, comma-separated.")
@click.option("-X", "--exclude-queues", metavar="NAMES", help="Queues not to take from.")
@click.option("-I", "--include", metavar="MODULES", help="More modules of tasks to import, comma-separated.")
@click.option("--purge", "--discard", is_flag=True, help="Delete what waits in these queues first, for good.")
@click.option("--time-limit", type=float, metavar="SECONDS", help="Kill the process of a task that runs longer.")
@click.option("--soft-time-limit", type=float, metavar="SECONDS", help="Raise SoftTimeLimitExceeded in it first.")
@click.option("--max-tasks-per-child", type=click.IntRange(min=1), metavar="N", help="Replace a process after N tasks.")
@click.option(
    "--max-memory-per-child", type=click.IntRange(min=1), metavar="KIB", help="Replace a process that is larger."
)
@click.option("--autoscale", metavar="MAX,MIN", callback=_autoscale, help="Executors as there is work, within these.")
@click.option(
    "-E", "--task-events", "--events", "task_events", is_flag=True, default=None, help="Tell what becomes of tasks."
)
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
@click.option(
    "-f", "--logfile", metavar="FILE", help="The log; else stderr. %n, %h, %p: the worker's name, host, both."
)
@click.option("--pidfile", metavar="FILE", help="Holds the process id while the worker lives; exits with 73 if taken.")
@click.option("-D", "--detach", is_flag=True, help="Run in the background.")
@click.option("--uid", metavar="USER", help="Run as this user.")
@click.option("--gid", metavar="GROUP", help="Run as this group.")
@click.option("--umask", metavar="OCTAL", callback=octal, help="The mode bits that new files do not get.")
@click.option("-B", "--beat", is_flag=True, help="Also send periodic tasks when they come due, as `liteq beat` does.")
@idle_options
@pass_session
@click.pass_context
def worker(
    ctx: click.Context,
    session: Session,
    /,
    hostname: str | None,
    concurrency: int | None,
    pool: str | None,
    queues: str | None,
    exclude_queues: str | None,
    include: str | None,
    purge: bool,
    autoscale: tuple[int, int] | None,
    task_events: bool | None,
    loglevel: str,
    logfile: str | None,
    pidfile: str | None,
    detach: bool,
    uid: str | None,
    gid: str | None,
    umask: int | None,
    beat: bool,
    **limits: Any,
) -> int:
    """Take tasks from the file and run them.

    TERM or INT: finish what runs, return the rest. QUIT, or INT twice: return what runs too. Exits with 0 after a warm
    end, 1 after a cold one. With --json the log is JSON, an object a line.
    """  # fmt: skip
    from liteq.cli import daemon, logs
    from liteq.context.identity import expand_name
    from liteq.settings import Source
    from liteq.worker import Worker

    if umask is not None:
        os.umask(umask)
    daemon.become(uid, gid)  # first: the file, and what the app's modules open, is to belong to that user
    app = session.app
    _say_what_has_no_effect(ctx, session)
    settings: dict[str, Any] = {}
    if include:
        settings["include"] = (*app.conf.include, *(names(include) or ()))
    name = expand_name(hostname)
    own = _values_of_own(app, limits)
    if own:
        signals.user_preload_options.send(sender=name, app=app, options=own)
    told = SimpleNamespace(app=app, hostname=name)
    signals.celeryd_init.send(sender=name, instance=told, conf=app.conf, options=ctx.params)
    app.conf.apply(settings, Source.COMMAND_LINE, "the command line")
    _import_tasks(app)
    chosen = _chosen_queues(app, queues, exclude_queues)
    app.select_queues(chosen)  # a receiver of celeryd_after_setup may add to them: app.amqp.queues.select_add
    made = Worker(
        app,
        hostname=name,
        queues=chosen,
        concurrency=concurrency,
        autoscale=autoscale,
        task_events=task_events or None,
        pool=pool,
        chores=_beat(app, pool or app.conf.worker_pool) if beat else (),
        options={**ctx.params, **own},
        **limits,
    )
    signals.celeryd_after_setup.send(sender=name, instance=made, conf=app.conf)
    made.take_from(app.default_queues())
    app.storage.migrate()
    app.storage.close()  # nothing may be open when a process forks or changes its user

    log = None if logfile is None else logs.expand_name(logfile, made.hostname)
    with daemon.detached(detach):
        if pidfile:
            daemon.claim_pidfile(Path(logs.expand_name(pidfile, made.hostname)))
    if purge:
        purged = app.storage.purge(made.queues)
        session.note(f"purged {counted(purged, 'message')}")
    if session.on_terminal and not session.quiet and not detach:
        from liteq.cli.banner import banner

        click.echo(banner(app, made, loglevel=loglevel, logfile=log))
    _warn_of_root(session)
    logs.set_up(app, loglevel, log, color=not session.no_color, as_json=session.json)
    return made.run()


def _import_tasks(app: App) -> None:
    """Before the terminal is left: what is wrong with them is to be read there."""
    try:
        app.import_tasks()
    except LiteqError:
        raise
    except Exception as exc:
        raise broken("the app's tasks", exc) from exc


def _chosen_queues(app: App, queues: str | None, exclude_queues: str | None) -> list[str]:
    excluded = names(exclude_queues) or []
    chosen = [queue for queue in names(queues) or app.default_queues() if queue not in excluded]
    if not chosen:
        raise click.UsageError("no queue is left to take from: see --queues and --exclude-queues")
    return chosen


def _beat(app: App, pool: str) -> list[Any]:
    """Beat for the worker's loop; with the solo pool, whose loop stands still while a task runs, in a thread."""
    from liteq.beat import Beat
    from liteq.worker.worker import PATIENCE_S

    # In the worker's loop it may not wait for the write lock any longer than the loop itself does.
    made = Beat(app, patience_s=min(PATIENCE_S, app.conf.busy_timeout))
    with suppress(StorageBusy):  # the loop starts it then
        made.start()  # what is wrong with the schedule is to be read on the terminal
    made.storage.close()  # as the app's own: nothing may be open when a process forks or changes its user
    signals.beat_embedded_init.send(sender=made)
    if pool != "solo":
        return [made]
    signals.worker_ready.connect(partial(_beat_beside, made), weak=False)
    return []


def _beat_beside(made: Any, **_named: Any) -> None:
    threading.Thread(target=made.run, args=(threading.Event(),), name="liteq-beat", daemon=True).start()


def _say_what_has_no_effect(ctx: click.Context, session: Session) -> None:
    said = [f"{name} ({WITHOUT_EFFECT[name]})" for name in ctx.meta.get("liteq.idle", [])]
    if said:
        session.note("accepted as Celery's, without effect: " + ", ".join(said))


def _warn_of_root(session: Session) -> None:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        session.note("this worker runs as root, and so does every task: give it a user of its own")
