"""`liteq worker`: take tasks from the file and run them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from liteq import signals
from liteq.app.discovery import require_tasks
from liteq.cli.parts.asking import confirm_deletion
from liteq.cli.parts.find_app import broken
from liteq.cli.parts.names import filled, names, one_of
from liteq.cli.parts.output import counted
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import SPAN
from liteq.cli.processes import service
from liteq.cli.processes.flow_worker import OF_COMMANDS, afresh, with_commands
from liteq.cli.processes.process_options import (
    ProcessCommand,
    become,
    idle_options,
    log_level_option,
    note_idle,
    process_options,
)
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured, LiteqError, StorageBusy
from liteq.routing.taken import taken, without
from liteq.utils.globs import is_glob

if TYPE_CHECKING:
    from liteq.worker import Worker

__all__ = ["worker"]

POOLS = ("prefork", "processes", "asyncio", "threads", "solo")
START_METHODS = ("fork", "forkserver", "spawn")
GREEN = dict.fromkeys(("eventlet", "gevent"), "; for tasks that wait, use threads, or asyncio with `async def` tasks")
LIMITS = ("time_limit", "soft_time_limit", "max_tasks_per_child", "max_memory_per_child")  # the worker's, as given

# Options of `celery worker` that mean nothing here, and why.
WITHOUT_EFFECT = {
    "--statedb -S": "the state is in the file",
    "-O --optimization": "children take what they can start, no more",
    "--without-gossip!": "workers meet in the file",
    "--without-mingle!": "workers meet in the file",
    "--without-heartbeat!": "a lease needs its heartbeat",
    "--heartbeat-interval": "it follows from visibility_timeout",
    "--prefetch-multiplier": "what a child has not started goes to the next free one",
    "--disable-prefetch!": "what a child has not started goes to the next free one",
    "--schedule --schedule-filename -s": "the schedule is in the file",
    "--scheduler": "the schedule is in the file",
    "--executable": "the worker forks",
}


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


class WorkerCommand(ProcessCommand):
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


def _values_of_own(ctx: click.Context, app: App) -> dict[str, Any]:
    """The values of the app's own options, by click: their defaults too, of a command line that has none of them."""
    options = _own_options(app)
    if OWN_OPTIONS in ctx.meta:
        values = ctx.params
    else:
        alone = click.Command(ctx.info_name, params=options, add_help_option=False)
        values = alone.make_context(ctx.info_name, [], parent=ctx).params
    return {str(one.name): values[str(one.name)] for one in options if one.expose_value}


