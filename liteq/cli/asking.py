"""The question before something is deleted for good."""

from __future__ import annotations

import sys

import click

__all__ = ["confirm_deletion"]


def confirm_deletion(what: str, *, sure: bool, option: str) -> None:
    """Ask whether to delete `what`; not where the user was `sure` at once, by `option`.

    Raises Abort for a no, and UsageError where nobody can be asked: stdin is no terminal.
    """
    if sure:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"this deletes {what} for good; add {option} to do so without a question")
    click.confirm(f"Delete {what} for good?", abort=True, err=True)
