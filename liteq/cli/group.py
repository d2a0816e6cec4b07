"""The group `liteq`: loads a command by its name, takes global options on either side of it, and ends in one line."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any, NoReturn, cast

import click

from liteq.cli.completion import completed
from liteq.cli.parts.exits import Exit, code_of, described
from liteq.cli.parts.names import unknown
from liteq.cli.parts.session import GLOBAL_OPTIONS, HIDDEN_GLOBAL_OPTIONS, Session
from liteq.cli.parts.stdio import open_missing
from liteq.cli.parts.voice import VOICE
from liteq.exceptions import LiteqError
from liteq.utils.imports import seldom_collected
from liteq.utils.text import printable

__all__ = ["Command", "Group", "main"]

# Each is the function of that name in the file of that name (with `_` for `-`), in one of these rooms ...
ROOMS = {
    "processes": {"worker", "beat", "relay"},
    "serving": {"dashboard", "mcp", "gateway", "metrics", "alert", "health"},
    "tasks": {"call", "result", "logs", "why", "purge", "dead", "act", "operations", "memo", "usage"},
    "queues": {"queue", "limits", "schedules", "mark"},
    "watching": {"status", "inspect", "control", "events", "activity"},
    "files": {"doctor", "backup", "restore", "litestream", "epoch", "migrate", "move", "codec"},
    "demo": {"demo"},
    "compat": {"multi", "shell", "upgrade-check"},  # what only Celery's users call
}
PLACES = {name: f"liteq.cli.{room}" for room, names in ROOMS.items() for name in names}
FILES = {"logs": "task_log"}  # ... or has another name: `logs` sets up the log of a process
COMMANDS = (
    "worker", "beat", "multi", "call", "result", "logs", "status", "why", "top", "inspect", "control", "events",
    "purge", "queue", "limits", "dead", "act", "operations", "activity", "schedules", "workflow", "flow", "memo",
    "usage", "mark", "dashboard", "mcp", "gateway", "relay", "metrics", "alert", "shell", "health", "doctor", "backup",
    "restore", "litestream", "epoch", "migrate", "move", "codec", "demo", "report", "upgrade-check", "version",
)  # fmt: skip

# Groups that are called by the other number too: not listed, as a name that a person may guess.
OTHER_NUMBER = {
    "queues": "queue", "limit": "limits", "operation": "operations", "activities": "activity", "schedule": "schedules",
    "workflows": "workflow", "flows": "flow", "memos": "memo", "codecs": "codec", "alerts": "alert", "log": "logs",
    "metric": "metrics", "event": "events", "results": "result", "backups": "backup", "epochs": "epoch",
}  # fmt: skip

# Commands that `celery` has and `liteq` does not, and what to do instead.
ELSEWHERE = {
    "amqp": "there is no AMQP here",
    "graph": "a worker's parts are not drawn; `liteq inspect stats` tells of them",
    "list": "there are no bindings here; queues: `liteq inspect queues`",
    "flower": "`liteq dashboard` shows what it does",
    "logtool": "`liteq worker --json` logs an object a line, with task and id, for jq and its like",
    "upgrade": "old names of settings are understood as they are",
}


class Command(click.Command):
    """A command that takes the global options too, so that `liteq worker -A app` is `liteq -A app worker`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        completed(self.name, self.params)
        for one in self.params:
            if isinstance(one.type, click.types.IntParamType) and one.metavar is None:
                one.metavar = "N"  # in place of INTEGER RANGE

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *HIDDEN_GLOBAL_OPTIONS]


class Known(click.Group):
    """A group that refuses an unknown command with the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            error = unknown("command", args[0], known)
            error.ctx = ctx
            raise error
        return super().resolve_command(ctx, args)


class Group(Known):
    """A group of such commands."""

    command_class = Command

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.old_names: dict[str, str] = {}  # of commands that are called something else now: taken, not listed

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *HIDDEN_GLOBAL_OPTIONS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, self.old_names.get(name, name))


class LiteqGroup(Known):
    """`liteq` itself."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        name = OTHER_NUMBER.get(name, name)
        if name not in COMMANDS:
            return None
        module_name = name.replace("-", "_")
        room = PLACES.get(name, "liteq.cli")
        with seldom_collected():
            module = importlib.import_module(f"{room}.{FILES.get(name, module_name)}")
        return cast("click.Command", getattr(module, module_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in ELSEWHERE:
            ctx.fail(f"there is no `liteq {args[0]}`: {ELSEWHERE[args[0]]}")
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and end the process with its exit code; an error of liteq's is one line."""
        if standalone_mode and os.getpid() == 1:
            from liteq.cli.init import stay_behind

            stay_behind()
        open_missing()
        VOICE.reset()
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.Abort as exc:
            if isinstance(exc.__cause__, KeyboardInterrupt):  # click has made it of that
                sys.exit(Exit.INTERRUPTED)
            _end(exc)
        except Exception as exc:
            if os.environ.get("LITEQ_DEBUG") == "1" and not isinstance(exc, click.ClickException):
                raise
            _end(exc)
        except KeyboardInterrupt:
            sys.exit(Exit.INTERRUPTED)
        sys.exit(code if isinstance(code, int) else Exit.OK)


def _end(exc: Exception) -> NoReturn:
    match exc:
        case click.Abort():
            click.echo("Aborted!", err=True)
            sys.exit(Exit.FAILED)
        case click.exceptions.NoArgsIsHelpError():
            exc.show()
            sys.exit(exc.exit_code)
        case click.ClickException():
            path = getattr(getattr(exc, "ctx", None), "command_path", None)
            hint = f" (see `{path} --help`)" if path else ""
            VOICE.say("error", _plain(" ".join(exc.format_message().split())) + hint)
            sys.exit(exc.exit_code)
        case LiteqError():
            VOICE.say("error", one_line(exc))
            sys.exit(code_of(exc))
        case OSError(errno=errno.EPIPE):  # the reader of our output has gone: `liteq dead list | head`
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the interpreter flushes it at its end
            sys.exit(Exit.FAILED)
        case _:
            raise exc


def _plain(text: str) -> str:
    """Click's sentences in the words of a person: a range is what a number lies in."""
    return text.replace("a valid integer range", "a whole number").replace("a valid float range", "a number")


def one_line(exc: Exception) -> str:
    """The message of `exc` in one line that a terminal can be trusted with."""
    return printable(" ".join(str(exc).split())) or type(exc).__name__


def _context_settings() -> MutableMapping[str, Any]:
    return {"help_option_names": ["-h", "--help"], "max_content_width": 120}


@click.group(
    cls=LiteqGroup,
    params=GLOBAL_OPTIONS,
    context_settings=_context_settings(),
    subcommand_metavar="COMMAND [ARGS]...",
    epilog=described(),
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """A task queue with Celery's API over one SQLite file, or over PostgreSQL.

    The options below may stand before the command or after it. `liteq COMMAND --help` shows those of a command.
    """
    ctx.ensure_object(Session)