@click.command(cls=WorkerCommand)
@click.option(
    "-n",
    "--hostname",
    metavar="NAME",
    help="The worker's name; %h the host, %n its first label, %d the rest; default: liteq@%h, then liteq-2@%h, ...",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many processes or threads; default: one per CPU.",
)
@click.option(
    "-P", "--pool", metavar="POOL", callback=one_of("pool", POOLS, GREEN), help="prefork, asyncio, threads or solo."
)
@click.option(
    "--coroutines",
    type=click.IntRange(min=1),
    metavar="N",
    help="With -P asyncio: tasks at once in each process; default: 1000.",
)
@click.option(
    "--pool-start-method",
    metavar="METHOD",
    callback=one_of("start method", START_METHODS),
    help="fork, forkserver or spawn: a child takes over what the worker imported, or imports the app itself.",
)
@click.option(
    "-Q",
    "--queues",
    metavar="NAMES",
    callback=filled,
    help="The queues to take from: NAME, NAME=WEIGHT, globs; with commas.",
)
@click.option("--strict", is_flag=True, default=None, help="Take from them in the order given, not in turns.")
@click.option("-X", "--exclude-queues", metavar="NAMES", callback=filled, help="Queues not to take from.")
@click.option(
    "--db",
    multiple=True,
    metavar="PATHS",
    help="Take from these files, a path or a glob as 'tenants/*.db', not from the app's own; may be repeated.",
)
@click.option("-I", "--include", metavar="MODULES", help="More modules of tasks to import, comma-separated.")
@click.option(
    "--purge", "--discard", is_flag=True, help="First delete for good all messages that wait in these queues; asks."
)
@click.option("--yes", "-y", "sure", is_flag=True, help="With --purge: do not ask.")
@click.option("--time-limit", type=SPAN, help="Kill the process of a task that runs longer.")
@click.option("--soft-time-limit", type=SPAN, help="Raise SoftTimeLimitExceeded in a task that runs longer.")
@click.option("--max-tasks-per-child", type=click.IntRange(min=1), help="Replace a process after N tasks.")
@click.option(
    "--max-memory-per-child",
    type=click.IntRange(min=1),
    metavar="KIB",
    help="Replace a process that uses more memory, after its task.",
)
@click.option(
    "--autoscale",
    metavar="MAX,MIN",
    callback=_autoscale,
    help="Run between MIN and MAX tasks at once, as there is work.",
)
@click.option(
    "-E",
    "--task-events",
    "--events",
    "task_events",
    is_flag=True,
    default=None,
    help="Record events of tasks, for `liteq events`.",
)
@log_level_option("warnings, that it is ready, and a line a task")
@process_options(
    logfile="Log to this file, not to stderr; %n, %h, %p: the worker's name, host, both.",
    pidfile="Write the process id to this file; exits with 73 if another live process has it.",
    detach=("-D", "--detach"),
    background="Run in the background.",
)
@click.option(
    "--commands",
    is_flag=True,
    help="Also run what flows say (`liteq flow`): their commands, requests and files, as this user.",
)
@click.option("--without-tasks", is_flag=True, help="Start although the app has no task of its own.")
@click.option("-B", "--beat", is_flag=True, help="Also send periodic tasks when they come due, as `liteq beat` does.")
@click.option(
    "--reload", is_flag=True, help="For development: start again, after what runs, when a .py file below here changes."
)
@idle_options(WITHOUT_EFFECT)
@pass_session
@click.pass_context
def worker(ctx: click.Context, session: Session, /, **given: Any) -> int:
    """Take tasks from the file and run them.

    TERM or INT: finish what runs, return the rest. QUIT, or INT twice: return what runs too. Exits with 0 after a warm
    end, 1 after a cold one. With --json the log is JSON, an object a line.
    """
    if given["reload"]:  # before anything is imported that may change
        if given["detach"]:
            raise click.UsageError("--reload is for development, in the foreground: it does not go with --detach")
        from liteq.cli.processes import reload

        return reload.run(session)
    become(given)  # first: the file, and what the app's modules open, is to belong to that user
    app = session.app
    note_idle(ctx, session, WITHOUT_EFFECT)
    if given["purge"] and given["db"]:
        raise click.UsageError("--purge deletes for good: do it file by file, `liteq -b sqlite:///tenants/a.db purge`")
    if given["purge"]:  # while there is a terminal to ask on
        doomed = ", ".join(_purged(_chosen_queues(app, given["queues"], given["exclude_queues"])))
        confirm_deletion(f"all messages that wait in {doomed}", sure=given["sure"], option="--yes")
    made = _made(ctx, app, given)
    if not given["db"]:
        app.storage.migrate()
        app.storage.close()  # nothing may be open when a process forks or changes its user
    try:
        _prepare(session, made, given)
    except BaseException:
        made.leave()
        raise
    return int(made.run())


def _prepare(session: Session, made: Worker, given: dict[str, Any]) -> None:
    """Enter the list of workers, in the process that stays, and set up what bears the name that it has there."""
    from liteq.cli import logs
    from liteq.cli.processes import daemon

    app = session.app
    with daemon.detached(given["detach"]):
        made.enter()  # in the process that stays: its name is in the names of its files
        app.close()
        log = None if given["logfile"] is None else logs.expand_name(given["logfile"], made.hostname)
        if given["pidfile"]:
            daemon.claim_pidfile(Path(logs.expand_name(given["pidfile"], made.hostname)))
    if given["purge"]:
        purged = app.storage.purge(_purged(made.queues))
        session.note(f"purged {counted(purged, 'message')}")
    if session.on_terminal and not (session.quiet or session.json or given["detach"]):
        from liteq.cli.processes.banner import banner

        click.echo(banner(app, made, files=", ".join(given["db"]), loglevel=given["loglevel"], logfile=log))
    _warn_of_root(session)
    color = not session.no_color
    set_up = partial(
        logs.set_up,
        level=given["loglevel"], logfile=log, color=color, form=session.log_form, worker=made.hostname,
    )  # fmt: skip
    set_up(app)
    made.afresh.set_up = set_up


