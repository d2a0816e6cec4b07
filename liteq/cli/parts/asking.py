"""Parts of commands that act: the question before a deletion, and who acts and why, for the audit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from liteq.cli.parts.session import Session

__all__ = ["SURE", "acting", "agreed", "by_option", "confirm", "confirm_deletion"]

SURE = click.option("-y", "--yes", "-f", "--force", "sure", is_flag=True, help="Do not ask.")
"""The option of each command that asks; the parameter is `sure`."""


def agreed(question: str, refusal: str, *, sure: bool, option: str) -> bool:
    """Ask `question`, of one thing among several; whether the answer was yes. Raises as `confirm`, but for a no."""
    if sure:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(f"{refusal}; add {option} to do so without a question")
    return click.confirm(question, err=True)


def confirm(question: str, refusal: str, *, sure: bool, option: str) -> None:
    """Ask `question`; not where the user was `sure` at once, by `option`.

    Raises Abort for a no, and UsageError, which begins with `refusal`, where nobody can be asked: stdin is no terminal.
    """
    if not agreed(question, refusal, sure=sure, option=option):
        raise click.Abort


def confirm_deletion(what: str, *, sure: bool, option: str) -> None:
    """Ask whether to delete `what`, as `confirm`."""
    confirm(f"Delete {what} for good?", f"this deletes {what} for good", sure=sure, option=option)


# -- who acts, and why: the options `--by` and `--reason` ---------------------------------------------------------

Function = Callable[..., Any]


def _keep(name: str) -> Callable[[click.Context, click.Parameter, str], None]:
    """A callback that keeps the value on the session, for `Session.actor`."""

    def keep(ctx: click.Context, _param: click.Parameter, value: str) -> None:
        setattr(ctx.find_root().ensure_object(Session), name, value)

    return keep


def by_option(command: Function) -> Function:
    """The option `--by`, for `Session.actor`."""
    text = "The person or program that does it; default: this user."
    return click.option("--by", default="", metavar="NAME", expose_value=False, callback=_keep("by"), help=text)(
        command
    )


def acting(command: Function) -> Function:
    """The options `--by` and `--reason`, for `Session.actor`."""
    text, keep = "The reason, for the audit.", _keep("reason")
    command = by_option(command)
    return click.option("--reason", default="", metavar="TEXT", expose_value=False, callback=keep, help=text)(command)
