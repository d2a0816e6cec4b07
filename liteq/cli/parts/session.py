"""The session of every command: the global options, the app and the file that they name, and notes to the user."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liteq.cli.parts.voice import VOICE
from liteq.exceptions import ImproperlyConfigured, StorageUnavailable
from liteq.utils.imports import seldom_collected
from liteq.utils.text import old

if TYPE_CHECKING:
    from liteq.app import LiteQ
    from liteq.settings import Conf
    from liteq.storage.operating.audit import Actor
    from liteq.storage.storage import Storage

__all__ = ["GLOBAL_OPTIONS", "HIDDEN_GLOBAL_OPTIONS", "Session", "as_read_only", "pass_session"]


class Session:
    """One call of `liteq`. The app is imported when a command first asks for it."""

    app_name: str | LiteQ | None = None  # an app, from `app.worker_main()`
    broker: str | None = None
    config: str | None = None
    no_color: bool = False
    quiet: bool = False
    json: bool = False
    log_format: str | None = None  # of a command that logs
    by: str = ""  # the person or program that acts; "": this user
    reason: str = ""  # for the audit
    _is_made_read_only: bool = False
    started_in: str | None = None  # where the process was before --workdir

    @cached_property
    def app(self) -> LiteQ:
        """The app that `-A` (or LITEQ_APP) names, with `-b` and `--config` applied; a bare one where only `-b` is said.

        Raises ImproperlyConfigured when there is no such app.
        """
        from liteq.cli.parts.find_app import find_app

        name = self.app_name or os.environ.get("LITEQ_APP")
        with seldom_collected():
            app = self._bare_app() if not name else find_app(name) if isinstance(name, str) else name
        self._overrule(app.conf)
        return app

    def conf_without_app(self, *, needs_file: bool = True) -> Conf:
        """The settings of files, of the environment and of the command line, without the import of an app: 0.2 s less.

        Raises ImproperlyConfigured, with `needs_file` also where neither an app nor a file is named.
        """
        from liteq.settings import Conf, sources

        conf = Conf()
        conf.apply_given(sources.load())
        self._overrule(conf, needs_file=needs_file)
        return conf

    def _overrule(self, conf: Any, *, needs_file: bool = True) -> None:
        """Have the command line's settings count. Raises ImproperlyConfigured where nothing names a file it needs."""
        from liteq.settings import Source, read_object

        config = self.config or os.environ.get("LITEQ_CONFIG")
        if config:
            conf.apply(read_object(config), Source.COMMAND_LINE, "--config")
        if self.broker:
            conf.apply({"broker_url": self.broker}, Source.COMMAND_LINE, "--broker")
        if needs_file and not self.has_app and not conf.broker_url:
            raise ImproperlyConfigured("no app and no file is named; use -A module, or -b sqlite:///tasks.db")

    @property
    def has_app(self) -> bool:
        """Whether the user named an app, so that its tasks are known."""
        return bool(self.app_name or os.environ.get("LITEQ_APP"))

    def app_of_files(self, path: str) -> LiteQ:
        """The app for a command that names its files itself, one of them at `path`: it needs no file of its own."""
        if not self.has_app and "app" not in self.__dict__:
            from liteq.app.files import url_of

            self.broker = url_of(path)  # any will do
            app, self.broker = self.app, None
            return app
        return self.app

    def gather(self, document: Any) -> bool:  # noqa: ARG002 - a session of many files keeps it
        """Keep what a command would write as JSON; False where it is to be written at once."""
        return False

    @staticmethod
    def _bare_app() -> LiteQ:
        from liteq.app import LiteQ

        return LiteQ("liteq")

    @cached_property
    def storage(self) -> Storage:
        """The app's file. Raises StorageUnavailable where there is none yet: looking at a queue does not make one."""
        from liteq.storage import describe_url, open_driver

        url = self.app.broker_url
        place = describe_url(url)
        if place.missing:
            raise StorageUnavailable(place.missing)
        is_file = place.kind == "file"
        with closing(open_driver(as_read_only(url) if is_file else url)) as driver:
            if not driver.describe(whole=False)["schema"]["version"]:  # another program's database, say
                if is_file:
                    with suppress(StorageUnavailable):
                        driver.migrate()  # a look: raises StorageCorrupt where it only seems to be empty
                raise StorageUnavailable(
                    f"{place.where} has no queue yet: a worker, a producer or `liteq migrate` makes it"
                )
        storage = self.app.storage
        if not self._is_made_read_only:
            self._tell_age(storage)
        return storage

    def needs_file(self) -> None:
        """Raise StorageUnavailable where there is no queue yet: for a command that goes by the app, which makes one."""
        _ = self.storage

    def _tell_age(self, storage: Storage) -> None:
        """Say how old a copy is, or a replica: what a command shows of it was so then."""
        age_s = storage.driver.age_s()
        if age_s is not None:
            self.note(f"{storage.driver.where()} is a copy: what is shown is {old(age_s)}")

    def look_only(self) -> Storage:
        """The app's file, of which nothing is written by this command from now on. Raises as `storage`."""
        from liteq.settings import Source
        from liteq.storage import describe_url

        url = self.app.broker_url
        place = describe_url(url)
        if not place.read_only:
            self._is_made_read_only = True  # by us, so it may be at rest, and is no copy
            self.app.conf.apply({"broker_url": as_read_only(url)}, Source.COMMAND_LINE, "--broker")
        return self.storage

    def actor(self, reason: str = "") -> Actor:
        """The user of this command, or the one that `--by` names, for the audit."""
        import getpass
        import socket

        from liteq.storage.operating.audit import Actor

        reason = reason or self.reason
        if self.by:
            return Actor(self.by, "cli", reason)
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # no entry for this number, as in a container
            user = str(os.getuid())
        return Actor(f"{user}@{socket.gethostname()}", "cli", reason)

    def import_commands(self) -> None:
        """Import the app's tasks: commands of remote control that it has itself are in its modules."""
        if self.has_app:
            self.app.import_tasks()

    def tell_hidden(self, tasks: Iterable[str]) -> None:
        """Import the app's tasks, as they say which arguments are sensitive; note those of `tasks` that stay unknown.

        Tasks that cannot be imported are no reason not to look at a queue: the note says what their import raised.
        """
        from liteq.context.display import hides_all
        from liteq.monitor.messages import HIDDEN

        trouble = ""
        try:
            self.import_commands()
        except Exception as exc:  # noqa: BLE001 - the modules of the user, who looks at the queue to find out why
            trouble = f": importing the app's tasks raised {type(exc).__name__}: {exc}"
        remedy = trouble or ("" if self.has_app else ": name the app with -A")
        for task in sorted({task for task in tasks if hides_all(self.app, task)}):
            self.note("arguments are " + HIDDEN.format(task=task) + remedy)

    @property
    def log_form(self) -> str:
        """How a command that logs writes a line: plain, json or pretty."""
        return "json" if self.json else self.log_format or "plain"

    @property
    def on_terminal(self) -> bool:
        """Whether a person reads what is written."""
        return sys.stdout.isatty()

    def note(self, text: str) -> None:
        """Tell the user something that is no result; not with `--quiet`."""
        if not self.quiet:
            VOICE.say("note", text)

    def warn_of_findings(self) -> None:
        """Tell of work that does not go on; not with `--quiet`."""
        from liteq.monitor.findings import findings

        if not self.quiet:
            for finding in findings(self.app):
                VOICE.say(finding.status, finding.detail)