def _made(ctx: click.Context, app: App, given: dict[str, Any]) -> Worker:
    """The worker that the options describe, its tasks imported; the signals of Celery's set-up are sent on the way."""
    from liteq.context.identity import expand_name
    from liteq.settings import Source
    from liteq.worker import Worker

    settings: dict[str, Any] = {}
    if given["include"]:
        settings["include"] = (*app.conf.include, *(names(given["include"]) or ()))
    name = expand_name(given["hostname"])
    own = _values_of_own(ctx, app)
    if own:
        signals.user_preload_options.send(sender=name, app=app, options=own)
    about_to_be = SimpleNamespace(app=app, hostname=name)
    signals.celeryd_init.send(sender=name, instance=about_to_be, conf=app.conf, options=ctx.params)
    app.conf.apply(settings, Source.COMMAND_LINE, "the command line")
    _import_tasks(app)
    chosen = _chosen_queues(app, given["queues"], given["exclude_queues"], strict=given["strict"])
    if given["commands"]:
        chosen = with_commands(app, chosen)
    if not given["without_tasks"]:
        named = "" if ctx.ensure_object(Session).has_app else "; name the app with -A"
        require_tasks(app, f"{named}; --without-tasks starts it all the same")
    app.select_queues(chosen)  # a receiver of celeryd_after_setup may add to them: app.amqp.queues.select_add
    made = Worker(
        app,
        hostname=name if given["hostname"] else None,
        queues=chosen,
        exclude_queues=(*(names(given["exclude_queues"]) or ()), *(() if given["commands"] else (OF_COMMANDS,))),
        strict=given["strict"],
        concurrency=given["concurrency"],
        autoscale=given["autoscale"],
        task_events=given["task_events"] or None,
        pool=given["pool"],
        coroutines=_coroutines(app, given),
        pool_start_method=given["pool_start_method"],
        chores=_beat(app, given["pool"] or app.conf.worker_pool, given["db"]) if given["beat"] else (),
        db=given["db"],
        **service.told(detach=given["detach"]),
        options={**ctx.params, **own},
        **{limit: given[limit] for limit in LIMITS},
    )
    made.afresh.find = _finds(ctx.ensure_object(Session), commands=given["commands"])
    signals.celeryd_after_setup.send(sender=name, instance=made, conf=app.conf)
    made.take_from(app.default_queues())
    return made


def _coroutines(app: App, given: dict[str, Any]) -> int | None:
    """The value of --coroutines. Raises UsageError where the pool has none."""
    number: int | None = given["coroutines"]
    pool = given["pool"] or app.conf.worker_pool
    if number is not None and pool != "asyncio":
        raise click.UsageError(f"--coroutines is of the pool asyncio, and this one is {pool}: add -P asyncio")
    return number


def _finds(session: Session, *, commands: bool) -> Callable[[], App] | None:
    """How a process that is started afresh finds the app of `session`; None: by the module that it is in."""
    from liteq.cli.parts.find_app import find_app

    name = session.app_name or os.environ.get("LITEQ_APP")
    find: Callable[[], App] | None = session._bare_app
    if name:
        find = partial(find_app, name) if isinstance(name, str) else None
    return afresh(find) if commands and find is not None else find


def _import_tasks(app: App) -> None:
    """Before the terminal is left: what is wrong with them is to be read there."""
    try:
        app.import_tasks()
    except LiteqError:
        raise
    except Exception as exc:
        raise broken("the app's tasks", exc) from exc


def _chosen_queues(
    app: App, queues: str | None, exclude_queues: str | None, *, strict: bool | None = False
) -> list[str]:
    in_order = app.conf.worker_strict_order if strict is None else strict
    try:
        chosen = without(names(queues) or app.default_queues(), names(exclude_queues) or (), strict=in_order)
    except ValueError as exc:
        raise click.UsageError(f"--queues: {exc}") from None
    if not chosen:
        raise click.UsageError("no queue is left to take from; see --queues and --exclude-queues")
    return chosen


def _purged(queues: list[str]) -> list[str]:
    """The names of these queues, to be purged. Raises UsageError for a glob."""
    found = [taken(one).name for one in queues]
    for glob in filter(is_glob, found):
        raise click.UsageError(f"--purge deletes for good: name its queues one by one, in place of {glob!r}")
    return found


def _beat(app: App, pool: str, db: tuple[str, ...]) -> list[Any]:
    """Beat for the worker's loop; with the solo pool, whose loop stands still while a task runs, in a thread."""
    if db:
        from liteq.beat.files import FilesBeat

        return [FilesBeat(app, db)]
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


def _warn_of_root(session: Session) -> None:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        session.note("this worker runs as root, and so does every task: give it a user of its own")
