"""Options that `worker`, `beat` and `events` share: the log, and how the process runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.names import one_of
from liteq.cli.parts.session import Session
from liteq.cli.parts.voice import VOICE, wants_json

__all__ = [
    "ProcessCommand",
    "become",
    "idle_options",
    "log_level",
    "log_level_option",
    "note_idle",
    "octal",
    "process_options",
]


class ProcessCommand(Command):
    """A command that runs until it is ended, and logs: with --json, what it says from its first word on is JSON."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        VOICE.listen(as_json=ctx.ensure_object(Session).json or wants_json(args))
        return super().parse_args(ctx, args)


FORMS = ("plain", "json", "pretty")
LEVELS = ("debug", "info", "warning", "error", "critical", "fatal")
IDLE = "liteq.idle"  # the key in click's meta: options that were given and have no effect

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def log_level(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Callback of --loglevel: its name in upper case."""
    found = one_of("level", LEVELS)(ctx, param, value)
    return found and found.upper()


def log_level_option(default: str) -> Decorator:
    """--loglevel of a process that logs; `default`: in words, what it logs without one."""
    return click.option(
        "-l", "--loglevel", "--log-level", envvar="LITEQ_LOG_LEVEL", metavar="LEVEL", callback=log_level,
        help=f"debug, info, warning, error or critical; default: {default}.",
    )  # fmt: skip


def _log_format(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Callback of --log-format."""
    found = one_of("format", FORMS)(ctx, param, value)
    session = ctx.find_root().ensure_object(Session)
    session.log_format = found
    session.json |= found == "json"


def octal(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Callback of --umask."""
    try:
        return None if value is None else int(value, 8)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not an octal number, such as 077") from None


def process_options(*, logfile: str, pidfile: str, detach: tuple[str, ...], background: str) -> Decorator:
    """--logfile, --pidfile, --detach, --uid, --gid, --umask; the arguments are what differs between the commands."""
    made = (
        click.option("-f", "--logfile", "--log-file", metavar="FILE", help=logfile),
        click.option(
            "--log-format",
            envvar="LITEQ_LOG_FORMAT",
            metavar="FORM",
            callback=_log_format,
            expose_value=False,
            help="plain, by the settings; json, as with --json; or pretty, with the fields behind each text.",
        ),
        click.option("--pidfile", "--pid-file", metavar="FILE", help=pidfile),
        click.option(*detach, is_flag=True, help=background),
        click.option("--uid", metavar="USER", help="Run as this user."),
        click.option("--gid", metavar="GROUP", help="Run as this group."),
        click.option("--umask", metavar="OCTAL", callback=octal, help="The umask for new files, such as 077."),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(made):
            command = option(command)
        return command

    return add


def become(given: Mapping[str, Any]) -> None:
    """Take the umask, the user and the group that the options name. First of all: new files are to be that user's."""
    from liteq.cli.processes import daemon

    if given["umask"] is not None:
        os.umask(given["umask"])
    daemon.become(given["uid"], given["gid"])


# -- options of Celery's without effect ------------------------------------------------------------------------------


def idle_options(options: Mapping[str, str]) -> Decorator:
    """Options that are accepted for Celery's sake, and named once: their names ("-S --statedb") and the reason.

    A name that ends in `!` takes no value.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for words in options:
            made = click.option(
                *words.removesuffix("!").split(), is_flag=words.endswith("!"), expose_value=False, hidden=True,
                callback=_idle,
            )  # fmt: skip
            command = made(command)
        return command

    return add


def _idle(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta.setdefault(IDLE, []).append(param.opts)


def note_idle(ctx: click.Context, session: Session, options: Mapping[str, str]) -> None:
    """Name the options that were given and have no effect, each with its reason."""
    reasons = {words.removesuffix("!").split()[0]: why for words, why in options.items()}
    given = [f"{opts[0]} ({reasons[opts[0]]})" for opts in ctx.meta.get(IDLE, ())]
    if given:
        session.note("accepted as Celery's, without effect: " + ", ".join(given))