pass_session = click.make_pass_decorator(Session, ensure=True)


# -- the global options, before or after the command -----------------------------------------------------------------


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value:  # said nowhere after the command leaves what was said before it
            setattr(ctx.find_root().ensure_object(Session), name, value)

    return keep


def _change_directory(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value:
        ctx.find_root().ensure_object(Session).started_in = str(Path.cwd())
        os.chdir(value)


def _without_color(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.color = False
    _keep("no_color")(ctx, param, value)


def _no_effect(why: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def tell(_ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value and not _ctx.resilient_parsing:
            VOICE.say("note", f"{param.opts[-1]} has no effect: {why}")

    return tell


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from liteq._version import __version__

        click.echo(__version__)
        ctx.exit()


def _options(*, hidden: bool) -> list[click.Parameter]:
    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, hidden=hidden, **more)

    return [
        option(
            "-A", "--app", metavar="APP", type=click.UNPROCESSED, callback=_keep("app_name"),
            help="The app: a module, module:attribute or package; default: LITEQ_APP.",
        ),
        option(
            "-b", "--broker", metavar="URL", callback=_keep("broker"),
            help="Where the queue is: sqlite:///tasks.db, postgresql://user@host/database.",
        ),
        option(
            "--result-backend", metavar="URL", callback=_no_effect("results are in the broker's file"),
            help="Accepted as Celery's; results are in the broker's file.",
        ),
        option(
            "--loader", metavar="NAME", callback=_no_effect("there are no loaders"), help="Accepted as Celery's."
        ),
        option(
            "--config", metavar="MODULE", callback=_keep("config"), help="A module of settings; default: LITEQ_CONFIG."
        ),
        option(
            "--workdir", metavar="FOLDER", type=click.Path(exists=True, file_okay=False), is_eager=True,
            callback=_change_directory, help="Change to this folder first.",
        ),
        option("-C", "--no-color", is_flag=True, callback=_without_color, help="No colours, as with NO_COLOR."),
        option("-q", "--quiet", is_flag=True, callback=_keep("quiet"), help="No banner and no notes."),
        option("-j", "--json", is_flag=True, callback=_keep("json"), help="Write JSON."),
        option("--skip-checks", is_flag=True, help="Accepted as Celery's."),
        option("--version", is_flag=True, is_eager=True, callback=_version, help="Show the version and exit."),
    ]  # fmt: skip


GLOBAL_OPTIONS = _options(hidden=False)
HIDDEN_GLOBAL_OPTIONS = _options(hidden=True)


def as_read_only(url: str) -> str:
    """The URL of a file to be looked at alone."""
    return f"{url}{'&' if '?' in url else '?'}mode=ro"
