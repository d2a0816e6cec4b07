"""The question before something is done to many things, or is deleted for good."""

from __future__ import annotations

import sys

import click

__all__ = ["agreed", "confirm", "confirm_deletion"]


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
